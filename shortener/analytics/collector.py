"""Moves clicks from the journal to the tables: batches in order, each once, whatever happens.

The position up to which the journal has been moved changes in the transaction that stores the clicks, and only from the
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

from shortener.analytics.journal import records as frames
from shortener.analytics.journal.journal import Journal
from shortener.analytics.model import START, Click, Observation, Position
from shortener.analytics.ports import ClickStore, CountClicks, ParseAgent
from shortener.links.model import LinkRef
from shortener.net.memo import Memo
from shortener.observe.log import OncePerSecond
from shortener.tasks import finish, lower_thread_priority
from shortener.tx import Transactions, Tx

_log = logging.getLogger(__name__)

# Decoding this many records takes about a millisecond; then the event loop may have Python's lock.
_RECORDS_AT_ONCE = 100
_SEEN_MAX = 2_000
_BACKOFF_SECONDS_MAX = 2.0

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Batch:
    """Clicks read from the journal, and the position behind them."""

    clicks: list[Click]
    position: Position
    lost_bytes: int
    lost_records: int


@dataclass(slots=True)
class CollectorStats:
    """What a collector has done since the start, for metrics."""

    batches: int = 0
    clicks: int = 0
    failures: int = 0  # attempts that were tried again
    lost_bytes: int = 0  # of the journal: torn by a crash, or damaged
    lost_records: int = 0  # whole, but written by another version
    last_batch_seconds: float = 0.0


class Moved(Exception):  # noqa: N818 - an answer, not an error
    """The stored position is not where the batch began."""


class ClickCollector:
    """Keeps the tables up to date with the journal. Open it with `open_collector`."""

    def __init__(
        self,
        *,
        journal: Journal,
        store: ClickStore,
        transactions: Transactions,
        count_clicks: CountClicks,
        parse_agent: ParseAgent,
        flush_seconds: float,
        batch_max: int,
    ) -> None:
        self.stats = CollectorStats()
        self._journal = journal
        self._store = store
        self._transactions = transactions
        self._count_clicks = count_clicks
        self._parse_agent = parse_agent
        self._flush_seconds = flush_seconds
        self._batch_max = batch_max
        self._position: Position | None = None
        self._is_sure = False  # whether the store would say the same
        self._tried = asyncio.Event()
        self._stopping = asyncio.Event()
        self._may_log = OncePerSecond()
        self._seen: Memo[bytes, Observation] = Memo(_SEEN_MAX)  # by all but which link and when
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="click-collector", initializer=lower_thread_priority)

    def backlog_bytes(self) -> int:
        """Return how much of the journal waits to be moved. Looks at the files: a few system calls."""
        position = self._position or START
        return self._journal.segments.bytes_after(position) if position < self._journal.end else 0

    async def catch_up(self) -> None:
        """Move all that has been flushed so far. Raises what the first failure raises."""
        end = self._journal.end
        while await self._position_now() < end:
            await self._move_batch()

    async def tried(self) -> None:
        """Return when what the last run left has been moved, or moving it has failed for the first time."""
        await self._tried.wait()

    async def run(self) -> None:
        """Collect until `stop`, and then what is left. To be run as a task. Failures are tried again for ever."""
        pause = 0.0
        while not (self._stopping.is_set() and self._position_is_end()):
            try:
                await self.catch_up()
                self._tried.set()
                pause = 0.0
            except Exception as error:  # noqa: BLE001 - whatever it was, the clicks are still in the journal
                pause = min(pause * 2 + 0.1, _BACKOFF_SECONDS_MAX)
                self._failed(error)
                self._tried.set()
            await self._sleep(pause)

    async def stop(self, task: asyncio.Task[None], *, timeout_seconds: float) -> None:
        """Move what is left and end the task; after `timeout_seconds` leave the rest to the next start."""
        self._journal.flush()
        self._stopping.set()
        try:
            await asyncio.wait({task}, timeout=timeout_seconds)
        finally:
            try:
                if not task.done():
                    task.cancel()
                    await finish(asyncio.wait({task}))
            finally:
                self.close()
        left = self.backlog_bytes()
        if left:
            _log.warning("%d bytes of clicks stay in the journal for the next start", left)
        if not task.cancelled():
            task.result()

    def close(self) -> None:
        """End the thread. Only needed where `run` was never made a task."""
        self._thread.shutdown(wait=True)

    def _position_is_end(self) -> bool:
        return self._is_sure and self._position is not None and self._position >= self._journal.end

    async def _sleep(self, pause: float) -> None:
        """Wait for the next round; when stopping, only for what fails."""
        if self._stopping.is_set():
            await asyncio.sleep(min(pause, 0.1))
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(pause or self._flush_seconds):
                await self._stopping.wait()

    async def _in_thread(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    async def _position_now(self) -> Position:
        if self._position is None or not self._is_sure:
            self._position = await self._store.position()
            self._is_sure = True
        return self._position

    async def _move_batch(self) -> None:
        started = time.monotonic()
        old = await self._position_now()
        end = self._journal.end
        batch = await self._in_thread(lambda: self._read(old, end))
        self._is_sure = False  # until it is known whether the transaction was committed
        await self._transactions(lambda tx: self._store_batch(tx, old, batch))
        self._position, self._is_sure = batch.position, True
        self.stats.batches += 1
        self.stats.clicks += len(batch.clicks)
        self.stats.lost_bytes += batch.lost_bytes
        self.stats.lost_records += batch.lost_records
        self.stats.last_batch_seconds = time.monotonic() - started
        if batch.position.segment > old.segment:
            await self._in_thread(lambda: self._journal.segments.forget(batch.position))

    def _store_batch(self, tx: Tx, old: Position, batch: Batch) -> None:
        if not self._store.advance(tx, old, batch.position):
            raise Moved
        if batch.clicks:
            counts = dict.fromkeys((click.ref for click in batch.clicks), 0)
            for click in batch.clicks:
                counts[click.ref] += self._store.is_counted(click)
            known = self._count_clicks(tx, counts)
            # What comes late for a link that is erased meanwhile must not bring anything of it back.
            self._store.append(tx, [click for click in batch.clicks if click.ref in known])

    def _read(self, position: Position, end: Position) -> Batch:
        piece = self._journal.segments.read(position, end, records_max=self._batch_max)
        lost_bytes = piece.lost_bytes
        while not piece.payloads and piece.position < end:  # The end of a segment.
            piece = self._journal.segments.read(piece.position, end, records_max=self._batch_max)
            lost_bytes += piece.lost_bytes
        clicks: list[Click] = []
        lost_records = 0
        for index, payload in enumerate(piece.payloads, 1):
            try:
                clicks.append(self._click(payload))
            except frames.Malformed as error:
                lost_records += 1
                _log.warning("click journal: a record of another version is skipped: %s", error)
            if index % _RECORDS_AT_ONCE == 0:
                time.sleep(0)
        return Batch(clicks, piece.position, lost_bytes, lost_records)

    def _click(self, payload: bytes) -> Click:
        link_id, at, rest = frames.which_and_when(payload)
        seen = self._seen.get(rest)
        if seen is None:
            seen = frames.decode(payload)
            self._seen.put(rest, seen)
        agent = self._parse_agent(seen.user_agent)
        ref = LinkRef(link_id, seen.ref.short_code)
        return Click(ref, at, seen.visitor, seen.country, seen.city, seen.referrer, agent.device, agent.bot)

    def _failed(self, error: Exception) -> None:
        self.stats.failures += 1
        if self._may_log():
            _log.warning("clicks wait in the journal, storing them failed: %s: %s", type(error).__name__, error)


@contextlib.asynccontextmanager
async def open_collector(
    collector: ClickCollector, *, replay_seconds: float, stop_seconds: float
) -> AsyncIterator[ClickCollector]:
    """Run a collector: first what the last run left, for `replay_seconds` at most; at the end, what is left then.

    After `replay_seconds`, or when the database fails, the rest is moved beside everything else. At the end, what
    cannot be moved within `stop_seconds` stays in the journal for the next start.
    """
    task = asyncio.create_task(collector.run(), name="click-collector")
    try:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(replay_seconds):
                await collector.tried()
        yield collector
    finally:
        await collector.stop(task, timeout_seconds=stop_seconds)
