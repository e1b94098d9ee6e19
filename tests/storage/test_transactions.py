import asyncio
import random
import sqlite3
import threading
from pathlib import Path

import pytest

from shortener import errors
from shortener.storage.database import UniqueViolation, sql
from shortener.storage.sqlite import SqliteDatabase
from shortener.tx import Tx
from tests.storage.databases import add, adding, notes_database, opening, texts


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
    while database.waiting_writes < count:  # noqa: ASYNC110 - the callers only need their turn
        await asyncio.sleep(0)


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


async def test_units_that_wait_together_share_one_commit(database: SqliteDatabase) -> None:
    commits = database.writer_stats.commits
    gate = Gate(database)
    await gate.entered()
    units = [asyncio.create_task(database.transaction(adding(f"n{i}"))) for i in range(64)]
    await let_all_queue(database, 64)
    gate.go.set()
    assert await asyncio.gather(gate.task, *units) == [1] * 65
    assert database.writer_stats.commits - commits == 2
    assert len(await texts(database)) == 65


async def test_64_callers_in_a_row_need_at_most_one_commit_for_eight_units(tmp_path: Path) -> None:
    async with notes_database(tmp_path / "many.db", gather_seconds=0.01) as database:

        async def caller(name: int) -> None:
            for i in range(20):
                await database.transaction(adding(f"{name} {i}"))
                for _ in range(name % 7):  # They come back at different times.
                    await asyncio.sleep(0)

        await asyncio.gather(*(caller(name) for name in range(64)))
        stats = database.writer_stats
        assert stats.units == 64 * 20 + 1
        assert stats.commits <= stats.units / 8
        assert len(await texts(database)) == 64 * 20


async def test_a_lone_caller_never_waits_for_company(tmp_path: Path) -> None:
    async with notes_database(tmp_path / "lone.db", gather_seconds=3600) as database:
        for i in range(20):
            await database.transaction(adding(f"n{i}"))
        assert database.writer_stats.commits == 21


async def test_company_that_does_not_come_is_not_waited_for_longer_than_configured(tmp_path: Path) -> None:
    async with notes_database(tmp_path / "gone.db", gather_seconds=0.001) as database:
        await asyncio.gather(*(database.transaction(adding(f"n{i}")) for i in range(5)))
        await database.transaction(adding("alone"))
        assert database.writer_stats.commits == 3


async def test_a_batch_holds_no_more_units_than_configured(tmp_path: Path) -> None:
    async with notes_database(tmp_path / "small.db", batch_max=10) as database:
        await asyncio.gather(*(database.transaction(adding(f"n{i}")) for i in range(35)))
        assert database.writer_stats.commits == 1 + 4


async def test_a_failing_unit_undoes_itself_alone(database: SqliteDatabase) -> None:
    def bad(tx: Tx) -> None:
        add(tx, "bad")
        raise LookupError("no")

    units = [database.transaction(adding(f"n{i}")) for i in range(5)]
    results = await asyncio.gather(*units[:2], database.transaction(bad), *units[2:], return_exceptions=True)
    assert [type(result) for result in results] == [int, int, LookupError, int, int, int]
    assert await texts(database) == ["n0", "n1", "n2", "n3", "n4"]
    assert (database.writer_stats.commits, database.writer_stats.units_failed) == (2, 1)


async def test_a_lone_failing_unit_is_undone_without_a_commit(database: SqliteDatabase) -> None:
    def bad(tx: Tx) -> None:
        add(tx, "bad")
        raise LookupError("no")

    with pytest.raises(LookupError):
        await database.transaction(bad)
    assert await texts(database) == []
    assert database.writer_stats.commits == 1


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


async def test_a_caller_cancelled_before_its_unit_starts_leaves_nothing(database: SqliteDatabase) -> None:
    gate = Gate(database)
    await gate.entered()
    called: list[str] = []

    def never(tx: Tx) -> None:
        called.append("x")
        add(tx, "never")

    unit = asyncio.create_task(database.transaction(never))
    await let_all_queue(database, 1)
    unit.cancel()
    with pytest.raises(asyncio.CancelledError):
        await unit
    assert database.waiting_writes == 0
    gate.go.set()
    await gate.task
    assert (await texts(database), called) == (["gate"], [])


async def test_a_caller_cancelled_while_its_unit_runs_changes_nothing_but_its_own_answer(
    database: SqliteDatabase,
) -> None:
    called: list[str] = []
    gate = Gate(database)
    gate.task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await gate.task  # Cancelled before it began.

    entered, go = threading.Event(), threading.Event()

    def work(tx: Tx) -> None:
        tx.on_commit(lambda: called.append("committed"))
        entered.set()
        assert go.wait(10)
        add(tx, "kept")

    task = asyncio.create_task(database.transaction(work))
    assert await asyncio.to_thread(entered.wait, 10)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    go.set()
    await database.transaction(adding("later"))
    assert (await texts(database), called) == (["kept", "later"], ["committed"])


async def test_a_storm_of_cancellations_loses_no_acknowledged_write_and_breaks_nothing(
    database: SqliteDatabase,
) -> None:
    dice = random.Random(5)
    acknowledged: set[str] = set()
    committed: list[str] = []

    def work(tx: Tx, text: str) -> str:
        tx.on_commit(lambda: committed.append(text))
        add(tx, text)
        if text.endswith("7"):
            raise LookupError(text)
        return text

    async def caller(name: int) -> None:
        acknowledged.add(await database.transaction(lambda tx: work(tx, f"n{name}")))

    async def stormy(name: int) -> None:
        task = asyncio.create_task(caller(name))
        for _ in range(dice.randrange(12)):
            await asyncio.sleep(0)
        if dice.random() < 0.6:
            task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    for start in range(0, 800, 100):
        await asyncio.gather(*(stormy(name) for name in range(start, start + 100)))
    await database.transaction(adding("afterwards"))
    stored = set(await texts(database)) - {"afterwards"}
    assert acknowledged <= stored
    assert sorted(committed) == sorted(stored)
    assert 100 < len(acknowledged) < 800
    assert not any(text.endswith("7") for text in stored)
    assert database.writer_stats.units == len(stored) + 2


async def test_too_many_waiting_units_are_refused(tmp_path: Path) -> None:
    async with notes_database(tmp_path / "full.db", queue_max=3) as database:
        gate = Gate(database)
        await gate.entered()
        waiting = [asyncio.create_task(database.transaction(adding(f"n{i}"))) for i in range(3)]
        await let_all_queue(database, 3)
        with pytest.raises(errors.Exhausted) as caught:
            await database.transaction(adding("refused"))
        assert (caught.value.message, caught.value.overload) == ("too many writes are waiting", True)
        gate.go.set()
        await asyncio.gather(gate.task, *waiting)
        assert await texts(database) == ["gate", "n0", "n1", "n2"]


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


async def test_the_end_commits_what_waits_and_refuses_what_comes(tmp_path: Path) -> None:
    async with notes_database(tmp_path / "end.db") as database:
        gate = Gate(database)
        await gate.entered()
        waiting = [asyncio.create_task(database.transaction(adding(f"n{i}"))) for i in range(50)]
        await let_all_queue(database, 50)
        closing = asyncio.create_task(database.close())
        await asyncio.sleep(0)
        with pytest.raises(errors.Unavailable):
            await database.transaction(adding("refused"))
        gate.go.set()
        assert await asyncio.gather(gate.task, *waiting) == [1] * 51
        await closing
        await database.close()  # Once more does no harm.
        with pytest.raises(errors.Unavailable):
            await texts(database)
    with pytest.raises(errors.Unavailable):
        await database.transaction(adding("refused"))
    async with opening(tmp_path / "end.db") as again:
        assert len(await texts(again)) == 51


async def test_a_cancelled_close_still_closes(tmp_path: Path) -> None:
    async with notes_database(tmp_path / "end.db") as database:
        gate = Gate(database)
        await gate.entered()
        closing = asyncio.create_task(database.close())
        await asyncio.sleep(0)
        closing.cancel()
        gate.go.set()
        with pytest.raises(asyncio.CancelledError):
            await closing
        assert gate.task.done()
        with pytest.raises(errors.Unavailable):
            await texts(database)


async def test_a_writer_whose_task_is_cancelled_answers_everybody(tmp_path: Path) -> None:
    async with notes_database(tmp_path / "end.db") as database:
        gate = Gate(database)
        await gate.entered()
        waiting = asyncio.create_task(database.transaction(adding("waiting")))
        await let_all_queue(database, 1)
        (writer,) = [task for task in asyncio.all_tasks() if task.get_name() == "sqlite-writer"]
        writer.cancel()
        gate.go.set()
        assert await gate.task == 1
        with pytest.raises(errors.Unavailable):
            await waiting
        assert await texts(database) == ["gate"]
