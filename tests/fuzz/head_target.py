"""The redirect's lane: what it answers, aiohttp's parser reads as the same requests; all else is handed on untouched.

Input: a byte that says how bytes are cut, then what a client sends.
"""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from shortener.redirect import head
from tests.fuzz.targets import Check
from tests.redirect.fakes import World
from tests.redirect.test_differential import WatchedLane, Wire, as_aiohttp_reads, stock


@contextmanager
def target() -> Iterator[Check]:
    with asyncio.Runner() as runner:
        world = stock(World())
        server = world.open()
        runner.run(server.__aenter__())
        state = world.server._state

        async def converse(data: bytes, size: int) -> None:
            wire = Wire()
            lane = WatchedLane(state)
            lane.connection_made(wire)  # type: ignore[arg-type] # all the lane needs of a transport
            world.server.listener.lost(lane)
            for start in range(0, len(data), size):
                lane.data_received(data[start : start + size])
            state.batch.flush()
            assert len(lane._partial) <= state.limits.head_size_max
            answers = wire.sent.count(b"HTTP/1.1 302 Found\r\n")
            left = len(lane.handed) + len(lane._partial)
            assert data.endswith(lane.handed + lane._partial)
            if answers == 0:
                assert left == len(data)
                return
            read = as_aiohttp_reads(data[: len(data) - left], asyncio.get_running_loop())
            clicks = [("GET", f"/{code}", agent, referrer) for code, _, agent, referrer in world.clicks.recorded]
            assert read is not None
            assert len(read) == answers
            assert [request[:4] for request in read] == clicks

        def check(data: bytes) -> None:
            world.clicks.offered.clear()
            world.clicks.recorded.clear()
            size, data = 1 + (data[0] if data else 0), data[1:]
            runner.run(converse(data, max(1, len(data)) if size == 1 else size))
            head.is_plain_line(data)
            head.short_code_in(data)

        try:
            yield check
        finally:
            runner.run(server.__aexit__(None, None, None))
