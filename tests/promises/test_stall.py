"""Thousands of calls at the same time, over connections of many shapes: every one of them is answered.

A call that is forgotten shows as one that is still open when all others have been answered for a while. How long
answers take says more about the machine.
"""

import asyncio
import random
import time
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import grpc
import grpc.aio
import pytest

from tests.promises.async_clients import aio_stubs_of
from tests.support import process

QUIET_SECONDS = 60.0
"""No call is answered for so long although some are open: those are forgotten."""
PROMISE = "no call is forgotten under thousands of concurrent ones"


@dataclass(frozen=True)
class Shape:
    """How many calls at once over how many connections, and how many of them for what is not in memory."""

    name: str
    connections: int
    calls: int
    cold: float
    cancelled: float = 0.0


SHAPES = [
    Shape("one connection, hot", 1, 3_000, 0.0),
    Shape("one connection, cold", 1, 3_000, 1.0),
    Shape("many connections, some cold", 30, 3_000, 0.3),
    Shape("a connection for each ten calls", 100, 1_000, 0.1),
    Shape("mixed with cancellations", 4, 3_000, 0.5, 0.3),
]


class Wave:
    """Calls that begin together."""

    def __init__(self, pb: SimpleNamespace, shape: Shape, user: str, codes: list[str]) -> None:
        self._pb, self._shape, self._user, self._codes, self._dice = pb, shape, user, codes, random.Random()
        self.done = self.cancelled = 0
        self.done_at = time.monotonic()

    async def call(self, stubs: Any, number: int) -> None:
        is_cold = self._dice.random() < self._shape.cold
        code = self._dice.choice(self._codes) if not is_cold or number % 2 else f"none{self._dice.randrange(1 << 40)}"
        if is_cold and not number % 5:  # These have a reader of the database each.
            request = self._pb.url_pb2.ListURLsRequest(user_id=self._user, limit=1)
            call, wanted = stubs.urls.ListURLs(request, timeout=300), len(self._codes)
        else:
            request = self._pb.url_pb2.GetURLRequest(short_code=code)
            call, wanted = stubs.urls.GetURL(request, timeout=300), code
        if self._dice.random() < self._shape.cancelled:
            await asyncio.sleep(self._dice.uniform(0, 0.5))
            self.cancelled += call.cancel()
        try:
            answer = await call
        except grpc.aio.AioRpcError as error:
            if error.code() is not grpc.StatusCode.NOT_FOUND or not code.startswith("none"):
                raise
        except asyncio.CancelledError:
            if not call.cancelled():
                raise
        else:
            assert wanted == (answer.url.short_code if wanted == code else answer.total)
        self.done += 1
        self.done_at = time.monotonic()

    async def run(self, hands: list[Any]) -> None:
        tasks = {asyncio.create_task(self.call(hands[n % len(hands)], n)) for n in range(self._shape.calls)}
        pending = set(tasks)
        while pending:
            ended, pending = await asyncio.wait(pending, timeout=0.5, return_when=asyncio.FIRST_EXCEPTION)
            for task in ended:
                task.result()
            quiet = time.monotonic() - self.done_at
            assert not pending or quiet < QUIET_SECONDS, f"{self._shape}: {len(pending)} calls forgotten"


@pytest.fixture(scope="module")
def forgetful(tmp_path_factory: pytest.TempPathFactory) -> Iterator[process.Running]:
    """A server whose cache holds a tenth of the links: most look-ups of a cold shape read the database."""
    data_dir = tmp_path_factory.mktemp("stall") / "data"
    with process.running(data_dir, CACHE_SIZE_MAX=100, CACHE_MISSING_SIZE_MAX=100) as server:
        yield server


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.name)
async def test_no_call_is_forgotten(
    forgetful: process.Running,
    pb: SimpleNamespace,
    size: Callable[[int, int], int],
    figure: Callable[[str, str], None],
    shape: Shape,
) -> None:
    waves, calls = size(1, 20), size(shape.calls // 20, shape.calls)
    shape = Shape(shape.name, size(min(shape.connections, 10), shape.connections), calls, shape.cold, shape.cancelled)
    async with AsyncExitStack() as stack:
        hands = [await stack.enter_async_context(aio_stubs_of(pb, forgetful)) for _ in range(shape.connections)]
        user = f"stall{shape.connections}{shape.cold}"
        request = pb.url_pb2.CreateURLRequest(long_url="https://example.com/", user_id=user)
        links = size(50, 1_000) if shape.cold else 50
        made = await asyncio.gather(*(hands[0].urls.CreateURL(request, timeout=300) for _ in range(links)))
        for _ in range(waves):
            await Wave(pb, shape, user, [answer.short_code for answer in made]).run(hands)
    figure(PROMISE, f"{shape.name}: {waves} waves of {calls:,} calls at once: all answered")
