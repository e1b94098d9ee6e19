"""Moves clicks from the log to the tables: batches in order, each once, whatever happens.

The position up to which the log has been stored changes in the transaction that stores the clicks, and only from the
place where this batch began. So a crash, a cancellation or a commit of unknown outcome can neither lose nor
double a click: whatever was not committed is read again.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

from shortener.analytics.model import START, Click, Position
from shortener.analytics.ports import ClickLog, ClickStore, CountClicks, LogPiece, LogProgress, ParseAgent
from shortener.config.sections import Clicks
from shortener.observe.log import OncePerSecond
from shortener.tasks import cancel, lower_thread_priority
from shortener.tx import Transactions, Tx

_log = logging.getLogger(__name__)

# Understanding this many user agents takes about a millisecond; then the event loop may have Python's lock.
_CLICKS_AT_ONCE = 50
_BACKOFF_SECONDS_MAX = 2.0

T = TypeVar("T")


@dataclass(slots=True)
class CollectorStats:
    """What a collector has done since the start, for metrics."""

    batches: int = 0
    clicks: int = 0
    failures: int = 0  # attempts that were tried again
    lost_bytes: int = 0  # as in `LogPiece`
    lost_records: int = 0


class Moved(Exception):  # noqa: N818 - an answer, not an error
    """The stored position is not where the batch began."""


@dataclass(kw_only=True, eq=False)
class ClickCollector:
    """Keeps the tables up to date with the click log. Open it with `open_collector`."""

    log: ClickLog
    progress: LogProgress
    store: ClickStore
    transactions: Transactions
    count_clicks: CountClicks
    parse_agent: ParseAgent
    settings: Clicks

    def __post_init__(self) -> None:
        """Begin without knowing the stored position."""
        self.stats = CollectorStats()
        self._position: Position | None = None
        self._is_sure = False  # whether the store would say the same
        self._tried = asyncio.Event()
        self._stopping = asyncio.Event()
        self._may_log = OncePerSecond()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="click-collector", initializer=lower_thread_priority)

    def backlog_bytes(self) -> int:
        """Return how much of the log waits to be stored."""
        return self.log.bytes_after(self._position or START)

    async def catch_up(self) -> None:
        """Move all that has been flushed so far. Raises what the first failure raises."""
        end = self.log.end
        while await self._position_now() < end:
            await self._move_batch()

    async def tried(self) -> None:
        """Return when what the last run left has been moved, moving it has failed, or `replay_seconds` have passed."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self.settings.replay_seconds):
                await self._tried.wait()

    async def run(self) -> None:
        """Collect until `stop`, and then what is left. To be run as a task. Failures are tried again for ever."""
        pause = 0.0
        while not (self._stopping.is_set() and self._position_is_end()):
            try:
                await self.catch_up()
                pause = 0.0
            except Exception as error:  # noqa: BLE001 - whatever it was, the clicks are still in the journal
                pause = min(pause * 2 + 0.1, _BACKOFF_SECONDS_MAX)
                self.stats.failures += 1
                if self._may_log():
                    _log.warning("clicks wait in the journal, storing them failed: %s: %s", type(error).__name__, error)
            self._tried.set()
            await self._sleep(pause)

    async def stop(self, task: asyncio.Task[None], *, timeout_seconds: float) -> None:
        """Move what is left and end the task; after `timeout_seconds` leave the rest to the next start."""
        self.log.flush()
        self._stopping.set()
        with contextlib.closing(self):
            try:
                await asyncio.wait({task}, timeout=timeout_seconds)
            finally:
                await cancel(task)
        left = self.backlog_bytes()
        if left:
            _log.warning("%d bytes of clicks stay in the log for the next start", left)
        if not task.cancelled():
            task.result()

    def close(self) -> None:
        """End the thread. Only needed where `run` was never made a task."""
        self._thread.shutdown(wait=True)

    def _position_is_end(self) -> bool:
        return self._is_sure and self._position is not None and self._position >= self.log.end

    async def _sleep(self, pause: float) -> None:
        """Wait for the next round; when stopping, only for what fails."""
        if self._stopping.is_set():
            await asyncio.sleep(min(pause, 0.1))
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(pause or self.settings.flush_seconds):
                await self._stopping.wait()

    async def _in_thread(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    async def _position_now(self) -> Position:
        if self._position is None or not self._is_sure:
            self._position = await self.progress.position()
            self._is_sure = True
        return self._position

    async def _move_batch(self) -> None:
        old = await self._position_now()
        end = self.log.end
        piece, clicks = await self._in_thread(lambda: self._read(old, end))
        self._is_sure = False  # until it is known whether the transaction was committed
        await self.transactions(lambda tx: self._store_batch(tx, old, piece.position, clicks))
        self._position, self._is_sure = piece.position, True
        self.stats.batches += 1
        self.stats.clicks += len(clicks)
        self.stats.lost_bytes += piece.lost_bytes
        self.stats.lost_records += piece.lost_records
        await self._in_thread(lambda: self.log.acknowledge(piece.position))

    def _store_batch(self, tx: Tx, old: Position, new: Position, clicks: list[Click]) -> None:
        if not self.progress.advance(tx, old, new):
            raise Moved
        if clicks:
            counts = dict.fromkeys((click.ref for click in clicks), 0)
            for click in clicks:
                counts[click.ref] += self.store.is_counted(click)
            known = self.count_clicks(tx, counts)
            # What comes late for a link that is erased meanwhile must not bring anything of it back.
            self.store.append(tx, [click for click in clicks if click.ref in known])

    def _read(self, position: Position, end: Position) -> tuple[LogPiece, list[Click]]:
        piece = self.log.read(position, end, clicks_max=self.settings.batch_max)
        clicks: list[Click] = []
        for index, seen in enumerate(piece.clicks, 1):
            agent = self.parse_agent(seen.user_agent)
            clicks.append(Click(*seen[:-1], agent.device, agent.bot))
            if index % _CLICKS_AT_ONCE == 0:
                time.sleep(0)
        return piece, clicks


@contextlib.asynccontextmanager
async def open_collector(collector: ClickCollector, *, stop_seconds: float) -> AsyncIterator[ClickCollector]:
    """Run a collector: first what the last run left, for `replay_seconds` at most; at the end, what is left then.

    After that time, or when the database fails, the rest is moved beside everything else. At the end, what cannot be
    moved within `stop_seconds` stays in the log for the next start.
    """
    task = asyncio.create_task(collector.run(), name="click-collector")
    try:
        await collector.tried()
        yield collector
    finally:
        await collector.stop(task, timeout_seconds=stop_seconds)
