"""The collector: every flushed click reaches the tables once, whatever fails in between."""

import asyncio
import contextlib
import logging
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from pathlib import Path

import pytest

from shortener import errors
from shortener.analytics import collector as collector_module
from shortener.analytics.collector import ClickCollector, open_collector
from shortener.analytics.journal import records as frames
from shortener.analytics.journal.journal import Journal, open_journal
from shortener.analytics.model import Click, Observation, Place, Position
from shortener.analytics.sqlite.clicks import SqliteClickStore, SqliteLogProgress
from shortener.config.sections import Clicks
from shortener.links.model import LinkRef
from shortener.storage.sqlite.database import SqliteDatabase
from shortener.storage.sqlite.sql import sql
from shortener.tx import Tx
from tests.support.click_builders import GOOGLEBOT, an_observation
from tests.support.click_fakes import AtomicTransactions, MemoryClickStore, MemoryCounters, parse_agent
from tests.support.databases import migrate_file, opened, rows
from tests.support.waiting import until


def encoded(seen: Observation) -> bytes:
    client = frames.encode_client(seen.visitor, Place(seen.country, seen.city))
    return frames.encode(seen.ref, seen.at, client, seen.referrer.encode(), seen.user_agent)


def as_click(seen: Observation) -> Click:
    agent = parse_agent(seen.user_agent)
    return Click(seen.ref, seen.at, seen.visitor, seen.country, seen.city, seen.referrer, agent.device, agent.bot)


class Rig:
    """A journal and a collector over a memory store, as often as a test starts them."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.store = MemoryClickStore()
        self.counters = MemoryCounters()
        self.transactions = AtomicTransactions(self.store, self.counters)
        self.batch_max = 100
        self.written: list[Observation] = []

    def journal(self) -> AbstractAsyncContextManager[Journal]:
        settings = Clicks(segment_size_max=2000, sync_seconds=0.001)
        return open_journal(self.path / "journal", settings, after=self.store.moved)

    def put(self, journal: Journal, count: int, *, flush: bool = True) -> None:
        for _ in range(count):
            self.written.append(an_observation(len(self.written)))
            journal.add(encoded(self.written[-1]))
        if flush:
            journal.flush()

    def collector(self, journal: Journal) -> ClickCollector:
        return ClickCollector(
            log=journal,
            progress=self.store,
            store=self.store,
            transactions=self.transactions,
            count_clicks=self.counters,
            parse_agent=parse_agent,
            settings=Clicks(flush_seconds=0.001, batch_max=self.batch_max),
        )

    async def running(self, stack: AsyncExitStack, *, stop_seconds: float = 10.0) -> tuple[Journal, ClickCollector]:
        journal = await stack.enter_async_context(self.journal())
        collector = self.collector(journal)
        await stack.enter_async_context(open_collector(collector, stop_seconds=stop_seconds))
        return journal, collector

    def has_everything_once(self) -> bool:
        return (
            self.store.clicks == [as_click(seen) for seen in self.written]
            and Counter(seen.ref for seen in self.written) == self.counters.counts
        )


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    return Rig(tmp_path)


async def test_flushed_clicks_are_moved_in_order(rig: Rig) -> None:
    async with AsyncExitStack() as stack:
        journal, collector = await rig.running(stack)
        for _ in range(5):
            rig.put(journal, 10)
            await until(rig.has_everything_once)

        assert collector.backlog_bytes() == 0
        assert (collector.stats.clicks, collector.stats.failures, collector.stats.lost_bytes) == (50, 0, 0)


async def test_batches_are_of_limited_size(rig: Rig) -> None:
    rig.batch_max = 7
    async with rig.journal() as journal:
        rig.put(journal, 20)
        collector = rig.collector(journal)
        waiting = collector.backlog_bytes()
        await collector.catch_up()
        collector.close()

        assert waiting == journal.end.offset
        assert collector.backlog_bytes() == 0
        assert (collector.stats.batches, collector.stats.clicks) == (3, 20)
        assert rig.has_everything_once()


async def test_stopping_moves_all_that_was_flushed_and_added(rig: Rig) -> None:
    async with AsyncExitStack() as stack:
        journal, _ = await rig.running(stack)
        rig.put(journal, 500)
        rig.put(journal, 3, flush=False)

    assert rig.has_everything_once()


async def test_what_a_crash_left_is_moved_before_the_start_is_over(rig: Rig) -> None:
    async with rig.journal() as journal:
        rig.put(journal, 250)
    async with AsyncExitStack() as stack:
        await rig.running(stack)

        assert rig.has_everything_once()


async def test_consumed_segments_are_deleted(rig: Rig) -> None:
    async with AsyncExitStack() as stack:
        journal, _ = await rig.running(stack)
        for _ in range(10):
            rig.put(journal, 10)
        await until(rig.has_everything_once)
        await until(lambda: journal.segments.numbers() == [journal.end.segment])


FAULTS = [errors.Exhausted("disk full", overload=True), errors.Unavailable("busy"), RuntimeError("a bug")]


@pytest.mark.parametrize("fault", FAULTS)
async def test_a_failed_transaction_is_tried_again(rig: Rig, fault: Exception) -> None:
    async with AsyncExitStack() as stack:
        journal, collector = await rig.running(stack)
        rig.transactions.faults = [fault]
        rig.put(journal, 10)
        await until(rig.has_everything_once)

        assert collector.stats.failures == 1


async def test_a_commit_whose_answer_was_lost_is_not_done_twice(rig: Rig) -> None:
    async with AsyncExitStack() as stack:
        journal, _ = await rig.running(stack)
        rig.transactions.faults = [("after", OSError("input/output error"))]
        rig.put(journal, 10)
        await until(lambda: not rig.transactions.faults)
        rig.put(journal, 10)

    assert rig.has_everything_once()


async def test_another_mover_is_noticed(rig: Rig) -> None:
    """Should the stored position change behind its back, nothing is moved twice."""
    async with rig.journal() as journal:
        first, second = rig.collector(journal), rig.collector(journal)
        rig.put(journal, 10)
        await first.catch_up()
        rig.put(journal, 5)
        await second.catch_up()
        with pytest.raises(collector_module.Moved):
            await first.catch_up()
        await first.catch_up()
        first.close()
        second.close()

    assert rig.has_everything_once()


async def test_failures_are_logged_once_a_second(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    async with rig.journal() as journal:
        collector = rig.collector(journal)
        rig.transactions.faults = [errors.Exhausted("disk full")] * 2
        rig.put(journal, 10)
        async with open_collector(collector, stop_seconds=10.0):
            await until(rig.has_everything_once)

    assert collector.stats.failures == 2
    warnings = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert warnings == ["clicks wait in the journal, storing them failed: Exhausted: disk full"]


async def test_a_database_that_stays_broken_does_not_hold_up_start_or_stop(
    rig: Rig, caplog: pytest.LogCaptureFixture
) -> None:
    async with rig.journal() as journal:
        rig.put(journal, 10)
    rig.transactions.faults = [errors.Exhausted("disk full")] * 1000
    async with AsyncExitStack() as stack:
        _, collector = await rig.running(stack, stop_seconds=0.05)
        waiting = collector.backlog_bytes()

    assert waiting > 0
    assert f"{waiting} bytes of clicks stay in the log for the next start" in caplog.text
    rig.transactions.faults = []
    async with AsyncExitStack() as stack:
        await rig.running(stack)
    assert rig.has_everything_once()


async def test_a_cancelled_stop_leaves_nothing_running(rig: Rig) -> None:
    rig.transactions.faults = [errors.Unavailable("busy")] * 1000
    tasks = asyncio.all_tasks()

    async def serve() -> None:
        async with AsyncExitStack() as stack:
            journal, _ = await rig.running(stack)
            rig.put(journal, 10)

    task = asyncio.create_task(serve())
    await until(lambda: len(rig.transactions.faults) < 990 or bool(rig.written))
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert asyncio.all_tasks() == tasks

    rig.transactions.faults = []
    async with AsyncExitStack() as stack:
        await rig.running(stack)
    assert rig.has_everything_once()


async def test_records_of_another_version_are_passed_and_counted(rig: Rig) -> None:
    async with rig.journal() as journal:
        journal.add(b"\x63 of the future")
        rig.put(journal, 2)
        collector = rig.collector(journal)
        await collector.catch_up()
        collector.close()

    assert rig.has_everything_once()
    assert collector.stats.lost_records == 1


async def test_a_torn_tail_is_passed_and_counted(rig: Rig) -> None:
    async with rig.journal() as journal:
        rig.put(journal, 3)
    file = journal.segments.path(1)
    file.write_bytes(file.read_bytes()[:-1])
    torn = rig.written.pop()
    async with rig.journal() as journal:
        rig.put(journal, 3)
        collector = rig.collector(journal)
        await collector.catch_up()
        collector.close()

    assert rig.has_everything_once()
    assert collector.stats.lost_bytes == len(frames.frame(encoded(torn))) - 1


async def test_bots_that_are_not_counted_do_not_reach_the_links(rig: Rig) -> None:
    rig.store = MemoryClickStore(count_bots=False)
    rig.transactions = AtomicTransactions(rig.store, rig.counters)
    async with AsyncExitStack() as stack:
        journal, _ = await rig.running(stack)
        for agent in ("Mozilla/5.0", GOOGLEBOT):
            journal.add(encoded(an_observation()._replace(user_agent=agent)))

    assert [click.bot for click in rig.store.clicks] == [False, True]
    assert list(rig.counters.counts.values()) == [1]


async def test_clicks_of_links_that_are_gone_are_passed_over(rig: Rig) -> None:
    gone = an_observation(0).ref
    rig.counters.gone.add(gone)
    async with AsyncExitStack() as stack:
        journal, _ = await rig.running(stack)
        for number in range(6):
            journal.add(encoded(an_observation(number)))

    kept = [an_observation(number) for number in range(6) if an_observation(number).ref != gone]
    assert len(kept) == 4
    assert [(click.ref, click.at) for click in rig.store.clicks] == [(seen.ref, seen.at) for seen in kept]
    assert rig.counters.counts == Counter(seen.ref for seen in kept)


class Tables:
    """The real tables, with a counter that writes in the same transaction."""

    def __init__(self, database: SqliteDatabase) -> None:
        self.database = database
        self.store = SqliteClickStore(count_bots=True, values_max=1000)
        self.progress = SqliteLogProgress(database)

    def count(self, tx: Tx, counts: Mapping[LinkRef, int]) -> Mapping[LinkRef, int]:
        statement = "UPDATE links SET clicks = clicks + ? WHERE id = ?"
        sql(tx).run_many(statement, [(number, ref.id) for ref, number in counts.items()])
        return counts

    async def add_links(self, count: int) -> None:
        statement = (
            "INSERT INTO links (short_code, destination, owner_id, created_at, updated_at, expires_at, is_alias) "
            "VALUES (?, 'https://example.com', '1', 0, 0, 0, 0)"
        )
        codes = [(f"code{number}",) for number in range(1, count + 1)]
        await self.database.transaction(lambda tx: sql(tx).run_many(statement, codes))

    def collector(self, journal: Journal, *, batch_max: int = 50) -> ClickCollector:
        return ClickCollector(
            log=journal,
            progress=self.progress,
            store=self.store,
            transactions=self.database.transaction,
            count_clicks=self.count,
            parse_agent=parse_agent,
            settings=Clicks(flush_seconds=0.001, batch_max=batch_max, replay_seconds=1.0),
        )

    async def totals(self) -> dict[str, object]:
        """Return the same number counted in six ways."""
        statements = {
            "events": "SELECT COUNT(*) FROM clicks",
            "times": "SELECT COUNT(DISTINCT clicked_at) FROM clicks",
            "links": "SELECT SUM(clicks) FROM links",
            **{
                f"rolled up by {span}": "SELECT SUM(clicks) FROM click_rollups "
                f"WHERE span = '{span}' AND dimension = 'device'"
                for span in "hdm"
            },
        }
        return {name: (await rows(self.database, statement))[0][0] for name, statement in statements.items()}


async def journal_at(stack: AsyncExitStack, path: Path, after: Position) -> Journal:
    return await stack.enter_async_context(
        open_journal(path, Clicks(segment_size_max=5000, sync_seconds=0.01), after=after)
    )


async def test_on_a_full_disk_clicks_wait_and_are_counted_once(tmp_path: Path) -> None:
    migrate_file(tmp_path / "test.db")
    async with AsyncExitStack() as stack:
        tables = Tables(await stack.enter_async_context(opened(tmp_path / "test.db")))
        await tables.add_links(3)
        [(pages,)] = await rows(tables.database, "PRAGMA page_count")

        async def limit(pages: int) -> None:
            await tables.database.transaction(lambda tx: sql(tx).rows(f"PRAGMA max_page_count = {pages}"))

        await limit(int(str(pages)))
        journal = await journal_at(stack, tmp_path / "journal", await tables.progress.position())
        collector = tables.collector(journal)
        await stack.enter_async_context(open_collector(collector, stop_seconds=10.0))
        for number in range(3000):
            seen = an_observation(number)._replace(referrer=f"https://{number}.example")
            journal.add(encoded(seen))
        journal.flush()
        await until(lambda: collector.stats.failures >= 2)
        await limit(1 << 30)
        await until(lambda: collector.stats.clicks == 3000)

        assert set((await tables.totals()).values()) == {3000}


async def test_cancelling_in_the_middle_of_a_transaction_loses_and_doubles_nothing(tmp_path: Path) -> None:
    migrate_file(tmp_path / "test.db")
    async with AsyncExitStack() as stack:
        tables = Tables(await stack.enter_async_context(opened(tmp_path / "test.db")))
        await tables.add_links(3)
        journal = await journal_at(stack, tmp_path / "journal", await tables.progress.position())
        for number in range(1000):
            journal.add(encoded(an_observation(number)))
        journal.flush()
        for turn in range(60):
            collector = tables.collector(journal, batch_max=20)
            task = asyncio.create_task(collector.catch_up())
            for _ in range(turn):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.wait({task})
            collector.close()
        last = tables.collector(journal)
        with contextlib.suppress(collector_module.Moved):  # The last one cancelled may still have been committing.
            await last.catch_up()
        await last.catch_up()
        last.close()

        assert set((await tables.totals()).values()) == {1000}


# Writes clicks with rising times, tells how many the kernel has, and collects them all the while.
CLICK_FOR_EVER = """
import asyncio, sys
from pathlib import Path
from tests.support.click_builders import an_observation
from tests.support.databases import opened
from tests.analytics.test_collector import Tables, encoded
from shortener.analytics.collector import open_collector
from shortener.analytics.journal.journal import open_journal
from shortener.config.sections import Clicks

async def main(path, number):
    async with opened(path / "test.db") as database:
        tables = Tables(database)
        settings = Clicks(segment_size_max=20_000, sync_seconds=0.01)
        async with open_journal(path / "journal", settings, after=await tables.progress.position()) as journal:
            collector = tables.collector(journal, batch_max=30)
            async with open_collector(collector, stop_seconds=10):
                while True:
                    for _ in range(7):
                        journal.add(encoded(an_observation(number)))
                        number += 1
                    journal.flush()
                    print(number, collector.stats.clicks, flush=True)
                    await asyncio.sleep(0.001)

asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2])))
"""


def test_kill_9_while_collecting_counts_every_click_once(tmp_path: Path) -> None:
    """Three lives, each killed in the middle; the last one also while it replays what the others left."""

    async def prepare() -> None:
        async with opened(tmp_path / "test.db") as database:
            await Tables(database).add_links(3)

    async def finish() -> dict[str, object]:
        async with AsyncExitStack() as stack:
            tables = Tables(await stack.enter_async_context(opened(tmp_path / "test.db")))
            journal = await journal_at(stack, tmp_path / "journal", await tables.progress.position())
            collector = tables.collector(journal)
            await collector.catch_up()
            collector.close()
            return await tables.totals()

    migrate_file(tmp_path / "test.db")
    asyncio.run(prepare())
    written = 0
    for collected_at_least in (300, 200, 1):
        written = killed_after(tmp_path, written, collected_at_least)
    totals = asyncio.run(finish())

    # Up to one group may have been flushed without being told; the next life began with the same numbers again,
    # and so the distinct times show that nothing is missing.
    assert written <= int(str(totals["times"])) <= written + 7
    assert len({number for name, number in totals.items() if name != "times"}) == 1
    assert int(str(totals["times"])) <= int(str(totals["events"])) <= int(str(totals["times"])) + 3 * 7


def killed_after(path: Path, number: int, collected_at_least: int) -> int:
    """Run one life from `number` on, kill it, and return how far the kernel had its clicks."""
    process = subprocess.Popen(
        [sys.executable, "-c", CLICK_FOR_EVER, str(path), str(number)],
        cwd=Path(__file__).parents[2],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    collected = 0
    while collected < collected_at_least:
        number, collected = map(int, process.stdout.readline().split())
    process.kill()
    for line in process.stdout:
        if line.endswith("\n"):
            number = int(line.split()[0])
    process.wait()
    process.stdout.close()
    return number
