import asyncio
import contextlib
import sqlite3
import threading
from pathlib import Path

import pytest

from shortener import errors
from shortener.storage.sqlite.database import SqliteDatabase
from shortener.storage.sqlite.sql import UniqueViolation, sql
from shortener.tx import Tx
from tests.support.storage_databases import add, adding, texts


async def test_a_unit_of_work_returns_its_result_and_is_durable(database: SqliteDatabase, tmp_path: Path) -> None:
    assert await database.transaction(adding("one")) == 1
    other = sqlite3.connect(tmp_path / "test.db")
    assert other.execute("SELECT text FROM notes").fetchall() == [("one",)]
    other.close()


async def test_statements_give_rows_and_counts(database: SqliteDatabase) -> None:
    def work(tx: Tx) -> list[object]:
        inside = sql(tx)
        inside.run_many("INSERT INTO notes (text) VALUES (?)", [("a",), ("b",), ("c",)])
        return [
            inside.rows("INSERT INTO notes (text) VALUES ('d') RETURNING id, text"),
            inside.row("SELECT text FROM notes WHERE id = ?", (2,)),
            inside.row("SELECT text FROM notes WHERE id = 99"),
            inside.run("UPDATE notes SET text = text || '!' WHERE id < 3"),
            inside.run("INSERT INTO notes (text) VALUES ('c') ON CONFLICT DO NOTHING"),
            inside.run("CREATE TABLE other (x INTEGER) STRICT"),
        ]

    assert await database.transaction(work) == [[(4, "d")], ("b",), None, 2, 0, 0]
    assert await texts(database) == ["a!", "b!", "c", "d"]


async def test_a_failing_unit_undoes_itself_alone(database: SqliteDatabase) -> None:
    def bad(tx: Tx) -> None:
        add(tx, "bad")
        raise LookupError("no")

    units = [database.transaction(adding(f"n{i}")) for i in range(5)]
    results = await asyncio.gather(*units[:2], database.transaction(bad), *units[2:], return_exceptions=True)
    assert [type(result) for result in results] == [int, int, LookupError, int, int, int]
    assert await texts(database) == ["n0", "n1", "n2", "n3", "n4"]
    assert (database.writer.stats.commits, database.writer.stats.units_failed) == (2, 1)


async def test_a_lone_failing_unit_is_undone_without_a_commit(database: SqliteDatabase) -> None:
    def bad(tx: Tx) -> None:
        add(tx, "bad")
        raise LookupError("no")

    with pytest.raises(LookupError):
        await database.transaction(bad)
    assert await texts(database) == []
    assert database.writer.stats.commits == 1


@pytest.mark.parametrize("units", [1, 3])
async def test_stop_iteration_reaches_the_caller_as_an_error(database: SqliteDatabase, units: int) -> None:
    def bad(_: Tx) -> None:
        next(iter(()))

    results = await asyncio.gather(*(database.transaction(bad) for _ in range(units)), return_exceptions=True)
    assert [type(result) for result in results] == [RuntimeError] * units


async def test_a_unique_violation_names_its_column_and_can_be_caught_inside_the_work(database: SqliteDatabase) -> None:
    def work(tx: Tx) -> str:
        add(tx, "same")
        try:
            add(tx, "same")
        except UniqueViolation as error:
            return error.column
        return ""

    assert await database.transaction(work) == "notes.text"
    assert await texts(database) == ["same"]


async def test_a_duplicate_primary_key_and_a_duplicate_in_many_rows_are_unique_violations(
    database: SqliteDatabase,
) -> None:
    await database.transaction(lambda tx: sql(tx).run("INSERT INTO notes (id, text) VALUES (1, 'a')"))
    with pytest.raises(UniqueViolation, match=r"notes\.id"):
        await database.transaction(lambda tx: sql(tx).run("INSERT INTO notes (id, text) VALUES (1, 'b')"))
    with pytest.raises(UniqueViolation, match=r"notes\.text"):
        await database.transaction(lambda tx: sql(tx).run_many("INSERT INTO notes (text) VALUES (?)", [("b",), ("a",)]))
    assert await texts(database) == ["a"]


async def test_other_errors_of_the_engine_reach_the_caller_as_they_are(
    database: SqliteDatabase, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(sqlite3.IntegrityError, match="NOT NULL"):
        await database.transaction(lambda tx: sql(tx).run("INSERT INTO notes (text) VALUES (NULL)"))
    with pytest.raises(sqlite3.OperationalError, match="syntax"):
        await database.transaction(lambda tx: sql(tx).rows("SELEC 1"))
    assert [record.levelname for record in caplog.records] == ["ERROR", "ERROR"]


async def test_callbacks_run_on_the_loop_before_the_caller_resumes_and_only_for_work_that_is_kept(
    database: SqliteDatabase, caplog: pytest.LogCaptureFixture
) -> None:
    seen: list[str] = []
    loop_thread = threading.get_ident()

    def note(text: str) -> None:
        assert threading.get_ident() == loop_thread
        seen.append(text)

    def work(tx: Tx, text: str) -> None:
        tx.on_commit(lambda: note(f"{text} 1"))
        tx.on_commit(lambda: 1 / 0)  # type: ignore[arg-type] # a bad callback
        tx.on_commit(lambda: note(f"{text} 2"))
        add(tx, text)

    async def caller(text: str) -> None:
        await database.transaction(lambda tx: work(tx, text))
        seen.append(f"{text} resumed")

    await database.transaction(adding("b"))
    results = await asyncio.gather(caller("a"), caller("b"), caller("c"), return_exceptions=True)
    assert [type(result) for result in results] == [type(None), UniqueViolation, type(None)]
    assert seen == ["a 1", "a 2", "c 1", "c 2", "a resumed", "c resumed"]
    assert [record.getMessage() for record in caplog.records] == ["a callback after a commit failed"] * 2


async def test_a_lock_of_another_process_is_waited_for_and_then_unavailable(
    database: SqliteDatabase, tmp_path: Path
) -> None:
    other = sqlite3.connect(tmp_path / "test.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    writes = [database.transaction(adding(f"n{i}")) for i in range(3)]
    results = await asyncio.gather(*writes, return_exceptions=True)
    assert [type(result) for result in results] == [errors.Unavailable] * 3
    assert len({id(result) for result in results}) == 3
    other.execute("ROLLBACK")
    other.close()
    await database.transaction(adding("later"))
    assert await texts(database) == ["later"]


async def test_a_transaction_object_refuses_statements_after_its_end(database: SqliteDatabase) -> None:
    kept: list[Tx] = []
    await database.transaction(kept.append)
    with pytest.raises(RuntimeError, match="after the end of its transaction"):
        add(kept[0], "late")


async def test_nothing_is_written_after_the_engine_gave_up_the_transaction(database: SqliteDatabase) -> None:
    def work(tx: Tx) -> None:
        with contextlib.suppress(UniqueViolation):
            sql(tx).run("INSERT OR ROLLBACK INTO notes (text) VALUES ('a')")
        add(tx, "stray")

    await database.transaction(adding("a"))
    units = [database.transaction(adding("b")), database.transaction(work), database.transaction(adding("c"))]
    results = await asyncio.gather(*units, return_exceptions=True)
    assert [type(result) for result in results] == [RuntimeError] * 3
    assert await texts(database) == ["a"]


async def test_work_that_ends_its_transaction_itself_fails_with_its_whole_batch(database: SqliteDatabase) -> None:
    results = await asyncio.gather(
        database.transaction(adding("a")),
        database.transaction(lambda tx: sql(tx).run("ROLLBACK")),
        database.transaction(adding("b")),
        return_exceptions=True,
    )
    assert [type(result) for result in results] == [RuntimeError] * 3
    await database.transaction(adding("later"))
    assert await texts(database) == ["later"]
