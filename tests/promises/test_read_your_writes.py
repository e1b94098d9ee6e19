"""Whoever hears that a write was done, or of one who heard it, reads what was written: on every path, at once."""

import asyncio
import itertools
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import grpc
import grpc.aio
import pytest

from tests.promises.async_clients import RedirectConnection, aio_stubs_of, redirect_connection_to
from tests.support import process

CYCLERS = 4
READERS = 8
PROMISE = "reads after an acknowledged write see it"
NO_LINK, GONE, DEAD = (404, ""), (410, ""), "NOT_FOUND"


class Alias:
    """One alias through its two lives: how far it certainly is, and how far it may be."""

    def __init__(self, cycle: int) -> None:
        self.code = code = f"cycle-{cycle}"
        self.is_counted = bool(cycle % 2)
        self.method = "GET" if self.is_counted else "HEAD"
        first, second = f"https://example.com/{code}/1", f"https://example.com/{code}/2"
        self.answers = [NO_LINK, (302, first), GONE, (302, second), GONE]
        self.urls = [DEAD, first, DEAD, second, DEAD]
        self.done = self.begun = 0

    async def step(self, call: Callable[..., Any], request: object) -> None:
        """Make the call that leads to the next state."""
        self.begun += 1
        await call(request, timeout=60)
        self.done += 1

    def allowed(self, since: int) -> slice:
        """The states that a read may have seen which began in state `since` and has just ended."""
        return slice(since, self.begun + 1)


class World:
    """A server, and what is known of it."""

    def __init__(self, pb: SimpleNamespace, cycles: int) -> None:
        self.pb = pb
        self.cycles = iter(range(cycles))
        self.current: dict[int, Alias] = {}
        self.reads = 0
        self.over = False

    async def cycler(self, name: int, stubs: Any, connection: RedirectConnection) -> None:
        """Go through whole cycles, and read after each step."""
        pb, user = self.pb, f"cycler{name}"
        request = pb.user_pb2.RegisterRequest(email=f"{user}@example.com", password="secret-of-cyclers", name="Me")
        token = (await stubs.users.Register(request, timeout=60)).token
        for cycle in self.cycles:
            alias = self.current[name] = Alias(cycle)
            code = alias.code
            assert await connection.ask(code) == NO_LINK
            for life in (1, 2):
                create = pb.url_pb2.CreateCustomURLRequest(alias=code, long_url=alias.urls[2 * life - 1], user_id=user)
                await alias.step(stubs.urls.CreateCustomURL, create)
                assert await connection.ask(code, alias.method) == alias.answers[2 * life - 1]
                await self._count(stubs, alias)
                total = await stubs.urls.ListURLs(pb.url_pb2.ListURLsRequest(user_id=user), timeout=60)
                assert [url.short_code for url in total.urls] == [code]
                delete = pb.url_pb2.DeleteURLRequest(short_code=code)
                await alias.step(stubs.urls.DeleteURL, delete)
                assert await connection.ask(code) == GONE
                assert await url_of(pb, stubs, code) == DEAD
            await self._edit(stubs, token, f"Me {cycle}")

    async def _count(self, stubs: Any, alias: Alias) -> None:
        """Two increments and a click, each seen by the very next read; exactly those, where no redirect is counted."""
        pb, code = self.pb, alias.code
        increment = pb.url_pb2.IncrementClicksRequest(short_code=code)
        click = pb.analytics_pb2.TrackClickRequest(short_code=code, ip_address="203.0.113.9")
        calls = (
            (stubs.urls.IncrementClicks, increment),
            (stubs.analytics.TrackClick, click),
            (stubs.urls.IncrementClicks, increment),
        )
        for low, (call, request) in enumerate(calls, 1):
            await call(request, timeout=60)
            found = await stubs.urls.GetURL(pb.url_pb2.GetURLRequest(short_code=code), timeout=60)
            assert found.url.clicks >= low, (code, found.url.clicks, low)
            assert alias.is_counted or found.url.clicks == low, (code, found.url.clicks, low)
        stats = await stubs.analytics.GetStats(pb.analytics_pb2.GetStatsRequest(short_code=code), timeout=60)
        assert stats.total_clicks >= 1
        assert alias.is_counted or (stats.total_clicks, stats.unique_visitors) == (1, 1)

    async def _edit(self, stubs: Any, token: str, name: str) -> None:
        await stubs.users.UpdateProfile(self.pb.user_pb2.UpdateProfileRequest(token=token, name=name), timeout=60)
        found = await stubs.users.GetProfile(self.pb.user_pb2.GetProfileRequest(token=token), timeout=60)
        assert found.user.name == name

    async def reader(self, name: int, stubs: Any, connection: RedirectConnection) -> None:
        """Read what others write, and see that it is never older than what they have been told is done."""
        for turn in itertools.count(name):
            if self.over:
                return
            alias = self.current.get(turn % CYCLERS)
            if alias is None:
                await asyncio.sleep(0.01)
                continue
            since = alias.done
            if turn // CYCLERS % 2:
                found: Any = await connection.ask(alias.code, alias.method)
                allowed: list[Any] = alias.answers[alias.allowed(since)]
            else:
                found = await url_of(self.pb, stubs, alias.code)
                allowed = alias.urls[alias.allowed(since)]
            assert found in allowed, (alias.code, since, found, allowed)
            self.reads += 1

    async def run(self, server: process.Running) -> None:
        async with AsyncExitStack() as stack:

            async def hands() -> tuple[Any, RedirectConnection]:
                stubs = await stack.enter_async_context(aio_stubs_of(self.pb, server))
                return stubs, await stack.enter_async_context(redirect_connection_to(server))

            readers = [asyncio.create_task(self.reader(name, *await hands())) for name in range(READERS)]
            cyclers = [asyncio.create_task(self.cycler(name, *await hands())) for name in range(CYCLERS)]
            every = asyncio.gather(*cyclers)
            await asyncio.wait({every, *readers}, return_when=asyncio.FIRST_COMPLETED)
            self.over = True
            for task in readers:
                if task.done():
                    every.cancel()
            await asyncio.gather(*readers)
            await every


async def url_of(pb: SimpleNamespace, stubs: Any, code: str) -> str:
    """Return where GetURL says that a link leads."""
    try:
        answer = await stubs.urls.GetURL(pb.url_pb2.GetURLRequest(short_code=code), timeout=60)
    except grpc.aio.AioRpcError as error:
        return str(error.code().name)
    return str(answer.url.long_url)


@pytest.mark.timeout(7200)
@pytest.mark.parametrize("cache", [pytest.param("usual", marks=pytest.mark.long), "too small for anything"])
async def test_no_read_is_older_than_an_acknowledged_write(
    tmp_path: Path,
    pb: SimpleNamespace,
    size: Callable[[int, int], int],
    figure: Callable[[str, str], None],
    cache: str,
) -> None:
    sizes = {} if cache == "usual" else {"CACHE_SIZE_MAX": 1, "CACHE_MISSING_SIZE_MAX": 1}
    cycles = size(8, 5_000)
    world = World(pb, cycles)
    with process.running(tmp_path / "data", LIMITS_MISSES_PER_MINUTE=0, **sizes) as server:
        await world.run(server)
    figure(PROMISE, f"cache {cache}: {cycles:,} cycles, {world.reads:,} reads by {READERS} others: none stale")
