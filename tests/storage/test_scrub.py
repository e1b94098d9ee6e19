"""What was deleted leaves no byte in any file of the database, and nothing else changes."""

import asyncio
import random
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shortener.storage.sqlite.database import SqliteDatabase
from shortener.storage.sqlite.scrub import unused
from shortener.storage.sqlite.sql import SqlTx, sql
from shortener.tx import Tx
from tests.support.storage_databases import notes_database, opening

SECRET = b"secret-of-somebody"
PAGE = 4096
LEAF, INSIDE_INDEX, OVERFLOW = 13, 2, 0


def page(kind: int, cells: int, content: int, fill: bytes = b"x") -> bytes:
    header = kind.to_bytes() + bytes(2) + cells.to_bytes(2) + (content % 65_536).to_bytes(2) + b"\0"
    return header + fill * (PAGE - len(header))


@pytest.mark.parametrize(
    ("content", "space"),
    [
        (page(LEAF, 10, 4000), (28, 4000)),
        (page(INSIDE_INDEX, 10, 4000), (32, 4000)),
        (page(LEAF, 0, PAGE), (8, PAGE)),
        (page(LEAF, 10, 4000, b"\0"), (0, 0)),
        (page(LEAF, 10, 28), (0, 0)),
        (page(LEAF, 10, 27), (0, 0)),
        (page(LEAF, 10, PAGE + 1), (0, 0)),
        (page(LEAF, 10, 0), (0, 0)),
        (page(LEAF, 65_535, PAGE), (0, 0)),
        (page(OVERFLOW, 10, 4000), (0, 0)),
        (page(1, 10, 4000), (0, 0)),
        (bytes(PAGE), (0, 0)),
    ],
)
def test_unused_space_is_between_the_list_of_cells_and_the_cells(content: bytes, space: tuple[int, int]) -> None:
    assert unused(content) == space


def churn(tx: Tx, dice: random.Random) -> None:
    """Make rows of two owners and let them grow, so that they move from page to page and leave copies."""
    on: SqlTx = sql(tx)
    on.run("CREATE TABLE things (id INTEGER PRIMARY KEY, owner TEXT, name TEXT UNIQUE, grows TEXT DEFAULT '') STRICT")
    for number in range(3000):
        owner = ("somebody", "other")[number % 2]
        name = f"{dice.getrandbits(40):x}-secret-of-{owner}{'-' * dice.choice((0, 50, 200, 3000 * (number % 50 == 0)))}"
        on.run("INSERT INTO things (owner, name) VALUES (?, ?)", (owner, name))
    for _ in range(6000):
        on.run("UPDATE things SET grows = grows || 'more' WHERE id = ?", (dice.randint(1, 3000),))


def forget(tx: Tx) -> None:
    sql(tx).run("UPDATE things SET name = NULL, grows = '' WHERE owner = 'somebody' AND id % 3")
    sql(tx).run("DELETE FROM things WHERE owner = 'somebody' AND name IS NOT NULL")


def bytes_of(path: Path) -> bytes:
    return b"".join(file.read_bytes() for file in path.parent.iterdir() if file.name.startswith(path.name))


async def all_rows(database: SqliteDatabase) -> list[tuple[object, ...]]:
    return list(await database.read(lambda on: on.rows("SELECT * FROM things ORDER BY id")))


@pytest.mark.parametrize("page_size", [512, 4096, 65_536])
async def test_nothing_is_left_and_nothing_else_is_lost(tmp_path: Path, page_size: int) -> None:
    path, dice = tmp_path / "test.db", random.Random(1)
    with closing(sqlite3.connect(path)) as raw:
        raw.execute(f"PRAGMA page_size = {page_size}")
        raw.execute("VACUUM")
    async with opening(path) as database:
        await database.transaction(lambda tx: churn(tx, dice))
        await database.transaction(forget)
        before = await all_rows(database)
        assert SECRET in bytes_of(path)

        await database.scrub()

        assert SECRET not in bytes_of(path)
        assert await all_rows(database) == before
        # The writer's own pages do not bring it back, wherever it writes next.
        await database.transaction(lambda tx: sql(tx).run("UPDATE things SET grows = grows || '+'"))
        assert SECRET not in bytes_of(path)
        assert await all_rows(database) == [(*row[:3], f"{row[3]}+") for row in before]
    assert SECRET not in bytes_of(path)
    with closing(sqlite3.connect(path)) as raw:
        assert raw.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert raw.execute("PRAGMA page_size").fetchall() == [(page_size,)]


async def test_a_database_with_pages_of_pointers_is_left_alone(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path, dice = tmp_path / "test.db", random.Random(1)
    with closing(sqlite3.connect(path)) as raw:
        raw.execute("PRAGMA auto_vacuum = FULL")
        raw.execute("VACUUM")
    async with opening(path) as database:
        await database.transaction(lambda tx: churn(tx, dice))
        await database.transaction(forget)
        await database.scrub()
        before = path.read_bytes()
        await database.scrub()
        assert path.read_bytes() == before
    assert SECRET in before
    assert {record.message for record in caplog.records} == {
        "the unused space of a database like this one is not overwritten: VACUUM does it"
    }
    with closing(sqlite3.connect(path)) as raw:
        assert raw.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


async def test_reads_and_writes_go_on_meanwhile(tmp_path: Path) -> None:
    path, dice = tmp_path / "test.db", random.Random(2)
    async with opening(path) as database:
        await database.transaction(lambda tx: churn(tx, dice))
        await database.transaction(forget)
        before = await all_rows(database)
        scrubbing = asyncio.create_task(database.scrub())
        written = 0
        while not scrubbing.done():
            number = dice.choice(before)[0]
            assert isinstance(number, int)
            update = "UPDATE things SET grows = grows || '+' WHERE id = ?"
            written += await database.transaction(lambda tx: sql(tx).run(update, (number,)))  # noqa: B023 - awaited
            assert len(await all_rows(database)) == len(before)
        await scrubbing
        assert written > 0
        assert sum(str(row[3]).count("+") for row in await all_rows(database)) == written
        await database.scrub()
        assert SECRET not in bytes_of(path)
    with closing(sqlite3.connect(path)) as raw:
        assert raw.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


async def test_it_waits_for_a_read_that_needs_the_log(tmp_path: Path) -> None:
    path = tmp_path / "test.db"
    async with notes_database(path) as database:
        with closing(sqlite3.connect(path, isolation_level=None)) as reader:
            await database.transaction(lambda tx: sql(tx).run("INSERT INTO notes (text) VALUES ('one')"))
            reader.execute("BEGIN")
            assert reader.execute("SELECT count(*) FROM notes").fetchone() == (1,)
            await database.transaction(lambda tx: sql(tx).run("INSERT INTO notes (text) VALUES ('two')"))
            scrubbing = asyncio.create_task(database.scrub())
            done, _ = await asyncio.wait({scrubbing}, timeout=0.2)
            assert not done
            await database.transaction(lambda tx: sql(tx).run("INSERT INTO notes (text) VALUES ('three')"))
            assert reader.execute("SELECT count(*) FROM notes").fetchone() == (1,)
            reader.execute("COMMIT")
            await asyncio.wait_for(scrubbing, 10)
        assert path.with_name("test.db-wal").stat().st_size == 0


async def test_it_can_be_cancelled_at_any_await(tmp_path: Path) -> None:
    path, dice = tmp_path / "test.db", random.Random(3)
    async with opening(path) as database:
        await database.transaction(lambda tx: churn(tx, dice))
        await database.transaction(forget)
        before = await all_rows(database)
        for pauses in range(12):
            scrubbing = asyncio.create_task(database.scrub())
            for _ in range(pauses):
                await asyncio.sleep(0.001)
            scrubbing.cancel()
            await asyncio.wait({scrubbing})
            assert await all_rows(database) == before
        await database.scrub()
        assert SECRET not in bytes_of(path)


@settings(max_examples=100)
@given(st.binary(min_size=512, max_size=512))
def test_no_page_makes_it_look_outside(content: bytes) -> None:
    start, end = unused(content)
    assert 0 <= start <= end <= len(content)
    assert start >= 8 or (start, end) == (0, 0)
