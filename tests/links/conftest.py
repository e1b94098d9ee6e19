"""A database with the table of links, and a cache over a store that can be slow."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from shortener.config.sections import Storage
from shortener.links.cache import MemoryLinkCache
from shortener.storage.sqlite.database import SqliteDatabase, open_database
from shortener.storage.sqlite.sql import sql
from tests.support.link_fakes import a_cache
from tests.support.slow_store import SlowStore, Timer, Writes

MIGRATIONS = Path(__file__).parents[2] / "migrations" / "sqlite"


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[SqliteDatabase]:
    opening = open_database(
        tmp_path / "test.db",
        Storage(
            readers=2, batch_max=100, queue_max=1000, gather_seconds=0, busy_timeout_seconds=1, cache_bytes=1 << 20
        ),
    )
    async with opening as opened:
        made = (MIGRATIONS / name for name in ("0001_links.sql", "0009_outbox.sql"))
        for statement in ";\n".join(path.read_text() for path in made).split(";\n"):
            if statement.strip():
                await opened.transaction(lambda tx, statement=statement: sql(tx).run(statement))  # type: ignore[misc] # mypy cannot infer lambdas with defaults
        yield opened


@pytest.fixture
def inner() -> SlowStore:
    store = SlowStore()
    store.slow = False
    return store


@pytest.fixture
def timer() -> Timer:
    return Timer()


@pytest.fixture
def cache(inner: SlowStore, timer: Timer) -> MemoryLinkCache:
    return a_cache(inner, timer, size_max=3, ttl_seconds=900, missing_size_max=3, missing_ttl_seconds=5)


@pytest.fixture
def writes(inner: SlowStore, cache: MemoryLinkCache) -> Writes:
    return Writes(inner, cache)
