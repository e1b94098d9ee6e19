"""What operators ask over HTTP: GET /healthz, /readyz and /metrics."""

from aiohttp import web
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

from shortener import errors
from shortener.rest import json_codec as jsonio
from shortener.rpc.health import Serving

HEALTH_PATHS = frozenset({b"/healthz", b"/readyz"})
"""What is answered even when no place is free."""


def mount(app: web.Application, *, serving: Serving, registry: CollectorRegistry) -> None:
    """Add the three routes; `registry` holds what /metrics shows."""

    async def healthz(_: web.Request) -> web.Response:
        return _status("ok")

    async def readyz(_: web.Request) -> web.Response:
        if not serving.is_ready:
            raise errors.Unavailable("stopping" if serving.is_stopping else "starting")
        return _status("ready")

    async def metrics(request: web.Request) -> web.Response:
        encode, content_type = choose_encoder(request.headers.get("Accept", ""))
        headers = {"Content-Type": content_type, "Cache-Control": "no-store"}
        return web.Response(body=encode(registry), headers=headers)

    app.router.add_get("/healthz", healthz)
    app.router.add_get("/readyz", readyz)
    app.router.add_get("/metrics", metrics)


def _status(word: str) -> web.Response:
    headers = {"Content-Type": "application/json", "Cache-Control": "no-store"}
    return web.Response(body=jsonio.dump({"status": word}), headers=headers)
