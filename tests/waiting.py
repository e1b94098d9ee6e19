"""Waiting for what happens elsewhere: on a thread, in another process."""

import asyncio
from collections.abc import Callable

SECONDS_MAX = 10


async def until(condition: Callable[[], bool]) -> None:
    """Look at `condition` until it holds; fails after ten seconds."""
    async with asyncio.timeout(SECONDS_MAX):
        while not condition():  # noqa: ASYNC110 - what is waited for sets no event on this loop
            await asyncio.sleep(0.002)
