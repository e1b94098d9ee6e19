"""Tasks and threads: work that is waited for to its end, also by a caller who is cancelled, and who goes first.

Where threads share a core, the event loop's thread goes before those that work behind it.
"""

import asyncio
import contextlib
import os
import sys
import threading
from collections.abc import AsyncIterator, Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")

NICE = 5
"""How much lower the priority of the other threads is; a thread that has the core to itself is not slowed."""


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


@contextlib.asynccontextmanager
async def running(name: str, work: Coroutine[object, object, None]) -> AsyncIterator[None]:
    """Run `work` as a task until the block ends; then cancel it and wait for its end."""
    task = asyncio.create_task(work, name=name)
    try:
        yield
    finally:
        await cancel(task)


async def in_thread(name: str, work: Callable[[], T]) -> T:
    """Run blocking `work` on a thread of its own, which is gone when this returns or raises.

    The loop's own pool, which `asyncio.to_thread` uses, would keep its threads for as long as the host's loop lives;
    and it lets a cancelled caller go on while the work still runs.
    """

    async def run() -> T:
        with ThreadPoolExecutor(1, thread_name_prefix=name) as thread:
            return await asyncio.wrap_future(thread.submit(work))

    return await finish(run())


def lower_thread_priority() -> None:
    """Lower this thread's priority, where the system gives threads one of their own (Linux). Cannot be undone."""
    if sys.platform != "linux":
        return
    thread = threading.get_native_id()
    with contextlib.suppress(OSError):  # Forbidden by a sandbox, say: then all are equals, as elsewhere.
        os.setpriority(os.PRIO_PROCESS, thread, os.getpriority(os.PRIO_PROCESS, thread) + NICE)
