"""The one writer: runs all waiting units of work in one transaction on its thread, then answers their callers."""

import asyncio
import contextlib
import copy
import logging
import sqlite3
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar, cast

from shortener import errors
from shortener.config.sections import Storage
from shortener.observe.histogram import FAST_SECONDS, SIZES, Histogram
from shortener.storage.sqlite.connection import SqliteThread
from shortener.storage.sqlite.faults import raise_translated
from shortener.storage.sqlite.sql import SqlTx, attempt
from shortener.tasks import finish
from shortener.tx import Tx

T = TypeVar("T")
_log = logging.getLogger(__name__)


@dataclass(slots=True)
class WriterStats:
    """What the writer has done since it was opened."""

    commits: int = 0
    units: int = 0  # committed
    units_failed: int = 0
    batches_failed: int = 0
    commit_seconds: Histogram = field(default_factory=lambda: Histogram(FAST_SECONDS))
    """From BEGIN to the end of COMMIT or ROLLBACK, on the writer's thread."""
    commit_units: Histogram = field(default_factory=lambda: Histogram(SIZES))


class _Unit:
    """One unit of work on its way through the writer."""

    __slots__ = ("callbacks", "done", "error", "result", "work")

    def __init__(self, work: Callable[[Tx], object], done: asyncio.Future[object]) -> None:
        self.work = work
        self.done = done
        self.result: object = None
        self.error: BaseException | None = None
        self.callbacks: list[Callable[[], None]] = []

    def run(self, raw: sqlite3.Connection) -> None:
        tx = SqlTx(raw)
        self.result, self.error = attempt(self.work, tx)
        self.callbacks = tx.callbacks

    def answer(self) -> None:
        if self.done.done():
            return  # The caller was cancelled.
        if self.error is not None:
            self.done.set_exception(self.error)
        else:
            self.done.set_result(self.result)


class _Batch:
    """Units that share one transaction; `run` is run on the writer's thread."""

    def __init__(self, raw: sqlite3.Connection, units: list[_Unit]) -> None:
        self.units = units
        self.error: BaseException | None = None
        self.has_run = False
        self.committed = False
        self.seconds = 0.0
        self._raw = raw

    def run(self) -> None:
        started = time.perf_counter()
        try:
            self._run()
        except BaseException as error:  # noqa: BLE001 - it is raised to every caller of the batch
            self.error = error
            self._undo()
        self.seconds = time.perf_counter() - started
        self.has_run = True

    def _run(self) -> None:
        self._undo()  # There is something to undo only after a ROLLBACK has failed.
        self._execute("BEGIN IMMEDIATE")
        if len(self.units) == 1:
            self._run_unit(self.units[0])
        else:
            for unit in self.units:
                self._run_beside_others(unit)
        if all(unit.error is not None for unit in self.units):
            self._execute("ROLLBACK")
            return
        self._execute("COMMIT")
        self.committed = True

    def _run_beside_others(self, unit: _Unit) -> None:
        self._execute("SAVEPOINT unit")
        self._run_unit(unit)
        if unit.error is not None:
            self._execute("ROLLBACK TO unit")
        self._execute("RELEASE unit")

    def _run_unit(self, unit: _Unit) -> None:
        unit.run(self._raw)
        if not self._raw.in_transaction:
            # The engine ended the whole transaction, as it may on a full disk, or the work did.
            unit.error = unit.error or RuntimeError("a unit of work ended its transaction itself")
            raise unit.error

    def _execute(self, statement: str) -> None:
        try:
            self._raw.execute(statement)
        except sqlite3.Error as error:
            raise_translated(error)

    def _undo(self) -> None:
        if self._raw.in_transaction:
            with contextlib.suppress(sqlite3.Error):  # The earlier error is the one to report.
                self._raw.execute("ROLLBACK")


class Writer:
    """Queues units of work and commits them in groups, between `start` and `close`."""

    def __init__(self, thread: SqliteThread, settings: Storage) -> None:
        self.stats = WriterStats()
        self._thread = thread
        self._settings = settings
        self._waiting: OrderedDict[_Unit, None] = OrderedDict()
        self._enough = 1  # units that wake the task
        self._wake: asyncio.Future[None] | None = None
        self._expected = 0  # units that the next batch waits for, for a short time
        self._closing = False
        self._task: asyncio.Task[None] | None = None

    @property
    def depth(self) -> int:
        """How many units wait to be started."""
        return len(self._waiting)

    def start(self) -> None:
        """Start the task that writes, on the running loop."""
        self._task = asyncio.create_task(self._serve(), name="sqlite-writer")

    async def transaction(self, work: Callable[[Tx], T]) -> T:
        """Run `work(tx)` in one transaction and return its result once that is durable (`tx.Transactions`).

        A cancelled caller's work is dropped if not begun, else it completes. Raises `errors.Unavailable` when the
        database is busy or closing, `errors.Exhausted` when too much waits.
        """
        if self._closing:
            raise errors.Unavailable("the database is closed")
        if len(self._waiting) >= self._settings.queue_max:
            raise errors.Exhausted("too many writes are waiting", overload=True)
        unit = _Unit(work, asyncio.get_running_loop().create_future())
        self._waiting[unit] = None
        if len(self._waiting) >= self._enough:
            self._wake_up()
        try:
            return cast(T, await unit.done)
        except asyncio.CancelledError:
            self._waiting.pop(unit, None)  # Not started, so it never will be.
            raise

    def refuse(self) -> None:
        """Refuse new units from now on."""
        self._closing = True
        self._wake_up()

    async def close(self) -> None:
        """Commit the units that wait, and end the task."""
        self.refuse()
        if self._task is not None:
            await finish(_ended(self._task))

    async def _serve(self) -> None:
        try:
            while await self._have_units():
                units = self._take()
                if units:
                    await self._commit(units)
        finally:
            self._closing = True  # Also when this task is cancelled: no caller may wait for ever.
            for unit in self._waiting:
                unit.error = errors.Unavailable("the database is closed")
                unit.answer()
            self._waiting.clear()

    async def _have_units(self) -> bool:
        """Wait for units, and under load a little longer for more; False when it is closing and none are left."""
        if not self._waiting and not self._closing:
            await self._sleep(1, None)
        if not self._closing and len(self._waiting) < self._expected:
            await self._sleep(self._expected, self._settings.gather_seconds)
        return bool(self._waiting) or not self._closing

    async def _sleep(self, enough: int, seconds: float | None) -> None:
        """Wait until `enough` units wait, the close begins, or the time is over."""
        loop = asyncio.get_running_loop()
        self._wake, self._enough = loop.create_future(), enough
        timer = None if seconds is None else loop.call_later(seconds, self._wake_up)
        try:
            await self._wake
        finally:
            self._wake, self._enough = None, 1
            if timer is not None:
                timer.cancel()

    def _wake_up(self) -> None:
        if self._wake is not None and not self._wake.done():
            self._wake.set_result(None)

    def _take(self) -> list[_Unit]:
        units: list[_Unit] = []
        while self._waiting and len(units) < self._settings.batch_max:
            unit, _ = self._waiting.popitem(last=False)
            if not unit.done.done():
                units.append(unit)
        return units

    async def _commit(self, units: list[_Unit]) -> None:
        batch = _Batch(self._thread.raw, units)
        try:
            await self._thread.run(batch.run)
        finally:
            # Callers answered now are likely to come again, beside those that wait. A single caller never waits.
            callers = len(units) + len(self._waiting)
            self._expected = min(callers, self._settings.batch_max) if callers > 1 else 0
            self._answer(batch)

    def _answer(self, batch: _Batch) -> None:
        if not batch.has_run:
            batch.error = errors.Unavailable("the database is closed")
        for unit in batch.units:
            if batch.error is not None and unit.error is None:
                unit.error = _copied(batch.error)
        self._count(batch)
        for unit in batch.units:
            if unit.error is None:
                _call_back(unit.callbacks)
        for unit in batch.units:
            unit.answer()

    def _count(self, batch: _Batch) -> None:
        failed = sum(unit.error is not None for unit in batch.units)
        self.stats.units += len(batch.units) - failed
        self.stats.units_failed += failed
        self.stats.commits += batch.committed
        self.stats.batches_failed += batch.error is not None
        self.stats.commit_seconds.observe(batch.seconds)
        self.stats.commit_units.observe(len(batch.units))


def _call_back(callbacks: list[Callable[[], None]]) -> None:
    for callback in callbacks:
        try:
            callback()
        except Exception:  # noqa: BLE001 - the write is durable, and other callers wait for theirs
            _log.exception("a callback after a commit failed")


def _copied(error: BaseException) -> BaseException:
    """Return a copy for one caller: a traceback grows each time its exception is raised."""
    if isinstance(error, errors.Failure | sqlite3.Error):
        own: BaseException = copy.copy(error)
    else:
        own = RuntimeError("the transaction was lost to another unit of work")
    own.__cause__ = error
    return own


async def _ended(task: asyncio.Task[None]) -> None:
    await asyncio.wait({task})
    if not task.cancelled():
        task.result()
