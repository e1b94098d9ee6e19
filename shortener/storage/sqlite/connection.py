"""SQLite connections, each with the thread that alone uses it, lent by aiosqlite."""

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
# How often a cancelled errand is interrupted: an interrupt between two statements is lost.
INTERRUPT_SECONDS = 0.01
# The WAL file is cut back to this after a checkpoint, should a long read have made it grow.
_WAL_BYTES_KEPT = 64 << 20

_COMMON = ("PRAGMA foreign_keys = ON", "PRAGMA temp_store = MEMORY", "PRAGMA trusted_schema = OFF")


def writer_pragmas(cache_bytes: int) -> tuple[str, ...]:
    """Return the settings of the one connection that writes and checkpoints."""
    return (
        *_COMMON,
        f"PRAGMA cache_size = -{cache_bytes // 1024}",
        "PRAGMA secure_delete = ON",  # what is deleted is overwritten: some builds of SQLite have it off
        "PRAGMA synchronous = FULL",  # NORMAL loses acknowledged rows at a power cut
        f"PRAGMA journal_size_limit = {_WAL_BYTES_KEPT}",
        "PRAGMA wal_checkpoint(TRUNCATE)",  # what a killed process left behind
    )


def reader_pragmas(cache_bytes: int) -> tuple[str, ...]:
    """Return the settings of a connection that never writes nor checkpoints: SQLite before 3.51.3 wants that."""
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

    async def run(self, errand: Callable[[], None], interrupt: Callable[[], None] | None = None) -> None:
        """Run `errand`, which keeps its own outcome and raises nothing, on the thread; return when it has ended.

        A cancellation is raised only then; until then `interrupt` is called again and again.
        """
        try:
            await self._hop(errand)
        except asyncio.CancelledError:
            await self._settled(interrupt)
            raise

    async def close(self) -> None:
        """Close the connection and end the thread."""
        await self._connection.close()
        self._thread.join()  # It has answered already and only has to return.

    async def _hop(self, errand: Callable[[], None]) -> None:
        # aiosqlite has no public call for a whole unit of work: pyproject.toml pins 0.22, and tests cover this line.
        await self._connection._execute(errand)  # type: ignore[no-untyped-call] # a private part without types

    async def _settled(self, interrupt: Callable[[], None] | None) -> None:
        """Wait until the thread has ended what it was doing, come what may."""
        behind = asyncio.create_task(self._hop(_nothing))  # The thread works in order of arrival.
        while not behind.done():
            if interrupt is not None:
                interrupt()
            try:
                await asyncio.wait({behind}, timeout=None if interrupt is None else INTERRUPT_SECONDS)
            except asyncio.CancelledError:
                continue  # `run` raises the first one when this is over.
        behind.result()


async def open_thread(name: str, path: Path, pragmas: tuple[str, ...], busy_timeout_seconds: float) -> SqliteThread:
    """Open the database at `path` (it must exist) on a thread called `name`. Raises `OperatorError`."""
    connector = _Connector(name, path, pragmas, busy_timeout_seconds)
    connection = aiosqlite.Connection(connector, iter_chunk_size=64)
    await connection
    assert connector.raw is not None
    assert connector.thread is not None
    opened = SqliteThread(connection, connector.raw, connector.thread)
    if connector.error is not None:
        await opened.close()
        raise connector.error
    return opened


class _Connector:
    """Opens the connection on aiosqlite's thread, and remembers both."""

    def __init__(self, name: str, path: Path, pragmas: tuple[str, ...], busy_timeout_seconds: float) -> None:
        self.raw: sqlite3.Connection | None = None
        self.thread: threading.Thread | None = None
        self.error: OperatorError | None = None
        self._name = name
        self._path = path
        self._pragmas = pragmas
        self._busy_timeout_seconds = busy_timeout_seconds

    def __call__(self) -> sqlite3.Connection:
        self.thread = threading.current_thread()
        self.thread.name = self._name
        try:
            self.raw = connect(self._path, self._pragmas, self._busy_timeout_seconds)
            use_wal(self._path, self.raw)
        except OperatorError as error:
            # aiosqlite does not wait for its thread when a connector raises; so it gets something to close.
            self.error = error
            self.raw = self.raw or sqlite3.connect(":memory:")
        return self.raw


def connect(path: Path, pragmas: tuple[str, ...], busy_timeout_seconds: float) -> sqlite3.Connection:
    """Open an existing database file, with explicit transactions. Raises `OperatorError`."""
    if not os.access(path, os.R_OK | os.W_OK, effective_ids=True):
        # SQLite itself would open it read-only without a word.
        raise OperatorError(f"cannot use database {path}: it is not readable and writable")
    try:
        raw = sqlite3.connect(
            f"{path.absolute().as_uri()}?mode=rw",
            uri=True,
            timeout=busy_timeout_seconds,
            isolation_level=None,
            cached_statements=_STATEMENTS_KEPT,
        )
    except sqlite3.Error as error:
        raise unusable(path, error) from error
    try:
        for pragma in pragmas:
            raw.execute(pragma).fetchall()
        raw.execute("SELECT count(*) FROM sqlite_schema").fetchall()  # A damaged file shows itself here.
    except sqlite3.Error as error:
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


def _nothing() -> None:
    """Do nothing: the errand that shows that all earlier ones have ended."""
