"""Every way in which people and programs write a short URL leads to its link, whether the link is in memory or not."""

import asyncio

import pytest

from shortener.config import sections
from shortener.limits import RateLimits
from shortener.links.model import Link
from tests.redirect.fakes import World, a_link, get
from tests.support.fakes import FakeTimer

CODE = "my-link_1"
CLICK = (CODE, "127.0.0.1", "", "")

ENCODED = ["/my%2Dlink%5F1", "/my%2dlink%5f1", "/%6D%79-link_1", "/my-link_%31", "/my%2Dlink%5F1?x=%zz"]
LEFT_BEHIND = [
    *(f"/{CODE}{left}" for left in "/.,;:!)]}>*~'\"|\\^`"),
    *(f"/{CODE}{left}" for left in (").", '".', "...", "/)", "%", "%2E", "%29%2c", "%22", "%3E", "%20", "%0A", "%00")),
    *(f"/{CODE}{left}" for left in ("%E2%80%9D", "%e2%80%99.", "%C2%BB", "%E3%80%82", "%EF%BC%89/")),
    *(f"/{CODE}{left}" for left in ("\xe2\x80\x9d", "\xc2\xbb.", "\xff")),
    "/my%2Dlink%5F1).?utm_source=x",
]
IGNORED = [f"/{CODE}?utm=\xc3\xa9t\xc3\xa9", f"/{CODE}?\xff", f"/{CODE}?a=%C3\xa9&b#\xe9", f"/{CODE}?\xe2\x80\x9d"]
NOT_THIS_LINK = [
    f"/{CODE}/x",
    f"/{CODE}.html",
    f"/x/{CODE}",
    f"//{CODE}",
    f"/{CODE}%252E",
    "/My-link_1.",
    f"/{CODE}\xe9x",
]


def ids(paths: list[str]) -> list[str]:
    return [ascii(path) for path in paths]


def found_by(world: World) -> "asyncio.Future[Link | None]":
    found: asyncio.Future[Link | None] = asyncio.get_running_loop().create_future()
    found.set_result(world.links.stored.get(CODE))
    return found


@pytest.mark.parametrize("path", ENCODED + LEFT_BEHIND + IGNORED, ids=ids(ENCODED + LEFT_BEHIND + IGNORED))
@pytest.mark.parametrize("cached", [True, False], ids=["warm", "cold"])
@pytest.mark.parametrize("field", ["Accept: */*", "Connection: close"], ids=["lane", "aiohttp"])
async def test_every_spelling_of_a_link_redirects_and_is_counted(path: str, cached: bool, field: str) -> None:
    world = World()
    world.links.keep(a_link(CODE), cached=cached)
    async with world.open(look_up=lambda short_code: found_by(world)):
        [answer] = await world.ask(get(path, field))
    assert (answer.status, answer.headers["Location"]) == (302, a_link().destination)
    assert world.clicks.recorded == [CLICK]


@pytest.mark.parametrize("path", NOT_THIS_LINK, ids=ids(NOT_THIS_LINK))
async def test_other_paths_are_not_the_link(path: str) -> None:
    world = World()
    world.links.keep(a_link(CODE), cached=True)
    async with world.open():
        [answer] = await world.ask(get(path))
    assert (answer.status, world.clicks.recorded) == (404, [])


async def test_a_head_is_answered_and_a_deleted_link_is_gone_in_every_spelling() -> None:
    world = World()
    world.links.keep(a_link(CODE), a_link("gone-1", deleted_at=1))
    async with world.open():
        answers = await world.ask(get("/my%2Dlink_1).", method="HEAD"), get("/gone%2D1."))
    assert [answer.status for answer in answers] == [302, 410]
    assert world.clicks.recorded == []


@pytest.mark.parametrize("cut", range(1, 30, 3))
async def test_octets_that_are_not_ascii_may_come_in_two_parts(cut: int) -> None:
    world = World()
    world.links.keep(a_link(CODE), cached=True)
    request = get(f"/{CODE}?\xc3\xa9")
    async with world.open():
        client = await world.connect()
        await client.send(request[:cut])
        await asyncio.sleep(0.01)
        answer = await client.ask(request[cut:])
        await client.close()
    assert (answer.status, world.clicks.recorded) == (302, [CLICK])


@pytest.mark.parametrize(
    ("path", "status", "media_type"),
    [
        ("http://s.example", 200, "text/html; charset=utf-8"),
        ("http://s.example?x=1", 200, "text/html; charset=utf-8"),
        ("http://s.example/", 200, "text/html; charset=utf-8"),
        ("/robots%2Etxt", 200, "text/plain; charset=utf-8"),
        ("http://s.example/robots.tx%74", 200, "text/plain; charset=utf-8"),
        ("/favicon%2eico", 200, "image/x-icon"),
        ("/robots.txt.", 404, "text/html; charset=utf-8"),
    ],
)
async def test_paths_of_our_own_have_one_meaning_in_every_spelling(path: str, status: int, media_type: str) -> None:
    async with World().open() as world:
        [answer] = await world.ask(get(path, host="s.example"))
    assert (answer.status, answer.headers["Content-Type"]) == (status, media_type)


async def test_an_unknown_code_is_one_miss_and_one_look_up_whatever_follows_it() -> None:
    misses = RateLimits(sections.Limits(misses_per_minute=1, misses_burst=3), FakeTimer())
    paths = ["/unknown1.", "/unknown2%29", "/unknown3/", "/unknown4)"]
    async with World().open(misses=misses) as world:
        answers = await world.ask(*map(get, paths))
    assert [answer.status for answer in answers] == [404, 404, 404, 429]
    assert world.links.found == ["unknown1", "unknown2", "unknown3"]
