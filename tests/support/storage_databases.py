"""Databases for tests: small limits, one table called notes."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from pathlib import Path

from shortener.config.sections import Storage
from shortener.storage.sqlite.database import SqliteDatabase, open_database
from shortener.storage.sqlite.sql import SqlTx, sql
from shortener.tx import Tx

CREATE = "CREATE TABLE IF NOT EXISTS notes (id INTEGER PRIMARY KEY, text TEXT NOT NULL UNIQUE) STRICT"
ADD = "INSERT INTO notes (text) VALUES (?)"
# Counts for about as long as one cares to wait.
ENDLESS = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"


def opening(
    path: Path,
    *,
    readers: int = 2,
    batch_max: int = 100,
    queue_max: int = 1000,
    gather_seconds: float = 0.0,
    busy_timeout_seconds: float = 0.05,
) -> AbstractAsyncContextManager[SqliteDatabase]:
    return open_database(
        path,
        Storage(
            readers=readers,
            batch_max=batch_max,
            queue_max=queue_max,
            gather_seconds=gather_seconds,
            busy_timeout_seconds=busy_timeout_seconds,
            cache_bytes=1 << 20,
        ),
    )


@asynccontextmanager
async def notes_database(
    path: Path, *, readers: int = 2, batch_max: int = 100, queue_max: int = 1000, gather_seconds: float = 0.0
) -> AsyncIterator[SqliteDatabase]:
    limits = opening(path, readers=readers, batch_max=batch_max, queue_max=queue_max, gather_seconds=gather_seconds)
    async with limits as database:
        await database.transaction(lambda tx: sql(tx).run(CREATE))
        yield database


def add(tx: Tx, text: str) -> int:
    """Insert one note, and return how many rows that changed."""
    inside: SqlTx = sql(tx)
    return inside.run(ADD, (text,))


def adding(text: str) -> Callable[[Tx], int]:
    """Work that inserts one note."""
    return partial(add, text=text)


async def texts(database: SqliteDatabase) -> list[str]:
    rows = await database.read(lambda q: q.rows("SELECT text FROM notes ORDER BY text"))
    return [str(text) for (text,) in rows]


class Gate:
    """Work that stands still on the writer's thread until it is let go."""

    def __init__(self, database: SqliteDatabase) -> None:
        self._entered = threading.Event()
        self.go = threading.Event()
        self.task = asyncio.create_task(database.transaction(self._work))

    def _work(self, tx: Tx) -> int:
        self._entered.set()
        assert self.go.wait(10)
        return add(tx, "gate")

    async def entered(self) -> None:
        assert await asyncio.to_thread(self._entered.wait, 10)


async def let_all_queue(database: SqliteDatabase, count: int) -> None:
    while database.writer.depth < count:  # noqa: ASYNC110 - the callers only need their turn
        await asyncio.sleep(0)
