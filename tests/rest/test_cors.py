"""Pages of other origins may use the API only where configured."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiohttp import ClientSession

from shortener.config import loading as config
from shortener.config.sections import Config, Gateway
from shortener.rest import cors
from shortener.rest.server import HttpServer
from tests.rest.site import HTTP, Site

FRIEND, STRANGER = "https://app.example.com", "https://evil.example"
PREFLIGHT = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization"}
SHARED = {
    "Access-Control-Allow-Origin": FRIEND,
    "Access-Control-Expose-Headers": "Location, Retry-After, Idempotent-Replayed",
}


@asynccontextmanager
async def site(*origins: str) -> AsyncIterator[ClientSession]:
    site = Site()
    app = site.app()
    if origins:
        cors.mount(app, origins)
    server = HttpServer(app, settings=HTTP, new_id=lambda: "request-1")
    await server.start("127.0.0.1", 0)
    try:
        async with ClientSession(f"http://127.0.0.1:{server.listener.port}") as client:
            yield client
    finally:
        await server.close()


async def shown(client: ClientSession, method: str, path: str, **headers: str) -> tuple[int, dict[str, str], str]:
    """Return status, the headers of CORS, and Vary."""
    async with client.request(method, path, headers=headers) as answer:
        of_cors = {name: value for name, value in answer.headers.items() if name.startswith("Access-Control-")}
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        return answer.status, of_cors, ", ".join(answer.headers.getall("Vary", []))


async def test_a_friends_preflight_is_answered() -> None:
    async with site(FRIEND, "https://other.example") as client:
        assert await shown(client, "OPTIONS", "/api/urls", Origin=FRIEND, **PREFLIGHT) == (
            204,
            {
                **SHARED,
                "Access-Control-Allow-Methods": "GET, HEAD, POST",
                "Access-Control-Allow-Headers": "Authorization, Content-Type, Idempotency-Key",
                "Access-Control-Max-Age": "600",
            },
            "Origin",
        )


async def test_a_friends_calls_and_errors_are_shared() -> None:
    async with site(FRIEND) as client:
        assert await shown(client, "GET", "/api/urls/a", Origin=FRIEND) == (401, SHARED, "Origin")
        token = {"Authorization": "Bearer t0ken"}
        assert await shown(client, "GET", "/api/urls/a", Origin=FRIEND, **token) == (200, SHARED, "Origin")
        assert await shown(client, "GET", "/api/urls/bug", Origin=FRIEND, **token) == (500, SHARED, "Origin")
        assert await shown(client, "GET", "/api/nothing", Origin=FRIEND) == (404, SHARED, "Origin")
        assert await shown(client, "OPTIONS", "/api/nothing", Origin=FRIEND, **PREFLIGHT) == (404, SHARED, "Origin")
        assert await shown(client, "GET", "/openapi.json", Origin=FRIEND) == (200, SHARED, "Origin")


@pytest.mark.parametrize("path", ["/metrics", "/healthz", "/docs", "/", "/apix"])
async def test_what_is_no_api_is_shared_with_nobody(path: str) -> None:
    async with site(FRIEND) as client:
        _, given, vary = await shown(client, "GET", path, Origin=FRIEND)
        assert (given, "Origin" in vary) == ({}, False)
        status, *rest = await shown(client, "OPTIONS", path, Origin=FRIEND, **PREFLIGHT)
        assert status in (404, 405)
        assert rest == [{}, ""]


@pytest.mark.parametrize(
    "origin", [STRANGER, "null", "", f"{FRIEND}.evil.example", FRIEND.upper(), f"{FRIEND}:443", f"{FRIEND}/", "*"]
)
async def test_strangers_are_told_nothing(origin: str) -> None:
    async with site(FRIEND) as client:
        assert await shown(client, "OPTIONS", "/api/urls", Origin=origin, **PREFLIGHT) == (405, {}, "Origin")
        assert await shown(client, "GET", "/api/urls", Origin=origin) == (401, {}, "Origin")
        async with client.options("/api/urls", headers={"Origin": origin, **PREFLIGHT}) as answer:
            assert answer.headers["Allow"] == "GET,HEAD,POST"


async def test_options_that_is_no_preflight_is_a_method_like_any_other() -> None:
    async with site(FRIEND) as client:
        assert await shown(client, "OPTIONS", "/api/urls", Origin=FRIEND) == (405, SHARED, "Origin")
        assert await shown(client, "OPTIONS", "/api/urls", **PREFLIGHT) == (405, {}, "Origin")


async def test_by_default_there_is_nothing_of_it() -> None:
    assert Config().gateway.cors_origins == ()
    async with site() as client:
        assert await shown(client, "OPTIONS", "/api/urls", Origin=FRIEND, **PREFLIGHT) == (405, {}, "")
        assert await shown(client, "GET", "/api/urls", Origin=FRIEND) == (401, {}, "")


@pytest.mark.parametrize(
    "origin",
    [
        "https://app.example.com",
        "http://localhost:3000",
        "http://[::1]:8000",
        "https://xn--bcher-kva.example",
        "http://a",
    ],
)
def test_origins_as_browsers_write_them(origin: str) -> None:
    config.check(Config(gateway=Gateway(cors_origins=(origin,))))


@pytest.mark.parametrize(
    "origin",
    ["*", "null", "", "app.example.com", "https://app.example.com/", "https://App.example.com", "https://*.example.com",
     "https://app.example.com:443", "http://app.example.com:80", "https://app.example.com:99999", "https://a:0",
     "ftp://example.com", "https://user@example.com", "https://bücher.example", "https://a.example\n", "https://-a"],
)  # fmt: skip
def test_other_texts_are_refused(origin: str) -> None:
    with pytest.raises(config.ConfigError, match="cors_origins must be exact origins"):
        config.check(Config(gateway=Gateway(cors_origins=(origin,))))


def test_origins_are_limited() -> None:
    many = tuple(f"https://a{number}.example" for number in range(101))
    config.check(Config(gateway=Gateway(cors_origins=many[:100])))
    with pytest.raises(config.ConfigError, match="cors_origins must be 100 at most, not 101"):
        config.check(Config(gateway=Gateway(cors_origins=many)))
