"""A link that is withheld answers with a warning instead of the redirect, whoever asks and however."""

import html
import json
import re

import pytest

from tests.redirect.fakes import NOW, World, a_link, get
from tests.support.waiting import until

HOSTILE = "https://bad.example/?q=<script>alert('1')</script>&amp;\"onload=x"


def stocked(destination: str = HOSTILE) -> World:
    world = World()
    world.links.keep(a_link("hot1234", destination=destination), cached=True)
    world.links.keep(a_link("cold123", destination=destination), a_link("gone123", expires_at=NOW), a_link("good123"))
    return world


def is_bad(link: object) -> bool:
    return "bad.example" in getattr(link, "destination", "")


@pytest.mark.parametrize("code", ["hot1234", "cold123"])
async def test_the_page_shows_where_the_link_leads_and_leads_nowhere(code: str) -> None:
    async with stocked().open(withheld=is_bad) as world:
        got, head = await world.ask(get(f"/{code}"), get(f"/{code}", method="HEAD"))
        traffic = world.server.traffic
        assert (traffic.withheld, traffic.fast, traffic.slow) == (2, 0, 0)
    assert (got.status, head.status) == (403, 403)
    assert {name: value for name, value in got.fields if name not in ("Date", "Content-Length")} == {
        "Cache-Control": "private, max-age=0",
        "Vary": "Accept",
        "Server": "shortener",
        "Content-Type": "text/html; charset=utf-8",
        "Content-Security-Policy": got.headers["Content-Security-Policy"],
        "Referrer-Policy": "no-referrer",
        "X-Content-Type-Options": "nosniff",
        "X-Frame-Options": "DENY",
        "X-Robots-Tag": "noindex",
    }
    policy = got.headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; style-src 'sha256-")
    assert policy.endswith("; base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
    assert "script" not in policy
    text = got.body.decode()
    assert html.unescape(text).count(HOSTILE) == 1
    assert "bad.example" in text
    assert re.findall(r"<(a|form|script|meta http-equiv|iframe|img)\b", text) == []
    assert re.findall(r'(?:href|src|action)="(.*?)"', text) == ["/favicon.ico"]
    assert head.body == b""
    assert [pair for pair in head.fields if pair[0] != "Date"] == [pair for pair in got.fields if pair[0] != "Date"]
    assert world.clicks.recorded == world.clicks.offered == []


async def test_programs_get_a_problem_document() -> None:
    async with stocked().open(withheld=is_bad) as world:
        (answer,) = await world.ask(get("/hot1234", "Accept: application/problem+json"))
    assert (answer.status, answer.headers["Content-Type"]) == (403, "application/problem+json")
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert json.loads(answer.body) == {
        "type": "/problems/withheld",
        "title": "Link held back",
        "status": 403,
        "detail": "the link is withheld because its destination may be harmful",
    }


async def test_what_is_gone_or_unknown_or_good_stays_so() -> None:
    async with stocked().open(withheld=is_bad) as world:
        answers = await world.ask(get("/gone123"), get("/nothing"), get("/good123"), get("/"))
    assert [answer.status for answer in answers] == [410, 404, 302, 200]


async def test_a_link_is_free_again_as_soon_as_it_is_not_withheld() -> None:
    held = {"hot1234"}
    async with stocked().open(withheld=lambda link: link.short_code in held) as world:
        client = await world.connect()
        statuses = [(await client.ask(get("/hot1234"))).status]
        held.clear()
        statuses.append((await client.ask(get("/hot1234"))).status)
        held.add("hot1234")
        statuses.append((await client.ask(get("/hot1234"))).status)
        await client.close()
    assert statuses == [403, 302, 403]
    assert len(world.clicks.recorded) == 1


async def test_a_link_that_the_lane_has_waited_for_is_withheld_too() -> None:
    world = stocked()
    async with world.open(look_up=world.links.look_up, withheld=is_bad):
        client = await world.connect()
        await client.send(get("/cold123"))
        await until(lambda: bool(world.links.looked_up))
        world.links.looked_up[0][1].set_result(world.links.stored["cold123"])
        answer = await client.answer()
        await client.close()
        assert (answer.status, world.server.traffic.withheld, world.server.traffic.fast) == (403, 1, 0)
    assert world.clicks.recorded == []
