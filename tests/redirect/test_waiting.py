"""Requests that wait in the lane for a link which is being read."""

import asyncio
import socket
from time import perf_counter

import pytest

from shortener import errors
from tests.redirect.fakes import NOW, Client, World, a_link, get
from tests.support.waiting import until

CLICK = ("cold123", "127.0.0.1", "", "")


async def waiting(world: World, *, requests: bytes = get("/cold123")) -> Client:
    """A client whose request has just begun to wait for its link."""
    before = len(world.links.looked_up)
    client = await world.connect()
    await client.send(requests)
    await until(lambda: len(world.links.looked_up) > before)
    return client


def traffic(world: World) -> tuple[int, int, int]:
    done = world.server.traffic
    return done.fast, done.slow, done.handed_over


async def test_a_link_that_was_read_is_answered_as_one_in_memory_and_the_lane_goes_on() -> None:
    world = World()
    world.links.keep(a_link("hot1234"), cached=True)
    async with world.open(look_up=world.links.look_up):
        client = await waiting(world)
        assert world.clicks.recorded == []
        world.links.looked_up[0][1].set_result(a_link("cold123"))
        cold = await client.answer()
        hot = await client.ask(get("/hot1234"))
        await client.close()
        assert cold.raw == hot.raw
        assert traffic(world) == (2, 0, 0)
    assert [code for code, _ in world.links.looked_up] == ["cold123"]
    assert world.clicks.recorded == [CLICK, ("hot1234", "127.0.0.1", "", "")]


@pytest.mark.parametrize(
    ("stored", "status"),
    [
        ({}, 302),
        ({"deleted_at": NOW}, 410),
        ({"expires_at": NOW}, 410),
        ({"destination": "https://example.com/é"}, 500),
        (None, 404),
    ],
)
@pytest.mark.parametrize("outcome", ["found", "failed", "cancelled"])
async def test_what_is_no_live_link_is_left_to_aiohttp(
    stored: dict[str, object] | None, status: int, outcome: str
) -> None:
    world = World()
    link = None if stored is None else a_link("cold123", **stored)
    if link is not None:
        world.links.keep(link)
    async with world.open(look_up=world.links.look_up):
        client = await waiting(world)
        found = world.links.looked_up[0][1]
        if outcome == "failed":
            found.set_exception(errors.Unavailable("busy"))
        elif outcome == "cancelled":
            found.cancel()
        else:
            found.set_result(link)
        assert (await client.answer()).status == status
        world.links.keep(a_link("hot1234"), cached=True)
        assert (await client.ask(get("/hot1234"))).status == 302
        await client.close()
        is_fast = status == 302 and outcome == "found"
        assert traffic(world) == (2, 0, 0) if is_fast else (1, int(status == 302), 1)
    assert world.clicks.recorded.count(CLICK) == (1 if status == 302 else 0)


async def test_the_time_of_waiting_is_measured_for_each_request() -> None:
    world = World()
    world.links.keep(a_link("hot1234"), cached=True)
    async with world.open(look_up=world.links.look_up):
        sent_at = perf_counter()
        client = await waiting(world)
        waits_at = perf_counter()
        await world.ask(get("/hot1234"))
        done_at = perf_counter()
        world.links.looked_up[0][1].set_result(a_link("cold123"))
        await client.answer()
        answered_at = perf_counter()
        await client.close()
    (hot_lane, hot_status, hot_seconds, _), (lane, status, seconds, times) = world.observed
    assert [(hot_lane, hot_status), (lane, status, times)] == [("fast", "302"), ("fast", "302", 1)]
    assert hot_seconds <= done_at - waits_at <= seconds <= answered_at - sent_at


@pytest.mark.parametrize("path", ["/", "/ab", "/" + "a" * 51, "/a.b.c", "/favicon.ico"])
async def test_only_what_can_be_a_short_code_is_looked_up(path: str) -> None:
    world = World()
    async with world.open(look_up=world.links.look_up):
        await world.ask(get(path), get("/cold123", method="HEAD"))
    assert world.links.looked_up == []


async def test_a_look_up_that_takes_too_long_is_aiohttps_with_its_limit() -> None:
    world = World()
    world.links.gate = asyncio.Event()
    async with world.open(look_up=world.links.look_up, head_timeout_seconds=0.4, answer_timeout_seconds=0.3):
        client = await waiting(world)
        assert (await client.answer()).status == 504
        assert traffic(world) == (0, 0, 1)
        world.links.looked_up[0][1].set_result(a_link("cold123"))  # Late, and nobody's any more.
        world.links.keep(a_link("hot1234"), cached=True)
        assert (await client.ask(get("/hot1234"))).status == 302
        await client.close()
    assert world.clicks.recorded == [("hot1234", "127.0.0.1", "", "")]


async def test_a_late_answer_does_not_pass_for_that_of_the_next_request() -> None:
    world = World()
    async with world.open(look_up=world.links.look_up, head_timeout_seconds=0.4):
        client = await waiting(world)
        assert (await client.answer()).status == 404  # by aiohttp, when patience ended
        await client.send(get("/other12"))
        await until(lambda: len(world.links.looked_up) == 2)
        world.links.looked_up[0][1].set_result(a_link("cold123"))
        await asyncio.sleep(0)
        world.links.looked_up[1][1].set_result(a_link("other12", destination="https://example.org/other"))
        assert (await client.answer()).headers["Location"] == "https://example.org/other"
        await client.close()
    assert world.clicks.recorded == [("other12", "127.0.0.1", "", "")]


@pytest.mark.parametrize("cut", [0, 10])
async def test_requests_behind_a_waiting_one_are_answered_after_it(cut: int) -> None:
    world = World()
    world.links.keep(a_link("cold123"))
    world.links.keep(a_link("hot1234", destination="https://example.org/hot"), cached=True)
    async with world.open(look_up=world.links.look_up):
        client = await waiting(world)
        following = get("/hot1234")
        await client.send(following[: cut or None])
        await until(lambda: world.server.traffic.handed_over == 1)
        if cut:
            await client.send(following[cut:])
        world.links.looked_up[0][1].set_result(a_link("cold123"))
        answers = [(await client.answer()).headers["Location"] for _ in range(2)]
        await client.close()
    assert answers == ["https://example.com/a%2fb?c=%7e#d", "https://example.org/hot"]
    assert [click[0] for click in world.clicks.recorded] == ["cold123", "hot1234"]


async def test_a_client_that_leaves_while_waiting_is_not_counted() -> None:
    world = World()
    async with world.open(look_up=world.links.look_up):
        client = await waiting(world)
        client.writer.transport.abort()
        await until(lambda: not world.server.listener.connections)
        world.links.looked_up[0][1].set_result(a_link("cold123"))
        await asyncio.sleep(0)
        assert traffic(world)[:2] == (0, 0)
    assert world.clicks.offered == world.clicks.recorded == []


@pytest.mark.parametrize(
    ("stored", "status"), [({}, b"302"), ({"deleted_at": NOW}, b"410"), (None, b"404")], ids=["live", "deleted", "none"]
)
@pytest.mark.parametrize("outcome", ["found", "failed", "never"])
async def test_a_client_that_says_no_more_while_waiting_has_its_answer(
    stored: dict[str, object] | None, status: bytes, outcome: str
) -> None:
    world = World()
    link = None if stored is None else a_link("cold123", **stored)
    if link is not None:
        world.links.keep(link)
    async with world.open(look_up=world.links.look_up, head_timeout_seconds=0.4):
        client = await waiting(world)
        client.writer.get_extra_info("socket").shutdown(socket.SHUT_WR)
        await asyncio.sleep(0.01)
        found = world.links.looked_up[0][1]
        if outcome == "found":
            found.set_result(link)
        elif outcome == "failed":
            found.set_exception(errors.Unavailable("busy"))
        answer = await client.rest()
        await client.close()
        await until(lambda: not world.server.listener.connections)
    assert answer.split(b" ")[:2] == [b"HTTP/1.1", status]
    assert answer.count(b"HTTP/1.1 ") == 1
    assert world.clicks.recorded == ([CLICK] if status == b"302" else [])


async def test_draining_lets_a_waiting_request_have_its_answer() -> None:
    world = World()
    async with world.open(look_up=world.links.look_up):
        client = await waiting(world)
        drain = asyncio.create_task(world.server.drain(5, idle_seconds=0.05))
        await asyncio.sleep(0.1)  # past `idle_seconds`, when idle connections are closed
        world.links.looked_up[0][1].set_result(a_link("cold123"))
        answer = await client.answer()
        await drain
        await client.close()
    assert (answer.status, answer.headers["Connection"]) == (302, "close")
    assert world.clicks.recorded == [CLICK]


async def test_closing_does_not_wait_for_a_read() -> None:
    world = World()
    async with world.open(look_up=world.links.look_up):
        client = await waiting(world)
    assert await client.rest() == b""
    world.links.looked_up[0][1].set_result(a_link("cold123"))
    await asyncio.sleep(0)
    await client.close()
    assert world.clicks.recorded == []
