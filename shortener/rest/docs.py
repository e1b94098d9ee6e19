"""The page at /docs, made once from the OpenAPI document, and its assets; nothing on it comes from elsewhere."""

import hashlib
import json
from collections.abc import Iterator
from html import escape
from importlib import resources
from typing import Any

from aiohttp import web

from shortener.rest import json_codec as jsonio
from shortener.rest.problems import MEDIA_TYPE

Json = dict[str, Any]

CONTENT_SECURITY_POLICY = (
    "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_ASSETS = {
    "docs.css": "text/css; charset=utf-8",
    "docs.js": "text/javascript; charset=utf-8",
    "docs.svg": "image/svg+xml",
}
_CACHE = "public, max-age=300"


def mount(app: web.Application, document: Json) -> None:
    """Add /docs, its assets, /openapi.json, and /problems/{name}, where the `type` of a problem leads."""
    add = app.router.add_get
    add("/openapi.json", _fixed(json.dumps(document, ensure_ascii=False).encode(), "application/json"))
    add("/docs", _fixed(page(document).encode(), "text/html; charset=utf-8"))
    for name, content_type in _ASSETS.items():
        add(f"/docs/{name}", _fixed(resources.files(__package__).joinpath("static", name).read_bytes(), content_type))

    async def problem_type(_: web.Request) -> web.Response:
        return web.Response(status=302, headers={"Location": "/docs#errors", "Cache-Control": _CACHE})

    add("/problems/{name}", problem_type)


def _fixed(content: bytes, content_type: str) -> Any:
    """Return a handler that answers the same bytes each time, or 304 to who has them."""
    tag = f'"{hashlib.sha256(content).hexdigest()[:16]}"'
    headers = {"ETag": tag, "Cache-Control": _CACHE}
    if content_type.startswith("text/html"):
        headers["Content-Security-Policy"] = CONTENT_SECURITY_POLICY

    async def handle(request: web.Request) -> web.Response:
        if request.headers.get("If-None-Match") == tag:
            return web.Response(status=304, headers=headers)
        return web.Response(body=content, headers={**headers, "Content-Type": content_type})

    return handle


def page(document: Json) -> str:
    """Return the HTML page that shows an OpenAPI document."""
    info = document["info"]
    operations = list(_operations(document))
    return _PAGE.format(
        title=escape(info["title"]),
        version=escape(info["version"]),
        description=escape(info["description"]),
        navigation="".join(_navigation(document, operations)),
        operations="".join(_operation(document, *operation) for operation in operations),
        errors="".join(_errors(document)),
        media_type=MEDIA_TYPE,
    )


_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}: API</title>
<link rel="icon" type="image/svg+xml" href="/docs/docs.svg">
<link rel="stylesheet" href="/docs/docs.css">
<script src="/docs/docs.js" defer></script>
</head>
<body>
<a class="skip" href="#content">Skip to content</a>
<nav aria-label="Operations">
<p class="brand">{title} <small>{version}</small></p>
<label class="filter" hidden>Filter <input type="search" id="filter" autocomplete="off"></label>
{navigation}
<p class="plain"><a href="#errors">Errors</a></p>
<p class="plain"><a href="/openapi.json">openapi.json</a></p>
</nav>
<main id="content">
<header><h1>{title}</h1><p>{description}</p>
<p>Calls marked with <span class="lock">token</span> need the header <code>Authorization: Bearer &lt;token&gt;</code>;
registering and logging in answer with a token.</p></header>
{operations}
<section id="errors"><h2>Errors</h2>
<p>Every error is a problem document (RFC 9457), of the media type <code>{media_type}</code>.</p>
<table><thead><tr><th scope="col">Status</th><th scope="col">Meaning</th></tr></thead><tbody>{errors}</tbody></table>
</section>
</main>
</body>
</html>
"""


def _operations(document: Json) -> Iterator[tuple[str, str, Json]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield method.upper(), path, operation


def _navigation(document: Json, operations: list[tuple[str, str, Json]]) -> Iterator[str]:
    for tag in document["tags"]:
        yield f"<h2>{escape(tag['name'])}</h2><ul>"
        for method, path, operation in operations:
            if tag["name"] in operation["tags"]:
                link = f'<a href="#{operation["operationId"]}">{_badge(method)} {escape(path)}</a>'
                yield f"<li>{link}</li>"
        yield "</ul>"


def _badge(method: str) -> str:
    return f'<b class="method {method.lower()}">{method}</b>'


def _operation(document: Json, method: str, path: str, operation: Json) -> str:
    lock = ' <span class="lock">token</span>' if operation["security"] else ""
    head = f"<h2>{_badge(method)} <code>{escape(path)}</code>{lock}</h2><p>{escape(operation['summary'])}</p>"
    parts = [head, *_parameters(operation), *_body(document, operation), *_responses(document, operation)]
    parts.append(_example("Try it", _curl(document, method, path, operation)))
    return f'<section id="{operation["operationId"]}">{"".join(parts)}</section>\n'


def _parameters(operation: Json) -> Iterator[str]:
    if not operation.get("parameters"):
        return
    yield "<h3>Parameters</h3>" + _TABLE_HEAD
    for parameter in operation["parameters"]:
        schema = parameter["schema"]
        kind = schema["type"] + (": " + ", ".join(schema["enum"]) if "enum" in schema else "")
        text = parameter.get("description", "in the path" if parameter["in"] == "path" else "")
        yield _row(parameter["name"], kind, text)
    yield "</tbody></table>"


_TABLE_HEAD = (
    '<table><thead><tr><th scope="col">Name</th><th scope="col">Type</th><th scope="col">Meaning</th></tr></thead>'
    "<tbody>"
)


def _row(name: str, kind: str, text: str) -> str:
    return f"<tr><th scope='row'><code>{escape(name)}</code></th><td>{escape(kind)}</td><td>{escape(text)}</td></tr>"


def _body(document: Json, operation: Json) -> Iterator[str]:
    if "requestBody" in operation:
        schema = _resolved(document, operation["requestBody"]["content"]["application/json"]["schema"])
        yield "<h3>Body</h3>" + _TABLE_HEAD
        for name, field in schema["properties"].items():
            kind = _type_of(field) + (", required" if name in schema.get("required", ()) else "")
            yield _row(name, kind, field.get("description", ""))
        yield "</tbody></table>"


def _responses(document: Json, operation: Json) -> Iterator[str]:
    codes = []
    for status, response in operation["responses"].items():
        if "$ref" in response:
            codes.append(f'<a href="#errors">{status}</a>')
            continue
        yield f"<h3>Answer: {status} {escape(response['description'])}</h3>"
        for media_type, content in response.get("content", {}).items():
            if "schema" in content and media_type == "application/json":
                yield from _meanings(document, content["schema"])
                yield _example("", _pretty(_sample(document, content["schema"])))
            else:
                yield f"<p><code>{escape(media_type)}</code></p>"
    if codes:
        yield f"<p>Errors: {' '.join(codes)}</p>"


def _meanings(document: Json, schema: Json) -> Iterator[str]:
    """Explain the fields of an answer, those of the messages inside it too, each message once."""
    waiting, seen = [schema], set()
    while waiting:
        reference = waiting.pop(0)
        resolved = _resolved(document, reference)
        title = reference.get("$ref", "").rpartition("/")[2]
        if title in seen or "properties" not in resolved:
            continue
        seen.add(title)
        rows = []
        for name, field in resolved["properties"].items():
            inner = field.get("items", field)
            if "$ref" in inner:
                waiting.append(inner)
            kind = inner["$ref"].rpartition("/")[2] if "$ref" in inner else inner["type"]
            rows.append(_row(name, f"array of {kind}" if "items" in field else kind, field.get("description", "")))
        yield f"<details><summary>{escape(title)}</summary>{_TABLE_HEAD}{''.join(rows)}</tbody></table></details>"


def _pretty(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False)


def _errors(document: Json) -> Iterator[str]:
    for status, title in sorted(_error_titles(document).items()):
        yield f"<tr><th scope='row'>{status}</th><td>{escape(title)}</td></tr>"


def _error_titles(document: Json) -> dict[str, str]:
    responses = document["components"]["responses"]
    return {
        status: responses[response["$ref"].rpartition("/")[2]]["description"]
        for _, _, operation in _operations(document)
        for status, response in operation["responses"].items()
        if "$ref" in response
    }


def _example(title: str, text: str) -> str:
    heading = f"<h3>{title}</h3>" if title else ""
    return f'{heading}<div class="example"><pre><code>{escape(text)}</code></pre></div>'


def _curl(document: Json, method: str, path: str, operation: Json) -> str:
    lines = [
        f"curl -X {method} http://localhost:8080{path}" if method != "GET" else f"curl http://localhost:8080{path}"
    ]
    if operation["security"]:
        lines.append('-H "Authorization: Bearer $TOKEN"')
    if "requestBody" in operation:
        schema = operation["requestBody"]["content"]["application/json"]["schema"]
        lines.append("-H 'Content-Type: application/json'")
        lines.append(f"-d '{jsonio.dump(_sample(document, schema)).decode()}'")
    return " \\\n  ".join(lines)


def _resolved(document: Json, schema: Json) -> Json:
    if "$ref" in schema:
        found: Json = document["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
        return found
    return schema


_SAMPLES = {"string": "…", "integer": 0, "number": 0.0, "boolean": False}


def _sample(document: Json, schema: Json) -> Any:
    """Return a value that fits a schema: texts stand for themselves by three dots."""
    schema = _resolved(document, schema)
    if schema["type"] == "object":
        return {name: _sample(document, field) for name, field in schema.get("properties", {}).items()}
    if schema["type"] == "array":
        return [_sample(document, schema["items"])]
    return _SAMPLES[_type_of(schema)]


def _type_of(schema: Json) -> str:
    """Return the type, null apart."""
    kind = schema["type"]
    return str(kind if isinstance(kind, str) else kind[0])
