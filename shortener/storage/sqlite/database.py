"""SQLite behind the `Database` port: one connection that writes, a few that read, a thread for each."""

import asyncio
import logging
import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import TypeVar

from shortener.config.sections import Storage
from shortener.observe.histogram import Gauge
from shortener.storage.data_dir import make_private_file
from shortener.storage.sqlite.connection import SqliteThread, open_thread, reader_pragmas, writer_pragmas
from shortener.storage.sqlite.readers import Readers
from shortener.storage.sqlite.writer import Writer
from shortener.tasks import finish, lower_thread_priority

T = TypeVar("T")
_log = logging.getLogger(__name__)


class SqliteDatabase:
    """One SQLite file: a writer that groups work into commits, and a pool of readers. Made by `open_database`.

    Bound to the event loop it was opened in.
    """

    def __init__(self, writer: Writer, readers: Readers) -> None:
        self.transaction = writer.transaction
        self.read = readers.read
        self.writer = writer
        self.readers = readers
        self._closing: asyncio.Task[None] | None = None

    def gauges(self) -> Iterator[Gauge]:
        """Yield what `/metrics` shows of reads and writes."""
        writes, reads = self.writer.stats, self.readers.stats
        yield "shortener_commits_total", "Commits.", {}, lambda: writes.commits
        yield "shortener_writes_total", "Units of work committed.", {}, lambda: writes.units
        yield "shortener_commit_seconds", "Transactions, by the time they took.", {}, writes.commit_seconds
        yield "shortener_commit_units", "Transactions, by writes in them.", {}, writes.commit_units
        yield "shortener_writes_failed_total", "Writes that failed.", {}, lambda: writes.units_failed
        yield "shortener_writes_waiting", "Units of work that wait.", {}, lambda: self.writer.depth
        yield "shortener_reads_total", "Database reads.", {}, lambda: reads.reads
        yield "shortener_read_seconds_total", "Time in reads.", {}, lambda: reads.read_seconds
        yield "shortener_reads_waiting", "Reads that wait.", {}, lambda: self.readers.depth

    async def close(self) -> None:
        """Refuse new work with `errors.Unavailable`, commit waiting work, interrupt reads. May be called again.

        The end of the `open_database` block does this too, and then closes the connections.
        """
        if self._closing is None:
            self.writer.refuse()
            self._closing = asyncio.create_task(self._close())
        await finish(self._closing)

    async def _close(self) -> None:
        await self.writer.close()
        await self.readers.close()


@asynccontextmanager
async def open_database(path: Path, settings: Storage) -> AsyncIterator[SqliteDatabase]:
    """Open the database file at `path`, made if missing, for as long as the block lasts.

    `readers` (at least one) connections read at once. At most `batch_max` units of work share a commit; `queue_max`
    units, and as many reads, may wait. Under load a commit waits up to `gather_seconds` for those who are likely to
    come. `busy_timeout_seconds` is how long another process's lock is waited for, `cache_bytes` the size of each
    connection's page cache.
    The end commits what waits, interrupts reads, empties the write-ahead log, and leaves no thread or task.
    Raises `OperatorError` when the file cannot be used.
    """
    make_private_file(path)
    threads: list[SqliteThread] = []
    try:
        # Opening goes on to its end when cancelled, so that the list holds all there is to close.
        await finish(_open_threads(threads, path, settings))
        writer = Writer(threads[0], settings)
        writer.start()
        database = SqliteDatabase(writer, Readers(threads[1:], queue_max=settings.queue_max))
        try:
            yield database
        finally:
            await database.close()
    finally:
        await finish(_close_threads(threads))


async def _open_threads(threads: list[SqliteThread], path: Path, settings: Storage) -> None:
    """Open the writer, then the readers."""
    timeout = settings.busy_timeout_seconds
    threads.append(await open_thread("sqlite-writer", path, writer_pragmas(settings.cache_bytes), timeout))
    # Reads, redirects and calls go before writes that nobody may be waiting for.
    await threads[0].run(lower_thread_priority)
    for number in range(1, settings.readers + 1):
        pragmas = reader_pragmas(settings.cache_bytes)
        threads.append(await open_thread(f"sqlite-reader-{number}", path, pragmas, timeout))


async def _close_threads(threads: list[SqliteThread]) -> None:
    """Close the readers, then the writer, which leaves nothing in the write-ahead log."""
    while len(threads) > 1:
        await threads.pop().close()
    if threads:
        await threads[0].run(partial(_checkpoint, threads[0].raw))
        await threads.pop().close()


def _checkpoint(raw: sqlite3.Connection) -> None:
    try:
        raw.execute("PRAGMA busy_timeout = 0")  # The end does not wait for a backup that reads: the log stays then.
        raw.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    except sqlite3.Error as error:
        _log.warning("the write-ahead log stays for the next start: %s", error)
