"""Makes the tables of docs/configuration.md from config.toml: `python -m tests.docs.configuration` writes them."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
BEGINNING = "## All keys\n\n"
"""The tables are the end of the document."""
_KEY = re.compile(r"(\w+) = (\S.*?)(?:\s+# (.*))?")


def tables() -> str:
    """One table per section of config.toml: key, default, meaning."""
    lines: list[str] = []
    section = ""
    for line in (ROOT / "config.toml").read_text().splitlines():
        if line.startswith("["):
            section = line.strip("[]")
            lines += ["", f"### `[{section}]`", "", "| Key | Default | Meaning |", "|---|---|---|"]
        elif found := _KEY.fullmatch(line):
            key, default, meaning = found.groups()
            lines.append(
                f"| `{key}` | `{default}` | {(meaning or 'port of the listener').replace('|', chr(92) + '|')} |"
            )
    return "\n".join(lines).strip() + "\n"


if __name__ == "__main__":
    document = ROOT / "docs" / "configuration.md"
    text, _, _ = document.read_text().partition(BEGINNING)
    document.write_text(text + BEGINNING + tables())
