"""SQLite connections, each used by one thread of aiosqlite alone."""

import asyncio
import os
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path

import aiosqlite

from shortener.errors import OperatorError
from shortener.storage.sqlite.faults import unusable

# More than all statements of all stores, so that none is ever compiled twice on a connection.
_STATEMENTS_KEPT = 512
# How often a cancelled job is interrupted: an interrupt between two statements is lost.
INTERRUPT_SECONDS = 0.01
# The WAL file is truncated to this after a checkpoint if a long read has made it grow.
_WAL_BYTES_KEPT = 64 << 20

_COMMON = ("PRAGMA foreign_keys = ON", "PRAGMA temp_store = MEMORY", "PRAGMA trusted_schema = OFF")


def writer_pragmas(cache_bytes: int) -> tuple[str, ...]:
    """Return the settings of the one connection that writes and checkpoints."""
    return (
        *_COMMON,
        f"PRAGMA cache_size = -{cache_bytes // 1024}",
        "PRAGMA secure_delete = ON",  # overwrites deleted rows; some builds of SQLite have it off
        "PRAGMA synchronous = FULL",  # NORMAL loses acknowledged rows at a power cut
        f"PRAGMA journal_size_limit = {_WAL_BYTES_KEPT}",
        "PRAGMA wal_checkpoint(TRUNCATE)",  # a killed process leaves the log behind
    )


def reader_pragmas(cache_bytes: int) -> tuple[str, ...]:
    """Return the settings of a connection that neither writes nor checkpoints, as SQLite before 3.51.3 requires."""
    return (
        *_COMMON,
        f"PRAGMA cache_size = -{cache_bytes // 1024}",
        "PRAGMA wal_autocheckpoint = 0",
        "PRAGMA query_only = ON",
    )


class SqliteThread:
    """One SQLite connection on its own thread. `raw` is for functions that run there, and for `interrupt`."""

    def __init__(self, connection: aiosqlite.Connection, raw: sqlite3.Connection, thread: threading.Thread) -> None:
        self.raw = raw
        self._connection = connection
        self._thread = thread

    async def run(self, job: Callable[[], None], interrupt: Callable[[], None] | None = None) -> None:
        """Run `job` on the thread and return when it has ended. It raises nothing, and keeps its result itself.

        After a cancellation `interrupt` is called repeatedly until the job has ended; only then is it raised.
        """
        try:
            await self._submit(job)
        except asyncio.CancelledError:
            await self._wait_until_idle(interrupt)
            raise

    async def close(self) -> None:
        """Close the connection and end the thread."""
        await self._connection.close()
        self._thread.join()  # It has answered already and only has to return.

    async def _submit(self, job: Callable[[], None]) -> None:
        # aiosqlite has no public call for a whole unit of work: pyproject.toml pins 0.22, and tests cover this line.
        await self._connection._execute(job)  # type: ignore[no-untyped-call] # a private part without types

    async def _wait_until_idle(self, interrupt: Callable[[], None] | None) -> None:
        """Return once all jobs submitted until now have ended; cancellations do not shorten it."""
        last = asyncio.create_task(self._submit(lambda: None))  # Jobs run in order of arrival.
        while not last.done():
            if interrupt is not None:
                interrupt()
            try:
                await asyncio.wait({last}, timeout=None if interrupt is None else INTERRUPT_SECONDS)
            except asyncio.CancelledError:
                continue  # `run` raises the first one when this is over.
        last.result()


async def open_thread(name: str, path: Path, pragmas: tuple[str, ...], busy_timeout_seconds: float) -> SqliteThread:
    """Open the database at `path` (it must exist) on a thread called `name`. Raises `OperatorError`."""
    found: list[tuple[sqlite3.Connection, threading.Thread]] = []
    errors: list[OperatorError] = []

    def open_here() -> sqlite3.Connection:
        threading.current_thread().name = name
        raw = None
        try:
            raw = connect(path, pragmas, busy_timeout_seconds)
            use_wal(path, raw)
        except OperatorError as error:
            errors.append(error)
        # aiosqlite does not wait for its thread when this raises, so it always gets a connection to close.
        found.append((raw or sqlite3.connect(":memory:"), threading.current_thread()))
        return found[0][0]

    connection = aiosqlite.Connection(open_here, iter_chunk_size=64)
    await connection
    opened = SqliteThread(connection, *found[0])
    if errors:
        await opened.close()
        raise errors[0]
    return opened


def connect(path: Path, pragmas: tuple[str, ...], busy_timeout_seconds: float) -> sqlite3.Connection:
    """Open an existing database file, with explicit transactions. Raises `OperatorError`."""
    if not os.access(path, os.R_OK | os.W_OK, effective_ids=True):
        # SQLite itself would open it read-only without an error.
        raise OperatorError(f"cannot use database {path}: it is not readable and writable")
    raw = None
    try:
        raw = sqlite3.connect(
            f"{path.absolute().as_uri()}?mode=rw",
            uri=True,
            timeout=busy_timeout_seconds,
            isolation_level=None,
            cached_statements=_STATEMENTS_KEPT,
        )
        for pragma in pragmas:
            raw.execute(pragma).fetchall()
        raw.execute("SELECT count(*) FROM sqlite_schema").fetchall()  # Fails if the file is damaged.
    except sqlite3.Error as error:
        if raw is not None:
            raw.close()
        raise unusable(path, error) from error
    return raw


def use_wal(path: Path, raw: sqlite3.Connection) -> None:
    """Turn on write-ahead logging, which the file remembers. Raises `OperatorError`."""
    try:
        (mode,) = raw.execute("PRAGMA journal_mode = WAL").fetchone()
    except sqlite3.Error as error:
        raise unusable(path, error) from error
    if mode != "wal":
        raise OperatorError(f"cannot use database {path}: its file system does not support write-ahead logging")
