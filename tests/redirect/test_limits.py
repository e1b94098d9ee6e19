import asyncio

import pytest

from tests.redirect.fakes import Client, World, a_link, get
from tests.support.waiting import until

HOT = get("/abc1234")


def hot() -> World:
    world = World()
    world.links.keep(a_link(), cached=True)
    world.links.keep(a_link("cold123"))
    return world


async def until_closed(client: Client) -> bytes:
    received = await client.rest()
    await client.close()
    return received


@pytest.mark.parametrize(
    "start",
    [
        b"",
        b"GET /abc12",
        b"GET /abc1234 HTTP/1.1\r\nX: \x80",
        b"POST /abc1234 HTTP/1.1\r\nHost: a\r\n",
        HOT + b"GET /abc1234 HTTP/1.1\r\nHo",
    ],
)
async def test_a_slow_head_is_given_up(start: bytes) -> None:
    async with hot().open(head_timeout_seconds=0.1, keepalive_seconds=0.1) as world:
        client = await world.connect()
        await client.send(start)
        received = await until_closed(client)
        assert received.count(b"HTTP/1.1") == start.count(HOT)
        assert world.server.listener.timed_out == 1


async def test_a_head_that_trickles_in_gains_no_time() -> None:
    async with hot().open(head_timeout_seconds=0.2, keepalive_seconds=60.0) as world:
        client = await world.connect()

        async def trickle() -> None:
            await client.send(b"GET /abc1234 HTTP/1.1\r\nX: ")
            while True:
                await client.send(b"a")
                await asyncio.sleep(0.01)

        task = asyncio.create_task(trickle())
        assert await client.rest() == b""
        task.cancel()
        with pytest.raises((asyncio.CancelledError, ConnectionError)):
            await task
        await client.close()


@pytest.mark.parametrize("first", [HOT, get("/cold123"), get("/abc1234", "Content-Length: 0", method="POST")])
async def test_an_idle_connection_is_closed(first: bytes) -> None:
    async with hot().open(keepalive_seconds=0.1) as world:
        client = await world.connect()
        await client.ask(first)
        assert await until_closed(client) == b""


async def test_a_slow_answer_is_not_an_idle_connection() -> None:
    world = hot()
    world.links.gate = asyncio.Event()
    async with world.open(head_timeout_seconds=0.05, keepalive_seconds=0.05):
        client = await world.connect()
        await client.send(get("/cold123"))
        other = await world.connect()
        assert await until_closed(other) == b""  # has idled for too long, while the first is being worked on
        world.links.gate.set()
        assert (await client.answer()).status == 302
        await client.close()


async def test_connections_are_bounded() -> None:
    async with hot().open(connections_max=2) as world:
        kept = [await world.connect() for _ in range(2)]
        for client in kept:
            await client.ask(HOT)
        refused = await world.connect()
        assert (await refused.answer()).status == 503
        await refused.close()
        await kept.pop().close()
        await until(lambda: len(world.server.listener.connections) < 2)
        again = await world.connect()
        assert (await again.ask(HOT)).status == 302
        assert world.server.listener.refused == 1
        for client in (again, *kept):
            await client.close()


@pytest.mark.parametrize("path", ["/abc1234", "/nothing"])
async def test_a_client_that_does_not_read_is_held_back_and_then_closed(path: str) -> None:
    async with hot().open(head_timeout_seconds=0.5, write_timeout_seconds=0.5) as world:
        reader, writer = await asyncio.open_connection("127.0.0.1", world.server.listener.port, limit=1024)
        sent = 0

        async def flood() -> None:
            nonlocal sent
            while True:
                writer.write(get(path) * 100)
                await writer.drain()
                sent += 100

        task = asyncio.create_task(flood())
        await until(lambda: bool(world.server.listener.connections))
        (lane,) = world.server.listener.connections
        while world.server.listener.connections:
            assert lane._transport.get_write_buffer_size() < 1_000_000
            await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises((asyncio.CancelledError, ConnectionError)):
            await task
        assert world.server.listener.timed_out == 1
        writer.close()
        assert reader is not None


@pytest.mark.parametrize("fields", [["X: " + "a" * 1010], [f"X{i}: a" for i in range(120)]])
async def test_heads_over_the_limit_are_refused(fields: list[str]) -> None:
    async with hot().open(head_size_max=1000) as world:
        client = await world.connect()
        await client.send(get("/abc1234", *fields))
        assert b" 400 Bad Request" in await until_closed(client)


async def test_drain_answers_with_close_and_loses_no_request() -> None:
    world = hot()
    async with world.open():
        idle, busy, slow = [await world.connect() for _ in range(3)]
        for client in (idle, busy, slow):
            await client.ask(HOT)
        world.links.gate = asyncio.Event()
        await slow.send(get("/cold123"))
        await until(lambda: bool(world.links.found))
        port = world.server.listener.port
        drained = asyncio.create_task(world.server.drain(10.0, idle_seconds=5.0))
        await asyncio.sleep(0)
        for client in (busy, idle):  # both ask again, having been told nothing
            answer = await client.ask(HOT)
            assert (answer.status, answer.headers["Connection"]) == (302, "close")
            assert await until_closed(client) == b""
        with pytest.raises(ConnectionError):
            await asyncio.open_connection("127.0.0.1", port)
        assert not drained.done()
        world.links.gate.set()
        answer = await slow.answer()
        assert (answer.status, answer.headers["Connection"]) == (302, "close")
        assert await until_closed(slow) == b""
        await drained
    assert len(world.clicks.recorded) == 6


async def test_drain_closes_idle_connections() -> None:
    async with hot().open() as world:
        clients = [await world.connect() for _ in range(3)]
        await clients[0].ask(HOT)
        await clients[1].ask(get("/cold123"))
        async with asyncio.timeout(2):
            await world.server.drain(60.0, idle_seconds=0.01)
        for client in clients:
            assert await until_closed(client) == b""


async def test_drain_ends_after_its_grace_and_close_cancels_the_rest() -> None:
    world = hot()
    world.links.gate = asyncio.Event()
    async with world.open():
        client = await world.connect()
        await client.send(get("/cold123"))
        await until(lambda: bool(world.links.found))
        async with asyncio.timeout(2):
            await world.server.drain(0.05, idle_seconds=0.0)
        assert len(world.server.listener.connections) == 1
    assert await until_closed(client) == b""
    assert [task for task in asyncio.all_tasks() if task is not asyncio.current_task()] == []


async def test_close_can_be_called_again() -> None:
    async with hot().open() as world:
        await world.ask(HOT)
        await world.server.close()
