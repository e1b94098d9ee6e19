import asyncio
from pathlib import Path

from shortener.storage.sqlite.database import SqliteDatabase
from tests.support.storage_databases import Gate, adding, let_all_queue, notes_database, texts


async def test_units_that_wait_together_share_one_commit(database: SqliteDatabase) -> None:
    commits = database.writer.stats.commits
    gate = Gate(database)
    await gate.entered()
    units = [asyncio.create_task(database.transaction(adding(f"n{i}"))) for i in range(64)]
    await let_all_queue(database, 64)
    gate.go.set()
    assert await asyncio.gather(gate.task, *units) == [1] * 65
    assert database.writer.stats.commits - commits == 2
    assert len(await texts(database)) == 65


async def test_64_callers_in_a_row_need_at_most_one_commit_for_eight_units(tmp_path: Path) -> None:
    async with notes_database(tmp_path / "many.db", gather_seconds=0.01) as database:

        async def caller(name: int) -> None:
            for i in range(20):
                await database.transaction(adding(f"{name} {i}"))
                for _ in range(name % 7):  # They come back at different times.
                    await asyncio.sleep(0)

        await asyncio.gather(*(caller(name) for name in range(64)))
        stats = database.writer.stats
        assert stats.units == 64 * 20 + 1
        assert stats.commits <= stats.units / 8
        assert len(await texts(database)) == 64 * 20


async def test_a_lone_caller_never_waits_for_company(tmp_path: Path) -> None:
    async with notes_database(tmp_path / "lone.db", gather_seconds=3600) as database:
        for i in range(20):
            await database.transaction(adding(f"n{i}"))
        assert database.writer.stats.commits == 21


async def test_company_that_does_not_come_is_not_waited_for_longer_than_configured(tmp_path: Path) -> None:
    async with notes_database(tmp_path / "gone.db", gather_seconds=0.001) as database:
        await asyncio.gather(*(database.transaction(adding(f"n{i}")) for i in range(5)))
        await database.transaction(adding("alone"))
        assert database.writer.stats.commits == 3


async def test_a_batch_holds_no_more_units_than_configured(tmp_path: Path) -> None:
    async with notes_database(tmp_path / "small.db", batch_max=10) as database:
        await asyncio.gather(*(database.transaction(adding(f"n{i}")) for i in range(35)))
        assert database.writer.stats.commits == 1 + 4
