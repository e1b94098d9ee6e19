"""Runs coroutines at once, and makes tasks only of those that wait.

A handler's first step runs inside a prepared task, so that `asyncio.current_task()`, `asyncio.timeout()` and
cancellation are right from the first line on; when the handler waits, that very task goes on with it. A handler that
never waits leaves the task for the next one: what it hangs on its task object (done callbacks, weak keys) outlives the
call. Each handler has a context of its own, as with a task of its own.
"""

import asyncio
from asyncio import tasks as task_registry
from collections.abc import Callable, Coroutine, Generator
from contextvars import Context, copy_context
from types import TracebackType
from typing import Any

Done = Callable[[BaseException | None], None]

_NOTHING = object()


class TaskBody(Coroutine[Any, None, None]):
    """What the prepared task runs: nothing at first, then a coroutine whose first step was already taken."""

    __slots__ = ("_context", "_coroutine", "_done", "_first", "_gate", "_runner", "task")

    def __init__(self, runner: "Runner") -> None:
        self._runner = runner
        self._coroutine: Coroutine[Any, Any, Any] | None = None
        self._context: Context | None = None
        self._done: Done | None = None
        self._first: Any = _NOTHING
        self._gate: asyncio.Future[None] | None = None
        self.task: asyncio.Task[None] | None = None

    def take(self, coroutine: Coroutine[Any, Any, Any], context: Context, done: Done, first: Any) -> None:
        """Go on with `coroutine`, which waits for `first`: the future it yielded, or None."""
        self._coroutine, self._context, self._done, self._first = coroutine, context, done, first
        if self._gate is not None and not self._gate.done():
            self._gate.set_result(None)

    def send(self, _value: None) -> Any:
        """Do the task's next step."""
        if self._coroutine is None:
            self._gate = self._runner.loop.create_future()
            return next(self._gate.__await__())
        if self._first is not _NOTHING:
            first, self._first = self._first, _NOTHING
            return first
        return self._step(self._coroutine.send, None)

    def throw(self, kind: Any, value: object = None, traceback: TracebackType | None = None, /) -> Any:
        """Pass on a cancellation or the error of what was waited for."""
        error = kind if isinstance(kind, BaseException) else kind(value)
        if self._coroutine is None:
            raise error
        if self._first is not _NOTHING:
            # Cancelled before the task could wait for what the coroutine waits for: as the task itself would do,
            # cancel that, and let its cancellation come back. If it is done already, the coroutine is told at once.
            first, self._first = self._first, _NOTHING
            if first is not None and first.cancel():
                return first
        return self._step(self._coroutine.throw, error)

    def _step(self, step: Callable[[Any], Any], argument: Any) -> Any:
        assert self._context is not None
        assert self._done is not None
        error: BaseException | None = None
        try:
            return self._context.run(step, argument)
        except StopIteration:
            pass
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as caught:  # noqa: BLE001 - handed on to `done`, cancellation too
            error = caught
        self._runner.forget(self)
        self._done(error)
        error = None  # as in `Runner.start`
        raise StopIteration

    def close(self) -> None:
        """Close the coroutine."""
        if self._coroutine is not None:
            self._coroutine.close()

    def __await__(self) -> Generator[Any, None, None]:
        raise TypeError("only a task runs this")


class Runner:
    """Starts the handlers of one server. `tasks` are those that wait; whoever closes the server awaits them."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.tasks: set[asyncio.Task[None]] = set()
        self._spare: TaskBody | None = None

    def _prepare(self) -> TaskBody:
        body = TaskBody(self)
        body.task = self.loop.create_task(body)
        self._spare = body
        return body

    def start(self, coroutine: Coroutine[Any, Any, Any], done: Done) -> "asyncio.Task[None] | None":
        """Run `coroutine` until it ends or waits; call from a plain callback of the loop.

        When it ends here, `done` is called with its exception or None, and None is returned. Otherwise the task that
        goes on with it is, and `done` is called when that ends; no exception leaves the task.
        """
        body = self._spare or self._prepare()
        task = body.task
        assert task is not None
        context = copy_context()
        error: BaseException | None = None
        task_registry._enter_task(self.loop, task)  # documented for implementations of tasks
        try:
            first = context.run(coroutine.send, None)
        except StopIteration:
            pass
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as caught:  # noqa: BLE001 - handed on to `done`, cancellation too
            error = caught
        else:
            self._spare = None
            self.tasks.add(task)
            body.take(coroutine, context, done, first)
            return task
        finally:
            task_registry._leave_task(self.loop, task)
        if task.cancelling():
            self._spare = None  # the handler cancelled its own task, which ends by that
        done(error)
        error = None  # its traceback holds this frame and, by the handler's, an answer: let it go at once
        return None

    def forget(self, body: TaskBody) -> None:
        """Drop a task that is about to end."""
        if body.task is not None:
            self.tasks.discard(body.task)
            body.task = None

    async def close(self) -> None:
        """Cancel what still runs and wait for it."""
        running = list(self.tasks)
        if self._spare is not None and self._spare.task is not None:
            running.append(self._spare.task)
            self._spare = None
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
