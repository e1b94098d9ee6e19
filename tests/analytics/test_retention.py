"""Old raw clicks go, what was counted stays: answers equal the naive model whose old clicks came at the full hour."""

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shortener.analytics import retention as retention_module
from shortener.analytics.model import Click
from shortener.analytics.periods import Span, TimeRange
from shortener.analytics.ports import ClickRemoval, ClickStore
from shortener.analytics.retention import ClickRetention
from shortener.analytics.sqlite.clicks import SqliteClickStore
from shortener.analytics.sqlite.removal import SqliteClickRemoval
from shortener.analytics.sqlite.stats import SqliteStatsReader
from shortener.storage.sqlite.database import SqliteDatabase
from shortener.storage.sqlite.sql import sql
from shortener.tasks import running
from shortener.tx import Transactions, Tx
from tests.analytics.sqlite.test_stats_properties import DAY, HOUR, Subject, batches, close_batches, moments, range_in
from tests.analytics.sqlite.test_stats_properties import subject as subject  # noqa: PLC0414 - a fixture: the service over a database
from tests.support.click_builders import NOW, a_click, a_visitor
from tests.support.click_fakes import AtomicTransactions, MemoryClickRemoval, MemoryClickStore, MemoryCounters
from tests.support.databases import migrate_file, opened, rows
from tests.support.fakes import FakeClock
from tests.support.naive_clicks import series_of, stats_of
from tests.support.waiting import until


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[SqliteDatabase]:
    migrate_file(tmp_path / "test.db")
    async with opened(tmp_path / "test.db") as opened_database:
        yield opened_database


class Stores(NamedTuple):
    clicks: ClickStore
    removal: ClickRemoval
    transactions: Transactions

    async def append(self, *clicks: Click) -> list[int]:
        return await self.transactions(lambda tx: self.clicks.append(tx, clicks))

    async def old(self, horizon: int) -> list[int]:
        """All clicks that are found to be old, asked for as the retention does, but without removing any."""
        found: list[int] = []
        after, is_last = 0, False
        while not is_last:
            old = await self.removal.find_old(horizon, after)
            found += old.ids
            after, is_last = old.after, old.is_last
        return sorted(found)


@pytest.fixture(params=["memory", "sqlite"])
async def stores(request: pytest.FixtureRequest, database: SqliteDatabase) -> Stores:
    if request.param == "sqlite":
        clicks = SqliteClickStore(count_bots=True, values_max=1000)
        return Stores(clicks, SqliteClickRemoval(database), database.transaction)
    memory = MemoryClickStore()
    return Stores(memory, MemoryClickRemoval(memory), AtomicTransactions(memory, MemoryCounters()))


async def test_old_clicks_are_found_and_removed(stores: Stores) -> None:
    await stores.append(a_click(3, at=NOW), a_click(3, at=NOW - 1), a_click(7, at=NOW - 5), a_click(7, at=NOW + 5))

    assert await stores.old(NOW) == [2, 3]
    assert await stores.transactions(lambda tx: stores.removal.remove(tx, [2, 3, 99])) == 2
    assert await stores.old(NOW) == []
    assert await stores.old(NOW + 1) == [1]


async def test_a_store_without_clicks_has_no_old_ones(stores: Stores) -> None:
    assert await stores.old(NOW) == []


async def test_the_horizon_never_goes_back(stores: Stores) -> None:
    assert await stores.removal.removed_before() == 0
    for moved, expected in ((NOW, NOW), (NOW - 1, NOW), (NOW + 1, NOW + 1)):
        await stores.transactions(lambda tx, to=moved: stores.removal.move_horizon(tx, to))  # type: ignore[misc] # mypy cannot infer a default
        assert await stores.removal.removed_before() == expected


async def test_a_look_takes_in_a_bounded_part(database: SqliteDatabase, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shortener.analytics.sqlite.removal._LINKS_MAX", 2)
    monkeypatch.setattr("shortener.analytics.sqlite.removal._CLICKS_MAX", 3)
    clicks, removal = SqliteClickStore(count_bots=True, values_max=1000), SqliteClickRemoval(database)
    clock = FakeClock(NOW)
    kept = [a_click(link, at=NOW - DAY) for link in range(1, 8)]
    old = [a_click(link, at=NOW - 2 * DAY - HOUR) for link in range(1, 8) for _ in range(link)]
    await database.transaction(lambda tx: clicks.append(tx, kept + old))
    retention = ClickRetention(removal=removal, transactions=database.transaction, clock=clock, days=2)

    await retention.remove_old()

    assert retention.stats.removed == len(old) == 28
    assert await rows(database, "SELECT DISTINCT clicked_at FROM clicks") == [(NOW - DAY,)]


class Aged(NamedTuple):
    """A store with clicks of link 1 in three hours of which the first two are removed."""

    reader: SqliteStatsReader
    retention: ClickRetention
    store: SqliteClickStore
    clock: FakeClock


FIRST = NOW - 3 * DAY  # a full hour


@pytest.fixture
async def aged(database: SqliteDatabase) -> Aged:
    store, clock = (
        SqliteClickStore(count_bots=True, values_max=1000),
        FakeClock(FIRST + DAY + 2 * HOUR + 1800),
    )
    clicks = [a_click(at=FIRST + minute * 60, visitor=a_visitor(minute)) for minute in range(0, 180, 10)]
    await database.transaction(lambda tx: store.append(tx, clicks))
    removal = SqliteClickRemoval(database)
    retention = ClickRetention(removal=removal, transactions=database.transaction, clock=clock, days=1)
    await retention.remove_old()
    return Aged(SqliteStatsReader(database), retention, store, clock)


@pytest.mark.parametrize(
    ("start", "end", "clicks"),
    [
        (0, 180, 18),
        (0, 60, 6),
        (60, 180, 12),
        (30, 180, 12),  # The hour in which a range begins is left out,
        (0, 90, 12),  # and the hour in which it ends is counted as a whole.
        (30, 90, 6),
        (10, 50, 0),
        (0, 1, 6),
        (60, 150, 9),  # From the horizon on, ranges are exact to the second.
        (125, 180, 5),
    ],
)
async def test_ragged_edges_in_removed_hours(aged: Aged, start: int, end: int, clicks: int) -> None:
    within = TimeRange(FIRST + start * 60, FIRST + end * 60)
    tally = await aged.reader.tally(1, within)
    points = await aged.reader.series(1, within, Span.HOUR)

    assert (tally.clicks, tally.unique_visitors) == (clicks, clicks)
    assert (sum(p.clicks for p in points), sum(p.unique_visitors for p in points)) == (clicks, clicks)


async def test_only_whole_old_hours_are_removed(aged: Aged, database: SqliteDatabase) -> None:
    assert await rows(database, "SELECT removed_before FROM click_retention") == [(FIRST + 2 * HOUR,)]
    assert await rows(database, "SELECT MIN(clicked_at), COUNT(*) FROM clicks") == [(FIRST + 2 * HOUR, 6)]
    assert (aged.retention.stats.removed, aged.retention.stats.horizon) == (12, FIRST + 2 * HOUR)


async def test_a_late_click_is_counted_and_removed_by_the_next_pass(aged: Aged, database: SqliteDatabase) -> None:
    late = a_click(at=FIRST + 600, visitor=a_visitor(99))
    assert await database.transaction(lambda tx: aged.store.append(tx, [late])) == [19]
    expected = (19, 19)

    for within in (TimeRange(), TimeRange(FIRST, FIRST + DAY)):
        tally = await aged.reader.tally(1, within)
        assert (tally.clicks, tally.unique_visitors) == expected
    # Its event lies there still, but no answer may see it twice or in parts.
    assert (await aged.reader.tally(1, TimeRange(FIRST, FIRST + 300))).clicks == 7
    await aged.retention.remove_old()
    assert await rows(database, "SELECT COUNT(*) FROM clicks") == [(6,)]
    assert (await aged.reader.tally(1, TimeRange())).clicks == 19


async def test_a_clock_set_back_brings_nothing_back(aged: Aged, database: SqliteDatabase) -> None:
    aged.clock.tick(-10 * DAY)
    await aged.retention.remove_old()
    assert await rows(database, "SELECT removed_before FROM click_retention") == [(FIRST + 2 * HOUR,)]
    assert (await aged.reader.tally(1, TimeRange(FIRST, FIRST + 90 * 60))).clicks == 12


async def test_the_task_removes_and_ends(database: SqliteDatabase) -> None:
    store = SqliteClickStore(count_bots=True, values_max=1000)
    await database.transaction(lambda tx: store.append(tx, [a_click(at=NOW - DAY - HOUR), a_click()]))
    removal = SqliteClickRemoval(database)
    retention = ClickRetention(removal=removal, transactions=database.transaction, clock=FakeClock(NOW), days=1)
    async with running("click-retention", retention.run()):
        await until(lambda: bool(retention.stats.removed))
    assert await rows(database, "SELECT clicked_at FROM clicks") == [(NOW,)]


@pytest.mark.units_run_once
async def test_what_fails_is_tried_again(database: SqliteDatabase, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention_module, "_LOOK_SECONDS", 0.001)
    store = SqliteClickStore(count_bots=True, values_max=1000)
    await database.transaction(lambda tx: store.append(tx, [a_click(at=NOW - DAY - HOUR)]))

    class Failing(SqliteClickRemoval):
        failures = 2

        def remove(self, tx: Tx, ids: object) -> int:
            if self.failures:
                self.failures -= 1
                raise OSError("no")
            return super().remove(tx, ids)  # type: ignore[arg-type] # passed on as it came

    retention = ClickRetention(
        removal=Failing(database), transactions=database.transaction, clock=FakeClock(NOW), days=1
    )
    async with running("click-retention", retention.run()):
        await until(lambda: bool(retention.stats.removed))
    assert retention.stats.failures == 2
    assert await rows(database, "SELECT * FROM clicks") == []


def aged_clicks(clicks: list[Click], horizon: int) -> list[Click]:
    """The model: each click before the horizon came at its full hour."""
    return [replace(click, at=click.at - click.at % HOUR) if click.at < horizon else click for click in clicks]


def remove_before(subject: Subject, horizon: int) -> None:
    """Remove what is old; the horizon of the example before does not count."""
    removal = SqliteClickRemoval(subject.database)

    async def remove() -> None:
        await subject.database.transaction(lambda tx: sql(tx).run("UPDATE click_retention SET removed_before = 0"))
        clock = FakeClock(horizon + DAY)
        await ClickRetention(
            removal=removal, transactions=subject.database.transaction, clock=clock, days=1
        ).remove_old()

    subject.runner.run(remove())


@given(st.one_of(batches, close_batches), moments, st.sampled_from(["", "hour", "day", "week"]), st.data())
@settings(max_examples=150, deadline=None)
def test_answers_equal_the_naive_model(
    subject: Subject, batches: list[list[Click]], near: int, granularity: str, data: st.DataObject
) -> None:
    times = [click.at for batch in batches for click in batch] or [near]
    horizon = data.draw(st.one_of(st.just(near), st.sampled_from(times))) // HOUR * HOUR
    code, counted = subject.filled(batches, created_at=1, count_bots=True)
    remove_before(subject, horizon)
    counted = aged_clicks(counted, horizon)
    start, end = range_in(counted, data.draw)

    if not granularity:
        found = subject.runner.run(subject.services[True].stats(code, start, end))
        assert found == stats_of(code, counted, start, end)
        return
    start = start or 1
    end = min(end or start, start + 300 * HOUR)
    points = subject.runner.run(subject.services[True].time_series(code, start, end, granularity))
    assert points == series_of(counted, start, end, granularity, created_at=1, now=1)


def test_the_naive_model_would_notice(subject: Subject) -> None:
    """Where the horizon is not told, answers about removed hours are wrong: the test above can fail."""
    click = a_click(at=NOW + 5)
    code, _ = subject.filled([[click]], created_at=1, count_bots=True)
    remove_before(subject, NOW + HOUR)
    assert subject.runner.run(subject.services[True].stats(code, NOW, NOW + 10)).total_clicks == 1
    subject.runner.run(
        subject.database.transaction(lambda tx: sql(tx).run("UPDATE click_retention SET removed_before = 0"))
    )
    assert subject.runner.run(subject.services[True].stats(code, NOW, NOW + 10)).total_clicks == 0
