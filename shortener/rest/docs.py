"""The pages at / and /docs, made of the OpenAPI document, and their assets; nothing on them comes from elsewhere."""

import asyncio
import hashlib
import json
from collections.abc import Awaitable, Callable, Iterator
from importlib import resources
from typing import Any

from aiohttp import web

from shortener.net.accept import prefers_problem
from shortener.rest.problems import MEDIA_TYPE, http_problem

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
_Handler = Callable[[web.Request], Awaitable[web.Response]]


def mount(app: web.Application, document: Json, *, links: str) -> None:
    """Add /, /docs, their assets, /openapi.json, and /problems/{name}, where the `type` of a problem leads.

    `links` is what short URLs begin with.
    """
    add = app.router.add_get
    add("/openapi.json", _fixed(json.dumps(document, ensure_ascii=False).encode(), "application/json"))
    add("/", _for_browsers(_rendered(lambda: home(document, links))))
    add("/docs", _rendered(lambda: page(document)))
    for name, content_type in _ASSETS.items():
        add(f"/docs/{name}", _fixed(resources.files(__package__).joinpath("static", name).read_bytes(), content_type))

    async def problem_type(_: web.Request) -> web.Response:
        return web.Response(status=302, headers={"Location": "/docs#errors", "Cache-Control": _CACHE})

    add("/problems/{name}", problem_type)


def _for_browsers(handler: _Handler) -> _Handler:
    """Return a handler that tells clients who ask for JSON that there is only a page."""

    async def handle(request: web.Request) -> web.Response:
        if prefers_problem(request.headers.get("Accept", "")):
            response = http_problem(404, "this is a page for browsers; /openapi.json describes the API")
        else:
            response = await handler(request)
        response.headers["Vary"] = "Accept"
        return response

    return handle


def _rendered(make: Callable[[], str]) -> _Handler:
    """Return the handler of a page, which is made for its first visitor, off the event loop."""
    fixed: _Handler | None = None

    async def handle(request: web.Request) -> web.Response:
        nonlocal fixed
        if fixed is None:
            content = await asyncio.to_thread(make)
            fixed = _fixed(content.encode(), "text/html; charset=utf-8")
        return await fixed(request)

    return handle


def _fixed(content: bytes, content_type: str) -> _Handler:
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


def home(document: Json, links: str) -> str:
    """Return the HTML page at the root: what this is, and where to go from here."""
    from shortener.net.templates import render  # noqa: PLC0415 - 50 ms that the start need not take

    return render("shortener.rest", "home.html", info=document["info"], links=links)


def page(document: Json) -> str:
    """Return the HTML page that shows an OpenAPI document."""
    from shortener.net.templates import render  # noqa: PLC0415 - 50 ms that the start need not take

    schemas = _Schemas(document["components"]["schemas"])
    operations = [
        (method.upper(), path, operation)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    ]
    return render(
        "shortener.rest",
        "docs.html",
        info=document["info"],
        tags=document["tags"],
        operations=operations,
        parameters=_parameters,
        body=schemas.body,
        messages=schemas.messages,
        sample=schemas.sample,
        errors=sorted(_errors(document)),
        media_type=MEDIA_TYPE,
    )


Row = tuple[str, str, str]
"""Name, type and meaning of a value."""


def _parameters(operation: Json) -> Iterator[Row]:
    for parameter in operation["parameters"]:
        schema = parameter["schema"]
        kind = schema["type"] + (": " + ", ".join(schema["enum"]) if "enum" in schema else "")
        yield parameter["name"], kind, parameter.get("description", "in the path")


def _errors(document: Json) -> set[tuple[str, str]]:
    """Return the statuses that some operation refers to, each with its title."""
    responses = document["components"]["responses"]
    return {
        (status, responses[response["$ref"].rpartition("/")[2]]["description"])
        for methods in document["paths"].values()
        for operation in methods.values()
        for status, response in operation["responses"].items()
        if "$ref" in response
    }


class _Schemas:
    """What the page shows of schemas: fields, and values that fit."""

    def __init__(self, by_name: Json) -> None:
        self._by_name = by_name

    def _resolved(self, schema: Json) -> tuple[str, Json]:
        """Return the name and content of a schema, also of one that is only referred to."""
        name = schema.get("$ref", "").rpartition("/")[2]
        return name, self._by_name[name] if name else schema

    def body(self, operation: Json) -> Iterator[Row]:
        """Return the fields of a request's body."""
        _, schema = self._resolved(operation["requestBody"]["content"]["application/json"]["schema"])
        for name, field in schema["properties"].items():
            kind = _type_of(field) + (", required" if name in schema.get("required", ()) else "")
            yield name, kind, field.get("description", "")

    def messages(self, schema: Json) -> Iterator[tuple[str, list[Row]]]:
        """Return the fields of an answer, and those of the messages inside it, each message once."""
        waiting, seen = [schema], set()
        while waiting:
            title, resolved = self._resolved(waiting.pop(0))
            if title in seen or "properties" not in resolved:
                continue
            seen.add(title)
            rows = []
            for name, field in resolved["properties"].items():
                inner = field.get("items", field)
                kind = self._resolved(inner)[0] or inner["type"]
                if "$ref" in inner:
                    waiting.append(inner)
                rows.append((name, f"array of {kind}" if "items" in field else kind, field.get("description", "")))
            yield title, rows

    def sample(self, schema: Json) -> Any:
        """Return a value that fits a schema: texts stand for themselves by three dots."""
        _, schema = self._resolved(schema)
        if schema["type"] == "object":
            return {name: self.sample(field) for name, field in schema.get("properties", {}).items()}
        if schema["type"] == "array":
            return [self.sample(schema["items"])]
        return _SAMPLES[_type_of(schema)]


_SAMPLES = {"string": "…", "integer": 0, "number": 0.0, "boolean": False}


def _type_of(schema: Json) -> str:
    """Return the type, null apart."""
    kind = schema["type"]
    return str(kind if isinstance(kind, str) else kind[0])
