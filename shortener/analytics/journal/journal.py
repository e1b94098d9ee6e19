"""The click journal: what the kernel has before an answer leaves, it keeps through kill -9.

`add` collects the clicks of one turn of the event loop, `flush` hands them to the kernel with one write. A task of the
journal's own brings them to the disk, a moment later (durability "kernel") or at once for all that wait in `settled`
("power"). A write that fails costs the clicks in it, never a redirect: they are counted as dropped, and the next flush
tries anew.
"""

import asyncio
import contextlib
import errno
import time
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Literal, TypeAlias

from shortener.analytics.journal.segments import Segments
from shortener.analytics.journal.writer import SegmentWriter
from shortener.analytics.model import Position
from shortener.errors import OperatorError
from shortener.tasks import finish

_FORGETTING = 0.95
"""After each sync, that much remains of what slower ones before it have taken: a tenth after 45 of them."""
_NO_SPACE = {errno.ENOSPC, errno.EDQUOT}

Durability: TypeAlias = Literal["kernel", "power"]


class Journal:
    """The open journal. Open it with `open_journal`; used on the event loop alone (`segments` on any thread)."""

    def __init__(self, writer: SegmentWriter, *, durability: Durability, sync_seconds: float) -> None:
        self.segments = writer.segments
        self._writer = writer
        self._durability = durability
        self._sync_seconds = sync_seconds
        self._slow_sync_seconds = 0.25 * sync_seconds  # until there was one
        self._waiting: list[asyncio.Future[None]] = []
        self._closing = asyncio.Event()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="journal-sync")

    @property
    def end(self) -> Position:
        """Where the flushed clicks end."""
        return self._writer.end

    @property
    def records(self) -> int:
        """Clicks handed to the kernel since the start."""
        return self._writer.records

    @property
    def dropped(self) -> int:
        """Clicks lost since the start because a write failed."""
        return self._writer.dropped

    @property
    def sync_failures(self) -> int:
        """How often the disk has refused to confirm since the start."""
        return self._writer.sync_failures

    def add(self, payload: bytes) -> None:
        """Take one click; it is in the kernel after the next `flush`."""
        self._writer.add(payload)

    def flush(self) -> None:
        """Hand all that was added to the kernel with one write. Never raises."""
        self._writer.flush()

    async def settled(self) -> None:
        """Return when all that was flushed is as durable as configured: with "kernel", at once."""
        if self._durability == "kernel" or self._closing.is_set():
            return
        done = asyncio.get_running_loop().create_future()
        self._waiting.append(done)
        self._writer.wake()
        await done

    async def run(self) -> None:
        """Sync until `close`. To be run as a task by whoever opens the journal."""
        try:
            while not self._closing.is_set():
                await self._writer.wait_dirty()
                due = time.monotonic()
                if self._durability == "kernel":
                    due = await self._wait_for_more()
                await self._sync(due)
        finally:
            self._closing.set()
            self._release(self._waiting)

    async def close(self, task: asyncio.Task[None]) -> None:
        """Flush, end the task that runs `run`, and sync what is left."""
        self._writer.flush()
        self._closing.set()
        self._writer.wake()
        try:
            await task
            await self._sync(time.monotonic())
        finally:
            self._thread.shutdown(wait=True)  # Idle, unless this was cancelled.
            self._writer.close()

    async def _wait_for_more(self) -> float:
        """Wait for as long as the oldest click will be on the disk in time all the same; return until when.

        The next sync may take as long as slow ones of late, and a quarter of the time is left for one that is slower.
        """
        now = time.monotonic()
        due = max(now, self._writer.dirty_since + 0.75 * self._sync_seconds - self._slow_sync_seconds)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(due - now):
                await self._closing.wait()
        return due

    async def _sync(self, due: float) -> None:
        """Bring all that was flushed to the disk, and learn how long that takes from when it was due."""
        waiting, self._waiting = self._waiting, []
        unsynced = self._writer.take_unsynced()
        try:
            if not unsynced.is_empty:
                await asyncio.get_running_loop().run_in_executor(self._thread, unsynced.sync)
        except OSError as error:
            self._writer.sync_failed(error)
        finally:
            self._slow_sync_seconds = max(time.monotonic() - due, self._slow_sync_seconds * _FORGETTING)
            self._release(waiting)

    def _release(self, waiting: list[asyncio.Future[None]]) -> None:
        for done in waiting:
            if not done.done():
                done.set_result(None)


@contextlib.asynccontextmanager
async def open_journal(
    directory: Path, *, after: Position, segment_size_max: int, durability: Durability, sync_seconds: float
) -> AsyncIterator[Journal]:
    """Open the journal in `directory` (made where missing, mode 0700) with a fresh segment, and close it at the end.

    `after` is how far the clicks have been moved already (`ClickStore.position`); what lies before it is deleted.
    A fresh segment each time means that nothing is ever appended to what a crash may have torn.
    Raises `OperatorError`.
    """
    writer = _prepare(directory, after, segment_size_max)
    journal = Journal(writer, durability=durability, sync_seconds=sync_seconds)
    task = asyncio.create_task(journal.run(), name="journal-sync")
    try:
        yield journal
    finally:
        await finish(journal.close(task))


def _prepare(directory: Path, after: Position, segment_size_max: int) -> SegmentWriter:
    segments = Segments(directory)
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        segments.forget(after)
        number = max([after.segment, *segments.numbers()]) + 1
    except OSError as error:
        raise _unusable(directory, error) from None
    writer = SegmentWriter(segments, number, segment_size_max=segment_size_max)
    try:
        writer.open_segment()
    except OSError as error:
        if error.errno not in _NO_SPACE:  # A full disk must not keep redirects from being served.
            raise _unusable(directory, error) from None
    return writer


def _unusable(directory: Path, error: OSError) -> OperatorError:
    return OperatorError(f"cannot use click journal {directory}: {error.strerror}")
