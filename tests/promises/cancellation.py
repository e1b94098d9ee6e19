"""Cancels a coroutine at its n-th suspension."""

import asyncio
import enum
import itertools
import types
from collections.abc import Callable, Coroutine, Generator
from typing import Any


class When(enum.Enum):
    """When the cancellation comes, of a task that waits for something."""

    AT_ONCE = "before what it waits for has begun"
    SOON = "while it runs"
    AT_THE_END = "when it has ended and the task has not been told"


@types.coroutine
def _cancelled_at(coroutine: Coroutine[Any, Any, Any], step: int, when: When) -> Generator[Any, Any, Any]:
    task = asyncio.current_task()
    assert task is not None
    resume: Callable[[Any], Any] = coroutine.send
    argument: Any = None
    for number in itertools.count(1):
        try:
            waited = resume(argument)
        except StopIteration as end:
            return end.value
        if number == step:
            _cancel(task, waited, when)
        try:
            resume, argument = coroutine.send, (yield waited)
        except BaseException as error:  # noqa: BLE001 - it is the coroutine's
            resume, argument = coroutine.throw, error
    raise AssertionError("itertools.count has no end")


def _cancel(task: "asyncio.Task[Any]", waited: Any, when: When) -> None:
    if when is When.AT_ONCE:
        task.cancel()
    elif when is When.SOON or waited is None:
        asyncio.get_running_loop().call_soon(task.cancel)
    else:
        waited.add_done_callback(lambda _: task.cancel())


async def run_cancelled_at(coroutine: Coroutine[Any, Any, None], step: int, when: When) -> bool:
    """Run a coroutine to its end in a task that is cancelled at its `step`th suspension; tell whether it was."""

    async def run() -> None:
        await _cancelled_at(coroutine, step, when)

    task = asyncio.create_task(run())
    await asyncio.wait({task})
    if task.cancelled():
        return True
    task.result()
    return False
