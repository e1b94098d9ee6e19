import asyncio
import random
import threading
from pathlib import Path

import pytest

from shortener import errors
from shortener.storage.sqlite.database import SqliteDatabase
from shortener.tx import Tx
from tests.support.storage_databases import Gate, add, adding, let_all_queue, notes_database, opening, texts


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
    assert database.writer.depth == 0
    gate.go.set()
    await gate.task
    assert (await texts(database), called) == (["gate"], [])


async def test_a_caller_cancelled_in_the_moment_before_its_unit_starts_leaves_nothing(database: SqliteDatabase) -> None:
    called: list[str] = []

    def never(tx: Tx) -> None:
        called.append("x")
        add(tx, "never")

    unit = asyncio.create_task(database.transaction(never))
    await asyncio.sleep(0)
    unit.cancel()  # The writer has been woken already, and takes its turn before the caller.
    with pytest.raises(asyncio.CancelledError):
        await unit
    await database.transaction(adding("later"))
    assert (await texts(database), called) == (["later"], [])


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
    assert database.writer.stats.units == len(stored) + 2


async def test_too_many_waiting_units_are_refused(tmp_path: Path) -> None:
    async with notes_database(tmp_path / "full.db", queue_max=3) as database:
        gate = Gate(database)
        await gate.entered()
        waiting = [asyncio.create_task(database.transaction(adding(f"n{i}"))) for i in range(3)]
        await let_all_queue(database, 3)
        with pytest.raises(errors.Exhausted) as caught:
            await database.transaction(adding("refused"))
        assert (str(caught.value), caught.value.overload) == ("too many writes are waiting", True)
        gate.go.set()
        await asyncio.gather(gate.task, *waiting)
        assert await texts(database) == ["gate", "n0", "n1", "n2"]


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
