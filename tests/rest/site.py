"""A small gateway for tests: routes over the generated messages, with every part of the real one around them."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

from aiohttp import ClientSession, TCPConnector, web
from prometheus_client import CollectorRegistry, Counter

from shortener import errors
from shortener.api import Content, Operation, Query, Route
from shortener.caller import Caller, Kind
from shortener.config.sections import Gateway, Grpc
from shortener.errors import Code
from shortener.gen import analytics, url
from shortener.limits import Counted
from shortener.net.addresses import ClientAddresses
from shortener.rest import docs as docspage
from shortener.rest import gateway, openapi
from shortener.rest import operations as ops
from shortener.rest.problems import problems
from shortener.rest.server import HttpServer
from shortener.rpc.health import Serving

GRPC = Grpc()
GATEWAY = Gateway(body_size_max=4096, body_timeout_seconds=5.0)
HTTP = Gateway(connections_max=100, head_timeout_seconds=5.0, keepalive_seconds=30.0)


async def authenticate(token: str, address: str) -> Caller:
    if token != "t0ken":
        raise errors.Unauthenticated("the token is not valid")
    return Caller(Kind.ACCOUNT, account="7", address=address)


@dataclass
class ImageRequest:
    """What the image's operation takes: no message, because there is no such RPC."""

    short_code: str = ""
    format: str = ""


class Site:
    """What the routes have seen, and what they wait for."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, Caller]] = []
        self.seen: list[tuple[str, str, bool]] = []
        self.admitted: list[tuple[Counted, Caller]] = []
        self.over_limit = False
        self.trusted_proxies: tuple[str, ...] = ("127.0.0.1",)
        self.started = asyncio.Event()
        self.release = asyncio.Event()
        self.serving = Serving()
        self.server: HttpServer | None = None

    def admit(self, kind: Counted, caller: Caller) -> None:
        self.admitted.append((kind, caller))
        if self.over_limit:
            raise errors.Exhausted("too many links", retry_after_seconds=42)

    def observe(self, route: str, status: int, seconds: float) -> None:
        self.seen.append((route, status, seconds >= 0))

    async def create(self, request: url.CreateUrlRequest, caller: Caller) -> url.CreateUrlResponse:
        self.calls.append((request, caller))
        return url.CreateUrlResponse(short_code="abc", long_url=request.long_url, expires_at=request.expires_at)

    async def page(self, request: url.ListUrLsRequest, caller: Caller) -> url.ListUrLsResponse:
        self.calls.append((request, caller))
        return url.ListUrLsResponse(urls=[url.Url(short_code="a")], total=request.limit)

    async def get(self, request: url.GetUrlRequest, caller: Caller) -> url.GetUrlResponse:
        self.calls.append((request, caller))
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
        if request.short_code in failures:
            raise failures[request.short_code]
        return url.GetUrlResponse(url=url.Url(short_code=request.short_code, clicks=2**53), found=True)

    async def delete(self, _: url.DeleteUrlRequest, __: Caller) -> url.DeleteUrlResponse:
        return url.DeleteUrlResponse(success=True)

    async def image(self, request: ImageRequest, _: Caller) -> Content:
        return Content("image/png", b"\x89PNG", {"X-Format": request.format})

    async def wait(self, _: analytics.GetGeoStatsRequest, __: Caller) -> analytics.GetGeoStatsResponse:
        self.started.set()
        await self.release.wait()
        return analytics.GetGeoStatsResponse(countries=[analytics.CountryStat(percentage=100 / 3)])

    def operations(self) -> list[Operation]:
        limit, kind = Query("limit", int, "How many"), Query("format", str, "Kind", ("png", "svg"))
        created, failures = {"Location": "/api/urls/abc"}, (Code.INVALID, Code.CONFLICT)
        return [
            Operation("/url.URLService/CreateURL", self.create, limit="creates",
                      route=Route("POST", "/api/urls", "Create", fills=("user_id",), status=201,
                                  headers=lambda _: created, errors=failures)),
            Operation("/url.URLService/ListURLs", self.page, Route("GET", "/api/urls", "List", query=(limit,))),
            Operation("/url.URLService/GetURL", self.get,
                      Route("GET", "/api/urls/{short_code}", "Look <at>", errors=(Code.NOT_FOUND,))),
            Operation("", self.delete, Route("DELETE", "/api/urls/{short_code}", "Delete", status=204)),
            Operation("", self.image, Route("GET", "/api/urls/{short_code}/qr", "QR", query=(kind,),
                                            media_types=("image/png",))),
            Operation("", self.wait, Route("GET", "/api/wait", "Wait", auth=False)),
            Operation("/url.URLService/IncrementClicks", self.get),
        ]  # fmt: skip

    def app(self, settings: Gateway = GATEWAY, timeouts: Grpc = GRPC) -> web.Application:
        registry = CollectorRegistry()
        Counter("calls", "Calls", registry=registry).inc()
        app = gateway.new_app(settings, problems(lambda: "request-1", self.observe))
        addresses = ClientAddresses(self.trusted_proxies, memo_max=100)
        door = gateway.Door(authenticate, addresses, self)  # type: ignore[arg-type] # it takes the place of `RateLimits`
        gateway.mount(app, self.operations(), door=door, gateway=settings, timeouts=timeouts)
        ops.mount(app, serving=self.serving, registry=registry)
        docspage.mount(app, self.document(), links="http://localhost:8081/")
        return app

    def document(self) -> dict[str, Any]:
        return openapi.document(self.operations(), title="Links", version="1.2.3", description="About <links>.")


@asynccontextmanager
async def running(
    http: Gateway = HTTP, timeouts: Grpc = GRPC, **changes: Any
) -> AsyncIterator[tuple[Site, ClientSession]]:
    """Serve a site on a free port; the client sends the right token unless told otherwise."""
    site = Site()
    site.server = HttpServer(site.app(replace(GATEWAY, **changes), timeouts), settings=http, new_id=lambda: "request-1")
    await site.server.start("127.0.0.1", 0)
    base, headers = f"http://127.0.0.1:{site.server.listener.port}", {"Authorization": "Bearer t0ken"}
    try:
        async with ClientSession(base, headers=headers, connector=TCPConnector(limit=0)) as client:
            yield site, client
    finally:
        await site.server.close()
