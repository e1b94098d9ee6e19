import asyncio
import json
import logging

import pytest

from shortener import errors
from tests.redirect.fakes import NOW, Answer, World, a_link, get

HTML = "text/html; charset=utf-8"
PROBLEM = "application/problem+json"
ASK_PROBLEM = "Accept: application/problem+json"


async def one(world: World, request: bytes, **changes: object) -> Answer:
    async with world.open(**changes):
        (answer,) = await world.ask(request)
    return answer


def cold() -> World:
    world = World()
    world.links.keep(a_link())
    return world


async def test_a_stored_link_redirects_byte_for_byte_and_is_counted() -> None:
    world = cold()
    answer = await one(world, get("/abc1234", "User-Agent: \xe4", "Referer: https://a.example/"))
    assert (answer.status, answer.headers["Location"]) == (302, "https://example.com/a%2fb?c=%7e#d")
    assert world.clicks.recorded == [("abc1234", "127.0.0.1", "\udce4", "https://a.example/")]


@pytest.mark.parametrize(
    "destination",
    [
        "http://example.com:80/../%7e/%2F?a=b&&c=%zz",
        "https://xn--bcher-kva.example/%C3%BC?q=%20",
        "HTTP://EXAMPLE.com",
        "https://example.com/" + "a" * 7000,
        "https://example.com/?a='\"<>`{}|^",
    ],
)
async def test_location_is_what_is_stored(destination: str) -> None:
    world = World()
    world.links.keep(a_link("cold123", destination=destination))
    world.links.keep(a_link("hot1234", destination=destination), cached=True)
    async with world.open():
        answers = await world.ask(get("/cold123"), get("/hot1234"))
    assert [answer.headers["Location"] for answer in answers] == [destination] * 2


async def test_head_is_answered_alike_and_not_counted() -> None:
    async with cold().open() as world:
        head, got = await world.ask(get("/abc1234", method="HEAD"), get("/abc1234"))
        missing, page = await world.ask(get("/nothing", method="HEAD"), get("/nothing"))
    assert head.raw == got.raw
    assert len(world.clicks.recorded) == 1
    assert [pair for pair in missing.fields if pair[0] != "Date"] == [pair for pair in page.fields if pair[0] != "Date"]
    assert (missing.body, len(page.body)) == (b"", int(page.headers["Content-Length"]))


async def test_a_query_is_ignored() -> None:
    answer = await one(cold(), get("/abc1234?x=/../%00&y#z"))
    assert answer.status == 302


async def test_http_1_0_is_answered() -> None:
    async with cold().open() as world:
        client = await world.connect()
        await client.send(b"GET /abc1234 HTTP/1.0\r\n\r\n")
        assert (await client.rest()).startswith(b"HTTP/1.0 302 Found\r\n")
        await client.close()
    assert len(world.clicks.recorded) == 1


@pytest.mark.parametrize(
    ("link", "status"),
    [(None, 404), (a_link(expires_at=NOW), 410), (a_link(deleted_at=NOW - 1), 410), (a_link(expires_at=NOW + 1), 302)],
)
async def test_status_of_a_link(link: object, status: int) -> None:
    world = World()
    if link is not None:
        world.links.keep(link)  # type: ignore[arg-type] # a Link, by the table above
    answer = await one(world, get("/abc1234"))
    assert (answer.status, len(world.clicks.recorded)) == (status, 1 if status == 302 else 0)


@pytest.mark.parametrize(("status", "kind"), [(404, "not_found"), (410, "gone")])
async def test_missing_and_gone_are_pages_or_problem_details(status: int, kind: str) -> None:
    world = World()
    if status == 410:
        world.links.keep(a_link(deleted_at=NOW))
    async with world.open():
        page, problem = await world.ask(get("/abc1234"), get("/abc1234", ASK_PROBLEM))
    assert (page.status, page.headers["Content-Type"]) == (status, HTML)
    assert b"<h1>" in page.body
    assert b"abc1234" not in page.body
    assert (problem.status, problem.headers["Content-Type"]) == (status, PROBLEM)
    body = json.loads(problem.body)
    assert (body["type"], body["status"]) == (f"/problems/{kind}", status)
    for answer in (page, problem):
        assert answer.headers["Cache-Control"] == "private, max-age=0"
        assert answer.headers["Vary"] == "Accept"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"


async def test_pages_carry_security_headers() -> None:
    async with World().open() as world:
        for answer in await world.ask(get("/"), get("/nothing"), get("/nothing", method="POST")):
            policy = answer.headers["Content-Security-Policy"]
            assert policy.startswith("default-src 'none'; style-src 'sha256-")
            assert "frame-ancestors 'none'" in policy
            assert answer.headers["X-Frame-Options"] == "DENY"
            assert answer.headers["Referrer-Policy"] == "no-referrer"
            assert answer.headers["X-Content-Type-Options"] == "nosniff"
            assert answer.headers["Server"] == "shortener"


@pytest.mark.parametrize(
    ("path", "media_type", "start"),
    [
        ("/", HTML, b"<!doctype html>"),
        ("/robots.txt", "text/plain; charset=utf-8", b"#"),
        ("/favicon.ico", "image/x-icon", b"\0\0\1\0"),
    ],
)
async def test_fixed_paths(path: str, media_type: str, start: bytes) -> None:
    async with World().open() as world:
        whole, head = await world.ask(get(path), get(path, method="HEAD"))
    assert (whole.status, whole.headers["Content-Type"]) == (200, media_type)
    assert whole.body.startswith(start)
    assert head.headers["Content-Length"] == whole.headers["Content-Length"]
    assert (world.links.found, world.clicks.recorded) == ([], [])


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND"])
async def test_other_methods_are_not_allowed(method: str) -> None:
    world = cold()
    answer = await one(world, get("/abc1234", ASK_PROBLEM, method=method))
    assert (answer.status, answer.headers["Allow"]) == (405, "GET, HEAD")
    assert (world.links.found, world.clicks.recorded) == ([], [])


@pytest.mark.parametrize(
    "path",
    [
        *("/a", "/ab", "/" + "a" * 51, "/" + "a" * 7000, "/abc1234/x", "//abc1234", "/ab%2F"),
        *("/abc.1234", "/abc1234%0d%0aX:y", "/..", "/../abc1234", "/%2e%2e/abc1234", "/abc~123", "/<script>"),
        "/.well-known/security.txt",
    ],
)
async def test_odd_paths_are_not_found_without_asking_the_store(path: str) -> None:
    world = cold()
    answer = await one(world, get(path))
    assert (answer.status, world.links.found) == (404, [])


@pytest.mark.parametrize(
    ("failure", "status", "retry_after"),
    [
        (errors.Unavailable("database is locked"), 503, "1"),
        (errors.Exhausted("too many", retry_after_seconds=7, overload=True), 503, "7"),
        (errors.Exhausted("too many", retry_after_seconds=9), 429, "9"),
        (RuntimeError("secret text"), 500, None),
        (TimeoutError(), 504, None),
    ],
)
async def test_failures(
    failure: Exception, status: int, retry_after: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    world = World()
    world.links.failure = failure
    with caplog.at_level(logging.CRITICAL):
        async with world.open():
            page, problem = await world.ask(get("/abc1234"), get("/abc1234", ASK_PROBLEM))
    for answer in (page, problem):
        assert (answer.status, answer.headers.get("Retry-After")) == (status, retry_after)
        assert b"secret" not in answer.raw
        assert (b"request-1" in answer.body) == (status == 500)


async def test_an_unexpected_exception_is_logged_with_its_request_id(caplog: pytest.LogCaptureFixture) -> None:
    world = World()
    world.links.failure = RuntimeError("secret text")
    await one(world, get("/abc1234"))
    (record,) = caplog.records
    assert (record.message, record.__dict__["request_id"]) == ("redirect failed", "request-1")
    assert record.exc_info is not None


async def test_an_answer_that_takes_too_long_is_given_up() -> None:
    world = cold()
    world.links.gate = asyncio.Event()
    answer = await one(world, get("/abc1234", ASK_PROBLEM), answer_timeout_seconds=0.05)
    assert (answer.status, json.loads(answer.body)["type"]) == (504, "/problems/deadline")


async def test_a_click_that_cannot_be_recorded_still_redirects() -> None:
    world = cold()
    world.clicks.offer_failure = ValueError("a bug")
    answer = await one(world, get("/abc1234"))
    assert (answer.status, world.clicks.recorded) == (302, [])


async def test_what_is_not_http_gets_a_page_that_does_not_repeat_it(caplog: pytest.LogCaptureFixture) -> None:
    async with World().open() as world:
        client = await world.connect()
        await client.send(b"GET /<script>alert(1)</script> HTTP/7.7\r\nHost: a\r\n\r\n")
        received = await client.rest()
        await client.close()
        assert world.server.traffic.malformed == 1
    assert received.startswith(b"HTTP/1.0 400 Bad Request\r\n")
    assert b"alert" not in received
    assert b"aiohttp" not in received
    assert caplog.records == []


async def test_a_redirect_waits_for_the_disk_where_it_shall() -> None:
    world = World()
    world.links.keep(a_link(), cached=True)
    reached, synced = asyncio.Event(), asyncio.Event()

    async def settled() -> None:
        assert len(world.clicks.recorded) == 1
        reached.set()
        await synced.wait()

    async with world.open(settled=settled):
        client = await world.connect()
        await client.send(get("/abc1234"))
        answer = asyncio.create_task(client.answer())
        await reached.wait()
        assert not answer.done()
        synced.set()
        assert (await answer).status == 302
        await client.close()
        assert (world.server.traffic.fast, world.server.traffic.slow) == (0, 1)


async def test_a_disk_that_hangs_does_not_cost_the_redirect() -> None:
    world = cold()
    never = asyncio.Event()

    async def settled() -> None:
        await never.wait()

    async with world.open(settled=settled, answer_timeout_seconds=0.05):
        (answer,) = await world.ask(get("/abc1234"))
    assert (answer.status, len(world.clicks.recorded)) == (302, 1)
