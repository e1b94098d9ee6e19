"""A pool of readers: each read has one of them to itself and sees one snapshot."""

import asyncio
import contextlib
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar, cast

from shortener import errors
from shortener.storage.sqlite.connection import INTERRUPT_SECONDS, SqliteThread
from shortener.storage.sqlite.faults import raise_translated
from shortener.storage.sqlite.sql import Sql, attempt

T = TypeVar("T")


@dataclass(slots=True)
class ReaderStats:
    """What the readers have done since they were opened."""

    reads: int = 0  # ended, well or not
    reads_interrupted: int = 0
    read_seconds: float = 0.0  # with a reader in hand


class _Read:
    """One read on a reader's thread."""

    __slots__ = ("_ended", "_error", "_gate", "_query", "_raw", "_result", "_sql", "_unwanted")

    def __init__(self, raw: sqlite3.Connection, query: Callable[[Sql], object]) -> None:
        self._raw = raw
        self._query = query
        self._sql = Sql(raw)
        self._result: object = None
        self._error: BaseException | None = None
        self._gate = threading.Lock()
        self._ended = False
        self._unwanted = False

    def run(self) -> None:
        """Run the query in a transaction of its own, on the thread, and keep its result or error."""
        try:
            self._end()  # There is something to end only after a ROLLBACK has failed.
            self._raw.execute("BEGIN")
        except sqlite3.Error as error:
            self._error = error
        else:
            self._result, self._error = attempt(self._query, self._sql)
        with self._gate:
            self._ended = True  # No interrupt from here on: it would hit the next read.
        self._end()

    def interrupt(self) -> None:
        """Stop the running statement, if any, and refuse others. Any thread may call it, repeatedly."""
        with self._gate:
            if not self._ended:
                self._unwanted = True
                self._sql.close()
                self._raw.interrupt()

    def outcome(self) -> object:
        """Return what the query returned, or raise what it raised."""
        if self._error is None and self._ended:
            return self._result
        if self._unwanted:
            raise errors.Unavailable("the read was interrupted") from self._error
        if self._error is None:
            raise errors.Unavailable("the database is closed")
        if isinstance(self._error, sqlite3.Error):
            raise_translated(self._error)
        raise self._error

    def _end(self) -> None:
        if self._raw.in_transaction:
            with contextlib.suppress(sqlite3.Error):  # There is nothing to lose in a read.
                self._raw.execute("ROLLBACK")


class Readers:
    """Gives readers to reads in order of arrival."""

    def __init__(self, threads: list[SqliteThread], *, queue_max: int) -> None:
        self.stats = ReaderStats()
        self._count = len(threads)
        self._queue_max = queue_max
        self._free = deque(threads)
        self._waiting: deque[asyncio.Future[SqliteThread]] = deque()
        self._running: set[_Read] = set()
        self._closing = False

    @property
    def depth(self) -> int:
        """How many reads wait for a reader."""
        return len(self._waiting)

    async def read(self, query: Callable[[Sql], T]) -> T:
        """Run `query` on a reader, in one snapshot that holds every acknowledged write.

        A cancelled read is interrupted and frees its reader. Raises `errors.Unavailable` when the database is closing,
        `errors.Exhausted` when too many reads wait.
        """
        if self._closing:
            raise errors.Unavailable("the database is closed")
        thread = self._free.popleft() if self._free else await self._turn()
        read = _Read(thread.raw, query)
        self._running.add(read)
        started = time.perf_counter()
        try:
            await thread.run(read.run, read.interrupt)
        except asyncio.CancelledError:
            self.stats.reads_interrupted += 1
            raise
        finally:
            self.stats.reads += 1
            self.stats.read_seconds += time.perf_counter() - started
            self._running.discard(read)
            self._give(thread)
        return cast(T, read.outcome())

    async def close(self) -> None:
        """Refuse waiting reads, interrupt running ones, and return when all readers are free."""
        self._closing = True
        for turn in self._waiting:
            if not turn.done():
                turn.set_exception(errors.Unavailable("the database is closed"))
        self._waiting.clear()
        while len(self._free) < self._count:
            for read in self._running:
                read.interrupt()
            await asyncio.sleep(INTERRUPT_SECONDS)

    async def _turn(self) -> SqliteThread:
        """Wait for a reader, in order of arrival."""
        if len(self._waiting) >= self._queue_max:
            raise errors.Exhausted("too many reads are waiting", overload=True)
        turn: asyncio.Future[SqliteThread] = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            return await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled() and turn.exception() is None:
                self._give(turn.result())  # It was given and cancelled in the same tick.
            elif turn in self._waiting:
                self._waiting.remove(turn)
            raise

    def _give(self, thread: SqliteThread) -> None:
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(thread)
                return
        self._free.append(thread)
