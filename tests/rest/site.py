"""A small gateway for tests: routes over the generated messages, with every part of the real one around them."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

from aiohttp import ClientSession, TCPConnector, web
from prometheus_client import CollectorRegistry, Counter

from shortener import errors
from shortener.config.sections import Gateway
from shortener.errors import Code
from shortener.gen import analytics, url
from shortener.limits import Kind
from shortener.net.addresses import ClientAddresses
from shortener.rest import docs as docspage
from shortener.rest import gateway, openapi
from shortener.rest import operations as ops
from shortener.rest.auth import Principal
from shortener.rest.gateway import GatewaySettings
from shortener.rest.problems import problems
from shortener.rest.routes import Call, Query, Reply, Route
from shortener.rest.server import HttpServer
from shortener.rpc.health import Serving

GATEWAY = GatewaySettings(body_size_max=4096, body_timeout_seconds=5.0, timeout_seconds=5.0, slow_timeout_seconds=10.0)
HTTP = Gateway(connections_max=100, head_timeout_seconds=5.0, keepalive_seconds=30.0)


async def authenticate(token: str) -> Principal:
    if token != "t0ken":
        raise errors.Unauthenticated("the token is not valid")
    return Principal("7")


class Site:
    """What the routes have seen, and what they wait for."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.seen: list[tuple[str, int, bool]] = []
        self.admitted: list[tuple[Kind, str, str]] = []
        self.over_limit = False
        self.trusted_proxies: tuple[str, ...] = ("127.0.0.1",)
        self.started = asyncio.Event()
        self.release = asyncio.Event()
        self.serving = Serving()
        self.server: HttpServer | None = None

    def admit(self, kind: Kind, address: str, account_id: str = "") -> None:
        self.admitted.append((kind, address, account_id))
        if self.over_limit:
            raise errors.Exhausted("too many links", retry_after_seconds=42)

    def observe(self, route: str, status: int, seconds: float) -> None:
        self.seen.append((route, status, seconds >= 0))

    def routes(self) -> list[Route]:
        async def create(call: Call) -> Reply:
            self.calls.append(call)
            assert isinstance(call.body, url.CreateUrlRequest)
            reply = url.CreateUrlResponse(
                short_code="abc", long_url=call.body.long_url, expires_at=call.body.expires_at
            )
            return Reply(reply, status=201, headers={"Location": "/api/urls/abc"})

        async def page(call: Call) -> Reply:
            self.calls.append(call)
            return Reply(url.ListUrLsResponse(urls=[url.Url(short_code="a")], total=call.number("limit")))

        async def get(call: Call) -> Reply:
            self.calls.append(call)
            failures: dict[str, Exception] = {
                "missing": errors.NotFound("short URL not found"),
                "gone": errors.Gone("short URL has expired"),
                "invalid": errors.Invalid("short_code is required", field="short_code"),
                "taken": errors.Conflict("alias is taken", field="alias", suggestions=("a1", "a2", "a3")),
                "limit": errors.Exhausted("too many requests", retry_after_seconds=7),
                "overload": errors.Exhausted("too much to do", retry_after_seconds=2, overload=True),
                "stopped": errors.Unavailable("try again later"),
                "bug": RuntimeError("a secret detail"),
                "timeout": TimeoutError("inner"),
            }
            code = call.path["short_code"]
            if code in failures:
                raise failures[code]
            return Reply(url.GetUrlResponse(url=url.Url(short_code=code, clicks=2**53), found=True))

        async def delete(_: Call) -> Reply:
            return Reply(status=204)

        async def image(call: Call) -> Reply:
            return Reply(content=b"\x89PNG", content_type="image/png", headers={"X-Format": call.text("format")})

        async def wait(_: Call) -> Reply:
            self.started.set()
            await self.release.wait()
            return Reply(analytics.GetGeoStatsResponse(countries=[analytics.CountryStat(percentage=100 / 3)]))

        limit, kind = Query("limit", int, "How many"), Query("format", str, "Kind", ("png", "svg"))
        return [
            Route("POST", "/api/urls", create, "Create", body=url.CreateUrlRequest, body_hides=frozenset({"user_id"}),
                  reply=url.CreateUrlResponse, status=201, errors=(Code.INVALID, Code.CONFLICT), limit="creates"),
            Route("GET", "/api/urls", page, "List", query=(limit,), reply=url.ListUrLsResponse),
            Route("GET", "/api/urls/{short_code}", get, "Look <at>", reply=url.GetUrlResponse,
                  errors=(Code.NOT_FOUND,)),
            Route("DELETE", "/api/urls/{short_code}", delete, "Delete", status=204),
            Route("GET", "/api/urls/{short_code}/qr", image, "QR", query=(kind,),
                  media_types=("image/png",)),
            Route("GET", "/api/wait", wait, "Wait", auth=False, reply=analytics.GetGeoStatsResponse),
        ]  # fmt: skip

    def app(self, settings: GatewaySettings) -> web.Application:
        registry = CollectorRegistry()
        Counter("calls", "Calls", registry=registry).inc()
        app = gateway.new_app(settings, problems(lambda: "request-1", self.observe))
        addresses = ClientAddresses(self.trusted_proxies, memo_max=100)
        gateway.mount(app, self.routes(), door=gateway.Door(authenticate, addresses, self.admit), settings=settings)
        ops.mount(app, serving=self.serving, registry=registry)
        docspage.mount(app, self.document(), links="http://localhost:8081/")
        return app

    def document(self) -> dict[str, Any]:
        return openapi.document(self.routes(), title="Links", version="1.2.3", description="About <links>.")


@asynccontextmanager
async def running(http: Gateway = HTTP, **changes: Any) -> AsyncIterator[tuple[Site, ClientSession]]:
    """Serve a site on a free port; the client sends the right token unless told otherwise."""
    site = Site()
    site.server = HttpServer(site.app(replace(GATEWAY, **changes)), settings=http, new_id=lambda: "request-1")
    await site.server.start("127.0.0.1", 0)
    base, headers = f"http://127.0.0.1:{site.server.listener.port}", {"Authorization": "Bearer t0ken"}
    try:
        async with ClientSession(base, headers=headers, connector=TCPConnector(limit=0)) as client:
            yield site, client
    finally:
        await site.server.close()
