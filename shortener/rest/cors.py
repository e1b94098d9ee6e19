"""Lets pages of the configured origins use the REST API from a browser (the CORS protocol of the Fetch standard).

Without configured origins nothing of this is mounted. Only bearer tokens let anybody in, never cookies, so credentials
are not part of it. What is no API (metrics, health, pages) is shared with nobody.
"""

from collections.abc import Iterable

from aiohttp import web
from aiohttp.typedefs import Handler

from shortener.api import KEY_HEADER, REPLAYED_HEADER

MAX_AGE_SECONDS = 600
_ALLOWED_HEADERS = f"Authorization, Content-Type, {KEY_HEADER}"
_EXPOSED_HEADERS = f"Location, Retry-After, {REPLAYED_HEADER}"


def mount(app: web.Application, origins: Iterable[str]) -> None:
    """Share the API with `origins`, such as "https://app.example.com", as browsers write them.

    Answers to them, errors too, say so. Their preflight requests are answered 204; everybody else's OPTIONS goes on to
    be answered as any method that a route does not take.
    """
    allowed = frozenset(origins)

    @web.middleware
    async def preflight(request: web.Request, handler: Handler) -> web.StreamResponse:
        if (
            request.method != "OPTIONS"
            or not _is_shared(request.path)
            or request.headers.get("Origin") not in allowed
            or "Access-Control-Request-Method" not in request.headers
        ):
            return await handler(request)
        try:
            return await handler(request)
        except web.HTTPMethodNotAllowed as refusal:
            methods = ", ".join(sorted(refusal.allowed_methods))
        headers = {
            "Access-Control-Allow-Methods": methods,
            "Access-Control-Allow-Headers": _ALLOWED_HEADERS,
            "Access-Control-Max-Age": str(MAX_AGE_SECONDS),
        }
        return web.Response(status=204, headers=headers)

    async def share(request: web.Request, response: web.StreamResponse) -> None:
        if not _is_shared(request.path):
            return
        response.headers.add("Vary", "Origin")
        origin = request.headers.get("Origin")
        if origin in allowed:
            response.headers["Access-Control-Allow-Origin"] = origin
            response.headers["Access-Control-Expose-Headers"] = _EXPOSED_HEADERS

    app.middlewares.append(preflight)
    app.on_response_prepare.append(share)


def _is_shared(path: str) -> bool:
    return path.startswith("/api/") or path == "/openapi.json"
