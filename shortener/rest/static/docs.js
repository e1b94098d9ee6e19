"use strict";
// Comforts on pages that are complete without them: examples for this very server, copying them, and filtering the
// list of operations.

for (const example of document.querySelectorAll(".example")) {
  const code = example.querySelector("code");
  code.textContent = code.textContent.replaceAll("http://localhost:8080", location.origin);
  const button = document.createElement("button");
  button.type = "button";
  button.className = "copy";
  button.textContent = "Copy";
  button.addEventListener("click", async () => {
    await navigator.clipboard.writeText(code.textContent);
    button.textContent = "Copied";
    setTimeout(() => { button.textContent = "Copy"; }, 1500);
  });
  if (navigator.clipboard) example.append(button);
}

const filter = document.getElementById("filter");
if (filter) filter.closest("label").hidden = false;
filter?.addEventListener("input", () => {
  const wanted = filter.value.trim().toLowerCase();
  for (const link of document.querySelectorAll("nav li a")) {
    const hidden = !link.textContent.toLowerCase().includes(wanted);
    link.parentElement.hidden = hidden;
    document.getElementById(link.hash.slice(1)).hidden = hidden;
  }
});
