"""Unknown codes are limited by address: what is in memory redirects all the same, nothing else is looked up."""

import asyncio
import json

import pytest

from shortener.config import sections
from shortener.limits import RateLimits
from shortener.links.model import Link
from tests.redirect.fakes import NOW, World, a_link, get
from tests.support.fakes import FakeTimer


@pytest.fixture
def timer() -> FakeTimer:
    return FakeTimer()


@pytest.fixture
def misses(timer: FakeTimer) -> RateLimits:
    """Three misses, and one more every two seconds."""
    return RateLimits(sections.Limits(misses_per_minute=30, misses_burst=3), timer)


async def test_over_the_limit_nothing_is_looked_up(misses: RateLimits, timer: FakeTimer) -> None:
    world = World()
    world.links.keep(a_link("stored1"))
    async with world.open(misses=misses):
        answers = await world.ask(*(get(f"/unknown{number}") for number in range(5)), get("/stored1"))
        assert [answer.status for answer in answers] == [404, 404, 404, 429, 429, 429]
        assert [answer.headers.get("Retry-After") for answer in answers] == [None] * 3 + ["2"] * 3
        assert world.links.found == ["unknown0", "unknown1", "unknown2"]
        timer.tick(1.9)
        [early] = await world.ask(get("/stored1"))
        assert (early.status, early.headers["Retry-After"]) == (429, "1")
        timer.tick(0.1)
        answers = await world.ask(get("/stored1"), get("/unknown9"), get("/stored1"))
        assert [answer.status for answer in answers] == [302, 404, 429]
        assert (world.server.traffic.not_found, world.server.traffic.limited) == (4, 5)
    assert len(world.clicks.recorded) == 1


async def test_hits_and_gone_links_cost_nothing(misses: RateLimits) -> None:
    world = World()
    world.links.keep(a_link("stored1"), a_link("deleted", deleted_at=NOW - 1), a_link("expired", expires_at=NOW - 1))
    paths = ["/stored1", "/deleted", "/expired", "/", "/robots.txt", "/no", "/not.a.code"] * 5
    async with world.open(misses=misses):
        answers = await world.ask(*map(get, paths))
        assert [answer.status for answer in answers] == [302, 410, 410, 200, 200, 404, 404] * 5
        answers = await world.ask(*(get("/unknown") for _ in range(4)))
    assert [answer.status for answer in answers] == [404, 404, 404, 429]


async def test_what_is_in_memory_is_answered_over_the_limit_too(misses: RateLimits) -> None:
    world = World()
    world.links.keep(a_link("hot1234"), a_link("dead123", deleted_at=NOW - 1), cached=True)
    chunked = get("/hot1234", "Transfer-Encoding: chunked") + b"0\r\n\r\n"  # not the lane's
    async with world.open(misses=misses):
        await world.ask(*(get("/unknown") for _ in range(3)))
        answers = await world.ask(get("/hot1234"), get("/hot1234", method="HEAD"), get("/dead123"), get("/unknown"))
        assert [answer.status for answer in answers] == [302, 302, 410, 429]
        [answer] = await world.ask(chunked)
        assert answer.status == 302
        assert (world.server.traffic.fast, world.server.traffic.slow) == (1, 2)


async def test_the_lane_looks_nothing_up_over_the_limit(misses: RateLimits) -> None:
    world = World()
    world.links.keep(a_link("stored1"))
    looked_up: list[str] = []

    def look_up(short_code: str) -> "asyncio.Future[Link | None]":
        looked_up.append(short_code)
        found: asyncio.Future[Link | None] = asyncio.get_running_loop().create_future()
        found.set_result(world.links.stored.get(short_code))
        return found

    async with world.open(misses=misses, look_up=look_up):
        answers = await world.ask(get("/stored1"), *(get("/unknown") for _ in range(4)), get("/stored1"))
        assert [answer.status for answer in answers] == [302, 404, 404, 404, 429, 429]
        assert looked_up == ["stored1", "unknown", "unknown", "unknown"]
        assert world.server.traffic.fast == 1


async def test_heads_are_misses_too(misses: RateLimits) -> None:
    async with World().open(misses=misses) as world:
        answers = await world.ask(*(get("/unknown", method="HEAD") for _ in range(4)))
    assert [answer.status for answer in answers] == [404, 404, 404, 429]


async def test_each_address_has_its_own_limit_behind_a_trusted_proxy(misses: RateLimits) -> None:
    def asked_by(*forwarded: str) -> bytes:
        return get("/unknown", *(f"X-Forwarded-For: {each}" for each in forwarded))

    async with World().open(misses=misses, trusted_proxies=("127.0.0.1",)) as world:
        for address in ("203.0.113.9", "2001:db8::1"):
            answers = await world.ask(*(asked_by(address) for _ in range(4)))
            assert [answer.status for answer in answers] == [404, 404, 404, 429]
        again = [
            asked_by("198.51.100.1, 203.0.113.9"),
            asked_by("2001:db8::2"),
            asked_by("2001:db8:0:1::1"),
            asked_by("203.0.113.9", "198.51.100.1"),
        ]
        answers = await world.ask(*again)
        assert [answer.status for answer in answers] == [429, 429, 404, 404]
    async with World().open(misses=misses) as world:  # the same header from anyone else is a claim
        answers = await world.ask(*(asked_by(f"192.0.2.{number}") for number in range(4)))
    assert [answer.status for answer in answers] == [404, 404, 404, 429]


async def test_the_refusal_is_a_page_or_problem_details(misses: RateLimits) -> None:
    async with World().open(misses=misses) as world:
        await world.ask(*(get("/unknown") for _ in range(3)))
        page, problem = await world.ask(get("/unknown"), get("/unknown", "Accept: application/problem+json"))
    assert page.headers["Content-Type"] == "text/html; charset=utf-8"
    assert b"<h1>Slow down</h1>" in page.body
    assert problem.headers["Content-Type"] == "application/problem+json"
    assert json.loads(problem.body) == {
        "type": "/problems/exhausted",
        "title": "Slow down",
        "status": 429,
        "detail": "too many requests",
    }


async def test_a_store_that_fails_is_no_miss(misses: RateLimits) -> None:
    world = World()
    world.links.failure = RuntimeError("broken")
    async with world.open(misses=misses):
        answers = await world.ask(*(get("/unknown") for _ in range(4)))
        assert [answer.status for answer in answers] == [500] * 4
        world.links.failure = None
        answers = await world.ask(*(get("/unknown") for _ in range(4)))
    assert [answer.status for answer in answers] == [404, 404, 404, 429]
