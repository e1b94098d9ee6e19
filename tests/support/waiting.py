"""Waiting for what happens elsewhere: in the event loop, on a thread, in another process. Too long is a failure."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")

SECONDS_MAX = 10.0


async def until(is_so: Callable[[], bool | Awaitable[bool]], seconds: float = SECONDS_MAX) -> None:
    """Look again and again while the event loop turns, until it is so. Raises `TimeoutError`."""
    async with asyncio.timeout(seconds):
        while True:
            found = is_so()
            if found if isinstance(found, bool) else await found:
                return
            await asyncio.sleep(0.002)


def wait_for(ask: Callable[[], T], is_wanted: Callable[[T], bool] = bool, seconds: float = SECONDS_MAX) -> T:
    """Ask again and again until the answer is one that is wanted, and return it. For threads without an event loop."""
    deadline = time.monotonic() + seconds
    while not is_wanted(answer := ask()):
        assert time.monotonic() < deadline, f"still {answer!r} after {seconds} seconds"
        time.sleep(0.005)
    return answer
