"""Work that must come to its end: what is begun is waited for, also by a caller who is cancelled."""

import asyncio
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")


async def finish(work: Coroutine[object, object, T] | asyncio.Task[T]) -> T:
    """Run `work` to its end even when cancelled meanwhile; the cancellation is raised after it."""
    task = asyncio.ensure_future(work)
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait({task})
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        if not task.cancelled():
            task.exception()  # Marks it as seen; the cancellation goes first.
        raise cancelled
    return task.result()


async def cancel(task: asyncio.Task[None]) -> None:
    """Cancel `task` and return when it has ended, however it did; a caller who is cancelled waits for that too."""
    task.cancel()
    await finish(asyncio.wait({task}))


async def in_thread(name: str, work: Callable[[], T]) -> T:
    """Run blocking `work` on a thread of its own, which is gone when this returns or raises.

    The loop's own pool, which `asyncio.to_thread` uses, would keep its threads for as long as the host's loop lives;
    and it lets a cancelled caller go on while the work still runs.
    """

    async def run() -> T:
        with ThreadPoolExecutor(1, thread_name_prefix=name) as thread:
            return await asyncio.wrap_future(thread.submit(work))

    return await finish(run())
