"""Requests to calls, replies to answers, and the shape of every error."""

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import ClientSession

from shortener.caller import Caller, Kind
from shortener.config.sections import Grpc
from shortener.gen import url
from tests.rest.site import Site, running


@pytest.fixture
async def site_and_client() -> AsyncIterator[tuple[Site, ClientSession]]:
    async with running() as opened:
        yield opened


@pytest.fixture
def site(site_and_client: tuple[Site, ClientSession]) -> Site:
    return site_and_client[0]


@pytest.fixture
def client(site_and_client: tuple[Site, ClientSession]) -> ClientSession:
    return site_and_client[1]


async def test_a_body_becomes_a_message_and_a_message_json(site: Site, client: ClientSession) -> None:
    body = {
        "long_url": "https://example.com/é",
        "expires_at": 2**40,
        "user_id": 5,
        "unknown": [1],
        "omit_qr_code": None,
    }
    async with client.post("/api/urls", json=body) as answer:
        assert answer.status == 201
        assert answer.headers["Location"] == "/api/urls/abc"
        assert answer.headers["Content-Type"] == "application/json"
        assert answer.headers["Cache-Control"] == "no-store"
        assert json.loads(await answer.read()) == {
            "short_code": "abc",
            "short_url": "",
            "long_url": "https://example.com/é",
            "created_at": 0,
            "expires_at": 2**40,
            "qr_code": "",
        }
    [(request, caller)] = site.calls
    assert request == url.CreateUrlRequest(long_url="https://example.com/é", expires_at=2**40, user_id="7")
    assert caller == Caller(Kind.ACCOUNT, account="7", address="127.0.0.1")


async def test_every_field_is_in_the_answer(client: ClientSession) -> None:
    async with client.get("/api/urls/abc") as answer:
        assert await answer.json() == {
            "url": {
                "short_code": "abc",
                "long_url": "",
                "clicks": 2**53,
                "created_at": 0,
                "updated_at": 0,
                "is_active": False,
                "expires_at": 0,
                "short_url": "",
            },
            "found": True,
        }


async def test_path_and_query_have_their_types(site: Site, client: ClientSession) -> None:
    async with client.get("/api/urls?limit=-5&other=1") as answer:
        assert (await answer.json())["total"] == -5
    async with client.get("/api/urls") as answer:
        assert (await answer.json())["total"] == 0
    async with client.get("/api/urls/a%20b%2Fc") as answer:
        assert (await answer.json())["url"]["short_code"] == "a b/c"
    assert [(request.limit, request.user_id) for request, _ in site.calls[:2]] == [(-5, ""), (0, "")]
    assert [request.short_code for request, _ in site.calls[2:]] == ["a b/c"]


async def test_images_and_empty_answers(client: ClientSession) -> None:
    async with client.get("/api/urls/abc/qr?format=png") as answer:
        assert (answer.headers["Content-Type"], await answer.read()) == ("image/png", b"\x89PNG")
        assert answer.headers["X-Format"] == "png"
    async with client.delete("/api/urls/abc") as answer:
        assert (answer.status, await answer.read()) == (204, b"")
        assert "Content-Type" not in answer.headers


async def test_head_is_get_without_the_body(client: ClientSession) -> None:
    async with client.get("/api/urls/abc") as full, client.head("/api/urls/abc") as answer:
        assert (answer.status, await answer.read()) == (200, b"")
        assert answer.headers["Content-Length"] == full.headers["Content-Length"]
    async with client.head("/api/urls/missing") as answer:
        assert (answer.status, await answer.read()) == (404, b"")


@pytest.mark.parametrize(
    ("code", "headers", "problem"),
    [
        (
            "invalid",
            {},
            {
                "type": "/problems/invalid",
                "title": "Invalid request",
                "status": 400,
                "detail": "short_code is required",
                "field": "short_code",
            },
        ),
        (
            "missing",
            {},
            {"type": "/problems/not_found", "title": "Not found", "status": 404, "detail": "short URL not found"},
        ),
        (
            "gone",
            {},
            {
                "type": "/problems/gone",
                "title": "No longer available",
                "status": 410,
                "detail": "short URL has expired",
            },
        ),
        (
            "taken",
            {},
            {
                "type": "/problems/conflict",
                "title": "Already exists",
                "status": 409,
                "detail": "alias is taken",
                "field": "alias",
                "suggestions": ["a1", "a2", "a3"],
            },
        ),
        (
            "limit",
            {"Retry-After": "7"},
            {"type": "/problems/exhausted", "title": "Slow down", "status": 429, "detail": "too many requests"},
        ),
        (
            "overload",
            {"Retry-After": "2"},
            {"type": "/problems/exhausted", "title": "Slow down", "status": 503, "detail": "too much to do"},
        ),
        (
            "stopped",
            {"Retry-After": "1"},
            {"type": "/problems/unavailable", "title": "Try again later", "status": 503, "detail": "try again later"},
        ),
        (
            "bug",
            {},
            {
                "type": "/problems/internal",
                "title": "Internal error",
                "status": 500,
                "detail": "internal error (request request-1)",
                "request_id": "request-1",
            },
        ),
        (
            "timeout",
            {},
            {
                "type": "/problems/internal",
                "title": "Internal error",
                "status": 500,
                "detail": "internal error (request request-1)",
                "request_id": "request-1",
            },
        ),
    ],
)
async def test_failures_are_problems(
    client: ClientSession, code: str, headers: dict[str, str], problem: dict[str, Any]
) -> None:
    async with client.get(f"/api/urls/{code}") as answer:
        assert answer.status == problem["status"]
        assert json.loads(await answer.read()) == problem
        assert headers.items() <= answer.headers.items()
        check_common(answer.headers)


def check_common(headers: Any) -> None:
    """What every problem has."""
    assert headers["Content-Type"] == "application/problem+json"
    assert headers["Cache-Control"] == "no-store"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert headers["Server"] == "shortener"
    assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]


async def test_an_unexpected_error_is_logged_with_its_request_id(
    client: ClientSession, caplog: pytest.LogCaptureFixture
) -> None:
    async with client.get("/api/urls/bug"):
        pass
    [record] = [record for record in caplog.records if record.name == "shortener.rest.problems"]
    facts = (record.getMessage(), vars(record)["request_id"], vars(record)["route"])
    assert facts == ("request failed", "request-1", "GET /api/urls/{short_code}")
    assert record.exc_info is not None
    assert "a secret detail" in str(record.exc_info[1])


@pytest.mark.parametrize(
    "header", [None, "", "Bearer", "Bearer ", "Basic t0ken", "Bearer wrong", "t0ken", "Bearer t0ken x"]
)
async def test_without_a_token_nothing_is_done(site: Site, client: ClientSession, header: str | None) -> None:
    headers = {} if header is None else {"Authorization": header}
    async with ClientSession(client._base_url) as bare, bare.get("/api/urls", headers=headers) as answer:
        assert (answer.status, answer.headers["WWW-Authenticate"]) == (401, "Bearer")
        problem = await answer.json(content_type="application/problem+json")
        assert problem["type"] == "/problems/unauthenticated"
        assert problem["title"] == "Authentication required"
        check_common(answer.headers)
    assert site.calls == []


async def test_the_scheme_of_the_token_has_any_case(client: ClientSession) -> None:
    async with client.get("/api/urls", headers={"Authorization": "bEARER t0ken"}) as answer:
        assert answer.status == 200


@pytest.mark.parametrize(
    ("query", "detail"),
    [
        ("limit=a", "limit must be an integer"),
        ("limit=1.0", "limit must be an integer"),
        ("limit=%D9%A1", "limit must be an integer"),
        ("limit=+1", "limit must be an integer"),
        ("limit=9223372036854775808", "limit is out of range"),
        ("limit=99999999999999999999", "limit must be an integer"),
        ("limit=1&limit=2", "limit is given more than once"),
        ("limit=", "limit is given without a value"),
        ("limit", "limit is given without a value"),
    ],
)
async def test_bad_query_values_name_their_field(client: ClientSession, query: str, detail: str) -> None:
    async with client.get(f"/api/urls?{query}") as answer:
        problem = await answer.json(content_type=None)
        assert (answer.status, problem["detail"], problem["field"]) == (400, detail, "limit")


@pytest.mark.parametrize(
    ("method", "path", "status", "type_", "allow"),
    [
        ("GET", "/nothing", 404, "/problems/not_found", None),
        ("GET", "/api/urls/", 404, "/problems/not_found", None),
        ("PUT", "/api/urls", 405, "/problems/method_not_allowed", "GET,HEAD,POST"),
        ("POST", "/api/urls/abc", 405, "/problems/method_not_allowed", "DELETE,GET,HEAD"),
        ("POST", "/healthz", 405, "/problems/method_not_allowed", "GET,HEAD"),
        ("OPTIONS", "/api/urls", 405, "/problems/method_not_allowed", "GET,HEAD,POST"),
    ],
)
async def test_unknown_routes_and_methods_are_problems(
    client: ClientSession, method: str, path: str, status: int, type_: str, allow: str | None
) -> None:
    async with client.request(method, path) as answer:
        problem = await answer.json(content_type=None)
        assert (answer.status, problem["type"], problem["status"]) == (status, type_, status)
        assert answer.headers.get("Allow") == allow
        check_common(answer.headers)


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Content-Type": "application/json"}, 201),
        ({"Content-Type": "application/json; charset=UTF-8"}, 201),
        ({"Content-Type": "application/json; charset=latin-1"}, 415),
        ({"Content-Type": "application/json; charset=nonsense"}, 415),
        ({"Content-Type": "text/plain"}, 415),
        ({"Content-Type": "application/x-www-form-urlencoded"}, 415),
        ({"Content-Type": "application/json", "Content-Encoding": "gzip"}, 415),
        ({"Content-Type": "application/json", "Content-Encoding": "nonsense"}, 415),
    ],
)
async def test_only_plain_json_is_read(client: ClientSession, headers: dict[str, str], status: int) -> None:
    async with client.post("/api/urls", data=b'{"long_url": "x"}', headers=headers) as answer:
        assert answer.status == status
        if status == 415:
            assert (await answer.json(content_type=None))["type"] == "/problems/unsupported_media_type"
            check_common(answer.headers)


@pytest.mark.parametrize("chunked", [False, True])
async def test_a_body_over_the_limit_is_413(client: ClientSession, chunked: bool) -> None:
    body = b'{"long_url": "' + b"x" * 5000 + b'"}'

    async def pieces() -> AsyncIterator[bytes]:
        yield body[:3000]
        yield body[3000:]

    data = pieces() if chunked else body
    async with client.post("/api/urls", data=data, headers={"Content-Type": "application/json"}) as answer:
        assert answer.status == 413
        assert (await answer.json(content_type=None))["type"] == "/problems/too_large"
        check_common(answer.headers)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{",
        b"null",
        b'{"long_url": 5}',
        b'{"a": 1, "a": 2}',
        b"\xff",
        b"[" * 2000,
        b'{"a": ' + b"9" * 1000 + b"}",
    ],
)
async def test_bad_json_is_400(client: ClientSession, body: bytes) -> None:
    async with client.post("/api/urls", data=body, headers={"Content-Type": "application/json"}) as answer:
        assert answer.status == 400
        assert (await answer.json(content_type=None))["type"] == "/problems/invalid"


async def test_a_handler_that_takes_too_long_is_504() -> None:
    async with running(timeouts=Grpc(timeout_seconds=0.05)) as (_, client), client.get("/api/wait") as answer:
        assert answer.status == 504
        assert await answer.json(content_type=None) == {
            "type": "/problems/deadline",
            "title": "Deadline exceeded",
            "status": 504,
            "detail": "no answer within 0.05 seconds",
        }
        check_common(answer.headers)


async def test_floats_are_as_short_as_32_bits_allow(site: Site, client: ClientSession) -> None:
    site.release.set()
    async with client.get("/api/wait") as answer:
        assert (await answer.json())["countries"][0]["percentage"] == 33.333332


async def test_answers_are_observed_by_route(site: Site, client: ClientSession) -> None:
    for method, path in (("GET", "/api/urls/secret"), ("GET", "/nothing"), ("PUT", "/api/urls")):
        async with client.request(method, path):
            pass
    assert site.seen == [
        ("GET /api/urls/{short_code}", "200", True),
        ("GET unknown", "404", True),
        ("PUT /api/urls", "405", True),
    ]


async def test_health_follows_the_server(site: Site, client: ClientSession) -> None:
    async def ready() -> tuple[int, Any]:
        async with client.get("/readyz") as answer:
            return answer.status, await answer.json(content_type=None)

    assert (await ready())[0] == 503
    site.serving.start()
    assert await ready() == (200, {"status": "ready"})
    site.serving.stop()
    assert (await ready())[1]["detail"] == "stopping"
    async with client.get("/healthz") as answer:
        assert (answer.status, await answer.json()) == (200, {"status": "ok"})


async def test_metrics_are_prometheus_text(client: ClientSession) -> None:
    async with client.get("/metrics") as answer:
        assert answer.headers["Content-Type"].startswith("text/plain; version=")
        assert "calls_total 1.0" in await answer.text()


async def test_the_client_is_the_hop_before_the_trusted_proxies(site: Site, client: ClientSession) -> None:
    forwarded = [("X-Forwarded-For", "203.0.113.9, 198.51.100.7"), ("X-Forwarded-For", "127.0.0.1")]
    async with client.get("/api/urls", headers=forwarded) as answer:
        assert answer.status == 200
    assert [caller.address for _, caller in site.calls] == ["198.51.100.7"]


async def test_a_limited_route_is_admitted_once_it_is_well_formed(site: Site, client: ClientSession) -> None:
    async with client.post("/api/urls", data=b"{", headers={"Content-Type": "application/json"}) as answer:
        assert answer.status == 400
    async with client.post("/api/urls", json={}, headers={"Authorization": "Bearer none"}) as answer:
        assert answer.status == 401
    assert site.admitted == []
    async with client.post("/api/urls", json={}, headers={"X-Forwarded-For": "2001:db8::1"}) as answer:
        assert answer.status == 201
    async with client.get("/api/urls/abc") as answer:
        assert answer.status == 200
    assert site.admitted == [("creates", Caller(Kind.ACCOUNT, account="7", address="2001:db8::1"))]


async def test_over_a_limit_is_429_with_the_seconds_to_wait(site: Site, client: ClientSession) -> None:
    site.over_limit = True
    async with client.post("/api/urls", json={}) as answer:
        assert (answer.status, answer.headers["Retry-After"]) == (429, "42")
        assert answer.headers["Content-Type"] == "application/problem+json"
        assert await answer.json() == {
            "type": "/problems/exhausted",
            "title": "Slow down",
            "status": 429,
            "detail": "too many links",
        }
    assert site.calls == []
