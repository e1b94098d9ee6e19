"""A migrated database, as the program opens it, and what its tables hold."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from pyroaring import BitMap

from shortener.config.sections import Storage
from shortener.storage.sqlite.database import SqliteDatabase, open_database
from shortener.storage.sqlite.migrate import load_migrations, migrate
from shortener.storage.sqlite.sql import Row


def migrate_file(path: Path) -> None:
    """Make the tables in the file at `path`."""
    migrate(path, load_migrations(), busy_timeout_seconds=5.0, clock=lambda: 1_800_000_000)


@asynccontextmanager
async def opened(path: Path) -> AsyncIterator[SqliteDatabase]:
    async with open_database(
        path,
        Storage(
            readers=1, batch_max=100, queue_max=1000, gather_seconds=0.0, busy_timeout_seconds=5.0, cache_bytes=1 << 20
        ),
    ) as database:
        yield database


async def rows(database: SqliteDatabase, statement: str) -> list[Row]:
    return await database.read(lambda on: on.rows(statement))


async def visitor_sets(database: SqliteDatabase) -> dict[tuple[object, object, object], tuple[object, set[bytes]]]:
    """Return, for each period, the stored number of visitors and their digests."""
    digests = dict(await rows(database, "SELECT id, digest FROM visitors"))
    stored = await rows(database, "SELECT link_id, span, period, visitors, members FROM visitor_sets")
    return {
        (link_id, span, period): (count, {digests[number] for number in BitMap.deserialize(members)})  # type: ignore[misc] # a blob of digests
        for link_id, span, period, count, members in stored
    }
