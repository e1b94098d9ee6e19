import asyncio
import resource
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from shortener import errors
from shortener.storage.sqlite.database import SqliteDatabase
from shortener.storage.sqlite.sql import sql
from shortener.tx import Tx
from tests.support.storage_databases import add, adding, notes_database, opening, texts

BIG = "x" * 20_000


async def limit_pages(database: SqliteDatabase, more: int) -> None:
    def work(tx: Tx) -> None:
        (pages,) = sql(tx).row("PRAGMA page_count") or (0,)
        assert isinstance(pages, int)
        sql(tx).rows(f"PRAGMA max_page_count = {pages + more}")

    await database.transaction(work)


async def test_a_full_disk_is_overload_and_later_writes_work(
    database: SqliteDatabase, caplog: pytest.LogCaptureFixture
) -> None:
    await database.transaction(adding("before"))
    await limit_pages(database, 2)
    with pytest.raises(errors.Exhausted) as caught:
        await database.transaction(adding(BIG))
    assert (str(caught.value), caught.value.overload) == ("disk full", True)
    assert [record.getMessage() for record in caplog.records] == ["the disk is full"]
    await database.transaction(adding("small"))
    await limit_pages(database, 1000)
    await database.transaction(adding(BIG))
    assert await texts(database) == ["before", "small", BIG]


async def test_nothing_is_acknowledged_that_a_full_disk_undid(database: SqliteDatabase) -> None:
    await limit_pages(database, 20)

    async def caller(i: int) -> str:
        text = f"{i} {'x' * 5000}"
        called: list[str] = []

        def work(tx: Tx) -> None:
            tx.on_commit(lambda: called.append(text))
            add(tx, text)

        try:
            await database.transaction(work)
        except errors.Exhausted:
            assert called == []
            return ""
        assert called == [text]
        return text

    answers = await asyncio.gather(*(caller(i) for i in range(30)))
    acknowledged = [text for text in answers if text]
    assert sorted(acknowledged) == await texts(database)
    assert len(acknowledged) < 30


async def test_a_failing_commit_fails_the_whole_batch_and_leaves_the_writer_clean(database: SqliteDatabase) -> None:
    """A deferred foreign key is checked by COMMIT alone."""

    def prepare(tx: Tx) -> None:
        sql(tx).run("CREATE TABLE parents (id INTEGER PRIMARY KEY) STRICT")
        sql(tx).run(
            "CREATE TABLE children (parent INTEGER REFERENCES parents (id) DEFERRABLE INITIALLY DEFERRED) STRICT"
        )

    await database.transaction(prepare)
    called: list[str] = []

    def good(tx: Tx) -> None:
        tx.on_commit(lambda: called.append("good"))
        add(tx, "good")

    def orphan(tx: Tx) -> None:
        tx.on_commit(lambda: called.append("orphan"))
        sql(tx).run("INSERT INTO children (parent) VALUES (7)")

    units = [database.transaction(good), database.transaction(orphan), database.transaction(adding("also"))]
    results = await asyncio.gather(*units, return_exceptions=True)
    assert [type(result) for result in results] == [sqlite3.IntegrityError] * 3
    assert (await texts(database), called) == ([], [])
    assert database.writer.stats.batches_failed == 1
    with pytest.raises(sqlite3.IntegrityError):
        await database.transaction(orphan)
    await database.transaction(good)
    assert (await texts(database), called) == (["good"], ["good"])


@contextmanager
def file_size_limit(size: int) -> Iterator[None]:
    """No file of this process may grow over `size` bytes: writes fail as on a broken disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


async def test_a_write_error_in_the_commit_fails_the_batch_and_later_writes_work(tmp_path: Path) -> None:
    file = tmp_path / "broken.db"
    async with notes_database(file) as database:
        await database.transaction(adding("before"))
        with file_size_limit((tmp_path / "broken.db-wal").stat().st_size + 10_000):
            units = [database.transaction(adding(f"{i} {BIG}")) for i in range(3)]
            results = await asyncio.gather(*units, return_exceptions=True)
        assert all(isinstance(result, sqlite3.OperationalError | errors.Exhausted) for result in results)
        assert await texts(database) == ["before"]
        await database.transaction(adding("later"))
    async with opening(file) as again:
        assert await texts(again) == ["before", "later"]
        assert await again.read(lambda q: q.row("PRAGMA integrity_check")) == ("ok",)
