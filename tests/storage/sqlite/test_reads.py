import asyncio
import random
import sqlite3
import threading
from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest

from shortener import errors
from shortener.storage.sqlite.connection import SqliteThread
from shortener.storage.sqlite.database import SqliteDatabase
from shortener.storage.sqlite.readers import _Read
from shortener.storage.sqlite.sql import Row, Sql
from shortener.tx import Tx
from tests.support.storage_databases import ENDLESS, add, adding, notes_database, texts

SHORT = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 500) SELECT count(*) FROM n"


class Held:
    """A query that stands still on its reader's thread until it is let go."""

    def __init__(self, database: SqliteDatabase, *, first: str = "SELECT 1", then: str = "SELECT 2") -> None:
        self._first, self._then = first, then
        self._entered = threading.Event()
        self.go = threading.Event()
        self.finished: list[str] = []
        self.task = asyncio.create_task(database.read(self._query))

    def _query(self, q: Sql) -> tuple[list[Row], list[Row]]:
        first = q.rows(self._first)
        self._entered.set()
        assert self.go.wait(10)
        second = q.rows(self._then)
        self.finished.append(self._then)
        return first, second

    async def entered(self) -> None:
        assert await asyncio.to_thread(self._entered.wait, 10)


async def test_a_read_sees_one_snapshot_whatever_is_committed_meanwhile(database: SqliteDatabase) -> None:
    await database.transaction(adding("before"))
    count = "SELECT count(*) FROM notes"
    held = Held(database, first=count, then=count)
    await held.entered()
    await database.transaction(adding("meanwhile"))
    held.go.set()
    assert await held.task == ([(1,)], [(1,)])
    assert await texts(database) == ["before", "meanwhile"]


def how_many(q: Sql, text: str) -> Row | None:
    return q.row("SELECT count(*) FROM notes WHERE text = ?", (text,))


async def test_every_task_reads_its_own_acknowledged_writes(database: SqliteDatabase) -> None:
    async def caller(name: int) -> None:
        for i in range(10):
            text = f"{name} {i}"
            await database.transaction(adding(text))
            assert await database.read(partial(how_many, text=text)) == (1,)

    await asyncio.gather(*(caller(name) for name in range(40)))


async def test_a_read_does_not_see_what_is_not_committed(database: SqliteDatabase) -> None:
    entered, go = threading.Event(), threading.Event()

    def work(tx: Tx) -> None:
        add(tx, "open")
        entered.set()
        assert go.wait(10)

    writing = asyncio.create_task(database.transaction(work))
    assert await asyncio.to_thread(entered.wait, 10)
    assert await texts(database) == []
    go.set()
    await writing
    assert await texts(database) == ["open"]


async def test_readers_cannot_write(database: SqliteDatabase) -> None:
    with pytest.raises(sqlite3.OperationalError, match="readonly"):
        await database.read(lambda q: q.run("INSERT INTO notes (text) VALUES ('x')"))
    assert await texts(database) == []


async def test_an_error_of_a_query_reaches_the_caller_and_harms_nobody_else(tmp_path: Path) -> None:
    async with notes_database(tmp_path / "one.db", readers=1) as database:
        with pytest.raises(sqlite3.OperationalError, match="no such table"):
            await database.read(lambda q: q.rows("SELECT x FROM nowhere"))
        with pytest.raises(RuntimeError, match="StopIteration"):
            await database.read(lambda _: next(iter(())))
        with pytest.raises(ZeroDivisionError):
            await database.read(lambda _: 1 / 0)
        assert await texts(database) == []


async def test_a_query_object_refuses_statements_after_its_end(database: SqliteDatabase) -> None:
    kept: list[Sql] = []
    await database.read(kept.append)
    with pytest.raises(RuntimeError, match="after the end of its transaction"):
        kept[0].rows("SELECT 1")


async def test_a_cancelled_read_is_interrupted_and_its_reader_serves_the_next(tmp_path: Path) -> None:
    async with notes_database(tmp_path / "one.db", readers=1) as database:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await database.read(lambda q: q.rows(ENDLESS))
        assert await texts(database) == []
        assert database.readers.stats.reads_interrupted == 1


@pytest.mark.parametrize("then", ["SELECT 2", ENDLESS])
async def test_a_read_cancelled_between_two_statements_does_not_begin_the_second(tmp_path: Path, then: str) -> None:
    async with notes_database(tmp_path / "one.db", readers=1) as database:
        held = Held(database, then=then)
        await held.entered()
        held.task.cancel()
        await asyncio.sleep(0)
        held.task.cancel()  # Impatience changes nothing.
        held.go.set()
        with pytest.raises(asyncio.CancelledError):
            await held.task
        assert await texts(database) == []
        assert held.finished == []


def test_an_interrupt_that_comes_too_late_does_not_touch_the_connection() -> None:
    interrupts: list[str] = []

    class Watched(sqlite3.Connection):
        def interrupt(self) -> None:
            interrupts.append("interrupted")

    with closing(sqlite3.connect(":memory:", isolation_level=None, factory=Watched)) as raw:
        read = _Read(raw, lambda _: read.interrupt())
        read.run()
        assert interrupts == ["interrupted"]
        read.interrupt()
        assert interrupts == ["interrupted"]
        assert not raw.in_transaction


async def test_a_reader_given_to_a_caller_who_is_cancelled_in_the_same_moment_is_passed_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with notes_database(tmp_path / "one.db", readers=1) as database:
        held = Held(database)
        await held.entered()
        waiting = asyncio.create_task(texts(database))
        while not database.readers.depth:  # noqa: ASYNC110 - the caller only needs its turn
            await asyncio.sleep(0)
        give = database.readers._give

        def give_and_cancel(thread: SqliteThread) -> None:
            give(thread)
            monkeypatch.undo()
            waiting.cancel()

        monkeypatch.setattr(database.readers, "_give", give_and_cancel)
        held.go.set()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        await held.task
        async with asyncio.timeout(10):
            assert await texts(database) == []


async def test_a_storm_of_cancelled_reads_never_hits_another_read(tmp_path: Path) -> None:
    dice = random.Random(7)
    async with notes_database(tmp_path / "storm.db", readers=2) as database:
        await database.transaction(adding("there"))

        loop = asyncio.get_running_loop()

        def query(q: Sql, cancel: Callable[[], object] = list, at: int = 99) -> list[Row]:
            for number in range(6):
                if number == at:
                    loop.call_soon_threadsafe(cancel)
                q.rows(SHORT)
            return q.rows("SELECT text FROM notes")

        async def stormy() -> None:
            task: asyncio.Task[object] | None = None
            at = dice.randrange(6)
            task = asyncio.create_task(database.read(lambda q: query(q, task.cancel, at)))  # type: ignore[union-attr] # set by then
            await asyncio.gather(task, return_exceptions=True)

        async def honest() -> None:
            assert await database.read(query) == [("there",)]

        for _ in range(5):
            calls = [*(stormy() for _ in range(60)), *(honest() for _ in range(60))]
            dice.shuffle(calls)
            await asyncio.gather(*calls)
        assert database.readers.depth == 0
        assert database.readers.stats.reads_interrupted > 100
        assert await asyncio.gather(*(texts(database) for _ in range(8))) == [["there"]] * 8


async def test_readers_are_lent_in_order_of_arrival(tmp_path: Path) -> None:
    async with notes_database(tmp_path / "one.db", readers=1) as database:
        held = Held(database)
        await held.entered()
        order: list[int] = []

        def note(number: int, _: Sql) -> None:
            order.append(number)

        waiting = [asyncio.create_task(database.read(partial(note, i))) for i in range(10)]
        while database.readers.depth < 10:  # noqa: ASYNC110 - the callers only need their turn
            await asyncio.sleep(0)
        waiting[3].cancel()
        held.go.set()
        await asyncio.gather(held.task, *waiting, return_exceptions=True)
        assert order == [0, 1, 2, 4, 5, 6, 7, 8, 9]


async def test_too_many_waiting_reads_are_refused(tmp_path: Path) -> None:
    async with notes_database(tmp_path / "one.db", readers=1, queue_max=2) as database:
        held = Held(database)
        await held.entered()
        waiting = [asyncio.create_task(texts(database)) for _ in range(2)]
        while database.readers.depth < 2:  # noqa: ASYNC110 - the callers only need their turn
            await asyncio.sleep(0)
        with pytest.raises(errors.Exhausted) as caught:
            await texts(database)
        assert (str(caught.value), caught.value.overload) == ("too many reads are waiting", True)
        held.go.set()
        assert await asyncio.gather(*waiting) == [[], []]
        await held.task


async def test_the_end_interrupts_reads_and_turns_away_those_who_wait(tmp_path: Path) -> None:
    async with notes_database(tmp_path / "one.db", readers=1) as database:
        endless = Held(database, then=ENDLESS)
        await endless.entered()
        endless.go.set()
        waiting = asyncio.create_task(texts(database))
        while not database.readers.depth:  # noqa: ASYNC110 - the caller only needs its turn
            await asyncio.sleep(0)
    results = await asyncio.gather(endless.task, waiting, return_exceptions=True)
    assert [type(result) for result in results] == [errors.Unavailable] * 2


async def test_a_write_does_not_wait_for_a_read(tmp_path: Path) -> None:
    async with notes_database(tmp_path / "one.db", readers=1) as database:
        held = Held(database, first="SELECT count(*) FROM notes")
        await held.entered()
        for i in range(5):
            await database.transaction(adding(f"{i}"))
        held.go.set()
        assert await held.task == ([(0,)], [(2,)])
