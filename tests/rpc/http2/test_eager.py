"""Handlers run without a task until they wait; nothing they do may show the difference."""

import asyncio
import gc
import weakref
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from typing import Any

import pytest

from shortener.rpc.http2.eager import Runner

name: ContextVar[str] = ContextVar("name", default="none")
Body = Callable[[], Awaitable[Any]]


class Stage:
    """Starts coroutines as a connection does, from a plain callback of the loop, and collects their ends."""

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.runner = Runner(self.loop)
        self.ends: list[Any] = []
        self.tasks: list[Any] = []

    async def start(self, *bodies: Body) -> None:
        done = self.loop.create_future()

        def run() -> None:
            for body in bodies:
                self.tasks.append(self.runner.start(self._hold(body), self.ends.append))
            done.set_result(None)

        self.loop.call_soon(run)
        await done

    async def _hold(self, body: Body) -> None:
        await body()

    async def all_ended(self) -> list[Any]:
        async with asyncio.timeout(5):
            while self.runner.tasks:
                await asyncio.wait(self.runner.tasks)
        return [type(end).__name__ if end else "ok" for end in self.ends]


@pytest.fixture
async def stage() -> Any:
    stage = Stage()
    yield stage
    await stage.runner.close()


async def nothing() -> None:
    pass


async def fails() -> None:
    raise ValueError


async def test_what_does_not_wait_ends_at_once_without_a_task(stage: Stage) -> None:
    await stage.start(nothing, fails, nothing)
    assert [type(end).__name__ for end in stage.ends] == ["NoneType", "ValueError", "NoneType"]
    assert stage.tasks == [None, None, None]


async def test_what_waits_goes_on_in_a_task(stage: Stage) -> None:
    gate = asyncio.Event()
    await stage.start(gate.wait, nothing, gate.wait)
    assert [task is None for task in stage.tasks] == [False, True, False]
    assert len(stage.runner.tasks) == 2
    gate.set()
    assert await stage.all_ended() == ["ok", "ok", "ok"]


async def test_the_current_task_is_the_same_before_and_after_the_first_wait(stage: Stage) -> None:
    seen: list[Any] = []

    async def look() -> None:
        seen.append(asyncio.current_task())
        await asyncio.sleep(0)
        seen.append(asyncio.current_task())
        await asyncio.sleep(0.001)
        seen.append(asyncio.current_task())

    await stage.start(look, look)
    assert await stage.all_ended() == ["ok", "ok"]
    assert len(set(seen)) == 2
    assert set(seen) == set(stage.tasks)


async def test_a_timeout_entered_in_the_first_step_fires(stage: Stage) -> None:
    async def slow() -> None:
        async with asyncio.timeout(0.01):
            await asyncio.sleep(60)

    async def patient() -> str:
        try:
            async with asyncio.timeout(0.01):
                await asyncio.sleep(60)
        except TimeoutError:
            await asyncio.sleep(0)
        assert asyncio.current_task().cancelling() == 0  # type: ignore[union-attr]
        return "went on"

    async def quick() -> None:
        async with asyncio.timeout(0):
            await nothing()

    await stage.start(slow, patient, quick)
    assert sorted(await stage.all_ended()) == ["TimeoutError", "ok", "ok"]


async def test_wait_for_and_task_groups_work_in_the_first_step(stage: Stage) -> None:
    async def grouped() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(asyncio.sleep(0))
            group.create_task(asyncio.sleep(60)).cancel()

    async def broken() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(fails())
            group.create_task(asyncio.sleep(60))

    async def late() -> None:
        await asyncio.wait_for(asyncio.sleep(60), 0.01)

    await stage.start(grouped, broken, late)
    assert sorted(await stage.all_ended()) == ["ExceptionGroup", "TimeoutError", "ok"]


async def test_a_cancel_before_the_task_ever_ran_reaches_the_handler_and_what_it_waits_for(stage: Stage) -> None:
    inner: list[str] = []

    async def sleeper() -> None:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            inner.append("inner")
            raise

    async def outer() -> None:
        try:
            await asyncio.create_task(sleeper())
        except asyncio.CancelledError:
            inner.append("outer")
            raise

    async def bare() -> None:
        await asyncio.sleep(0)

    await stage.start(outer, bare)
    stage.tasks[0].cancel()
    stage.tasks[1].cancel()
    assert await stage.all_ended() == ["CancelledError", "CancelledError"]
    assert inner == ["inner", "outer"]


async def test_a_cancel_after_the_awaited_is_done_still_cancels(stage: Stage) -> None:
    future = asyncio.get_running_loop().create_future()

    async def wait() -> None:
        await future
        await asyncio.sleep(60)

    await stage.start(wait)
    future.set_result(None)
    stage.tasks[0].cancel()
    assert await stage.all_ended() == ["CancelledError"]


async def test_a_cancel_may_be_survived(stage: Stage) -> None:
    async def stubborn() -> None:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            await asyncio.sleep(0)

    await stage.start(stubborn)
    stage.tasks[0].cancel()
    assert await stage.all_ended() == ["ok"]


async def test_a_handler_that_cancels_itself_takes_no_other_with_it(stage: Stage) -> None:
    async def selfish() -> None:
        asyncio.current_task().cancel()  # type: ignore[union-attr]

    async def selfish_and_waiting() -> None:
        asyncio.current_task().cancel()  # type: ignore[union-attr]
        await asyncio.sleep(60)

    await stage.start(nothing, selfish, selfish_and_waiting, nothing)
    await asyncio.sleep(0)
    await stage.start(selfish, nothing, selfish_and_waiting, nothing)
    assert sorted(await stage.all_ended()) == ["CancelledError"] * 2 + ["ok"] * 6


async def test_each_handler_has_a_context_of_its_own(stage: Stage) -> None:
    seen: list[str] = []

    def named(own: str, *, wait: bool) -> Body:
        async def body() -> None:
            seen.append(name.get())
            token = name.set(own)
            if wait:
                await asyncio.sleep(0)
                await asyncio.sleep(0.001)
            seen.append(name.get())
            name.reset(token)

        return body

    await stage.start(named("a", wait=False), named("b", wait=True), named("c", wait=True), named("d", wait=False))
    assert await stage.all_ended() == ["ok"] * 4
    assert sorted(seen) == sorted(["none"] * 4 + ["a", "b", "c", "d"])
    assert name.get() == "none"


async def test_closing_cancels_what_waits(stage: Stage) -> None:
    await stage.start(asyncio.Event().wait, nothing)
    await stage.runner.close()
    assert [type(end).__name__ for end in stage.ends] == ["NoneType", "CancelledError"]
    assert len(asyncio.all_tasks()) == 1


@pytest.mark.parametrize("waits", [False, True])
async def test_what_a_failed_handler_held_is_let_go_without_the_garbage_collector(*, waits: bool) -> None:
    class Answer:
        """Stands for much memory."""

    answers: list[weakref.ref[Answer]] = []
    ended = asyncio.Event()

    async def handler() -> None:
        answer = Answer()
        answers.append(weakref.ref(answer))
        if waits:
            await asyncio.sleep(0)
        raise ValueError("refused")

    runner = Runner(asyncio.get_running_loop())
    gc.disable()
    try:
        asyncio.get_running_loop().call_soon(runner.start, handler(), lambda _: ended.set())
        await ended.wait()
        await asyncio.sleep(0)
        assert [answer() for answer in answers] == [None]
    finally:
        gc.enable()
        await runner.close()
