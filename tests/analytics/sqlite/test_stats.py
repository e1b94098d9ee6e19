"""What the reader of statistics reads, and how; that it is right is tested in test_reports_properties."""

import datetime as dt
import re
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import TypeVar

import pytest

from shortener.analytics.model import Click
from shortener.analytics.periods import FOREVER, Span, TimeRange
from shortener.analytics.sqlite import stats as reports
from shortener.analytics.sqlite.clicks import SqliteClickStore
from shortener.analytics.sqlite.stats import SqliteStatsReader
from shortener.analytics.stats import (
    CityClicks,
    DeviceCounts,
    Places,
    Tally,
    TimePoint,
)
from shortener.storage.sqlite.database import SqliteDatabase
from shortener.storage.sqlite.sql import Sql, Value, sql
from shortener.tx import Tx
from tests.support.click_builders import a_click, a_visitor
from tests.support.databases import migrate_file, opened

T = TypeVar("T")
HOUR, DAY = 3_600, 86_400
EVER = TimeRange()


def at(text: str) -> int:
    return int(dt.datetime.fromisoformat(text).replace(tzinfo=dt.UTC).timestamp())


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[SqliteDatabase]:
    migrate_file(tmp_path / "test.db")
    async with opened(tmp_path / "test.db") as opened_database:
        yield opened_database


@pytest.fixture
def reader(database: SqliteDatabase) -> SqliteStatsReader:
    return SqliteStatsReader(database)


async def record(database: SqliteDatabase, *clicks: Click) -> None:
    store = SqliteClickStore(count_bots=True, values_max=1000)
    await database.transaction(lambda tx: store.append(tx, clicks))


async def run(database: SqliteDatabase, statement: str, *parameters: Value) -> None:
    def work(tx: Tx) -> int:
        return sql(tx).run(statement, parameters)

    await database.transaction(work)


async def test_a_link_without_clicks(reader: SqliteStatsReader, database: SqliteDatabase) -> None:
    await record(database, a_click(2))
    assert await reader.tally(1, EVER) == Tally(0, DeviceCounts(), {}, {})
    assert await reader.series(1, EVER, Span.WEEK) == []
    assert await reader.places(1, cities_max=10) == Places({}, [])
    assert await reader.first_hour(1) is None


async def test_links_do_not_mix(reader: SqliteStatsReader, database: SqliteDatabase) -> None:
    await record(database, a_click(1, city="Bonn"), a_click(2, country="AT", city="Wien"))
    day = at("2027-01-15")
    for within in (EVER, TimeRange(day + 1, day + DAY - 1)):
        assert await reader.tally(1, within) == Tally(1, DeviceCounts(desktop=1), {"DE": 1}, {"direct": 1})
    assert await reader.places(2, cities_max=10) == Places({"AT": 1}, [CityClicks("Wien", "AT", 1)])


@pytest.mark.parametrize(
    ("start", "end", "clicks"),
    [
        (0, FOREVER, 3),
        (1, FOREVER - 1, 3),
        (FOREVER - 1, FOREVER - 1, 0),
        (FOREVER - 2, FOREVER - 1, 0),
        (2, FOREVER, 2),
        (0, at("2599-12-31 23:59:59"), 2),
        (at("2599-12-31 23:59:59"), FOREVER - 1, 1),
    ],
)
async def test_extreme_ranges(
    reader: SqliteStatsReader, database: SqliteDatabase, start: int, end: int, clicks: int
) -> None:
    times = (1, at("2024-02-29"), at("2599-12-31 23:59:59"))
    await record(database, *(a_click(at=time, visitor=a_visitor(time)) for time in times))
    tally = await reader.tally(1, TimeRange(start, end))
    assert (tally.clicks, tally.unique_visitors) == (clicks, clicks)


async def test_extreme_ranges_of_a_series(reader: SqliteStatsReader, database: SqliteDatabase) -> None:
    await record(database, a_click(at=5), a_click(at=at("2024-02-29 01:00:01")))
    for within in (TimeRange(1, FOREVER - 1), EVER):
        assert await reader.series(1, within, Span.WEEK) == [
            TimePoint(-3 * DAY, 1, 1),
            TimePoint(at("2024-02-26"), 1, 1),
        ]
    assert await reader.series(1, TimeRange(FOREVER - 9, FOREVER - 1), Span.HOUR) == []


async def test_the_first_hour(reader: SqliteStatsReader, database: SqliteDatabase) -> None:
    await record(database, a_click(at=at("2024-02-29 12:59:59")), a_click(at=at("2024-02-29 13:00:00")))
    assert await reader.first_hour(1) == at("2024-02-29 12:00")


async def test_a_visitor_of_many_periods_is_one(reader: SqliteStatsReader, database: SqliteDatabase) -> None:
    months = [at(f"2024-{month:02}-28 23:30") for month in range(1, 13)]
    await record(database, *(a_click(at=time) for time in months))
    tally = await reader.tally(1, TimeRange(months[0], months[-1] + 1))
    assert (tally.clicks, tally.unique_visitors) == (12, 1)


async def test_whole_hours_are_never_counted_from_events(reader: SqliteStatsReader, database: SqliteDatabase) -> None:
    start, end = at("2024-01-30 22:30:00"), at("2024-04-02 03:15:00")
    inside = [start, *range(start - 1800 + HOUR, end - 900, 11 * HOUR), end - 1]
    await record(database, *(a_click(at=time, visitor=a_visitor(time)) for time in (start - 1, *inside, end)))
    await run(
        database, "DELETE FROM clicks WHERE clicked_at >= ? AND clicked_at < ?", start + 1800, at("2024-04-02 03:00")
    )
    tally = await reader.tally(1, TimeRange(start, end))
    assert (tally.clicks, tally.unique_visitors) == (len(inside), len(inside))
    for span in Span:
        points = await reader.series(1, TimeRange(start, end), span)
        assert sum(point.clicks for point in points) == len(inside)


class CountedReads:
    """A `SqliteDatabase` that counts its reads."""

    def __init__(self, database: SqliteDatabase) -> None:
        self.reads = 0
        self._database = database

    async def read(self, query: Callable[[Sql], T]) -> T:
        self.reads += 1
        return await self._database.read(query)

    async def transaction(self, work: Callable[[Tx], T]) -> T:
        raise AssertionError("a reader does not write")


async def test_an_answer_is_one_snapshot(database: SqliteDatabase) -> None:
    await record(database, a_click(at=at("2024-02-29 12:00:01")))
    counted = CountedReads(database)
    reader = SqliteStatsReader(counted)
    ragged = TimeRange(at("2024-01-01 10:00:01"), at("2024-12-24 18:00:01"))
    await reader.tally(1, ragged)
    await reader.series(1, ragged, Span.WEEK)
    await reader.places(1, cities_max=5)
    assert counted.reads == 3


@pytest.mark.parametrize(
    "name", ["_EXTENT", "_TALLY", "_SETS", "_EDGE_VISITORS", "_CLICKS", "_SERIES", "_DAY_SETS", "_PLACES"]
)
async def test_statements_seek_and_never_scan(database: SqliteDatabase, name: str) -> None:
    statement: str = getattr(reports, name)
    parameters: list[Value] = ["[]"] * max(int(number) for number in re.findall(r"\?(\d)", statement))
    plan = await database.read(lambda on: on.rows(f"EXPLAIN QUERY PLAN {statement}", parameters))
    steps = [str(step[3]) for step in plan]
    tables = ("clicks", "click_rollups", "visitor_sets")
    scans = [step for step in steps if step.startswith("SCAN ") and step.split()[1] in tables]
    searches = {step for step in steps if step.startswith("SEARCH ")}
    assert scans == []
    assert searches
    assert all("link_id=?" in search for search in searches)


async def test_what_came_too_late_to_be_kept_apart_is_other_and_comes_last(
    reader: SqliteStatsReader, database: SqliteDatabase
) -> None:
    store = SqliteClickStore(count_bots=True, values_max=2)
    hour = at("2027-01-15 08:00")
    names = ["b", "a", "c", "d", "c", "a", "e"]
    for half in (names[:4], names[4:]):
        batch = [a_click(at=hour, referrer=f"https://{name}.example", city=name, country="DE") for name in half]
        await database.transaction(lambda tx, b=batch: store.append(tx, b))  # type: ignore[misc] # a lambda's default
    await database.transaction(
        lambda tx: store.append(tx, [a_click(at=hour, city="c", country="AT"), a_click(at=hour)])
    )
    next_hour = a_click(at=hour + HOUR, referrer="https://c.example", city="c", country="DE")
    await database.transaction(lambda tx: store.append(tx, [next_hour]))

    for within in (EVER, TimeRange(hour - 1, hour + HOUR + 1), TimeRange(hour, hour + DAY)):
        tally = await reader.tally(1, within)
        # Four clicks of the first hour, from c, d, c and e, are `other`.
        assert (tally.clicks, tally.referrers) == (
            10,
            {"https://a.example": 2, "direct": 2, "https://b.example": 1, "https://c.example": 1},
        )
    assert await reader.places(1, cities_max=10) == Places(
        {"DE": 9, "AT": 1},
        [
            CityClicks("a", "DE", 2),
            CityClicks("b", "DE", 1),
            CityClicks("c", "DE", 1),
            CityClicks("other", "DE", 4),
            CityClicks("other", "AT", 1),
        ],
    )
    assert (await reader.places(1, cities_max=3)).cities[-1] == CityClicks("c", "DE", 1)


async def test_only_the_most_frequent_referrers_are_read(reader: SqliteStatsReader, database: SqliteDatabase) -> None:
    hour = at("2027-01-15 08:00")
    for start in (0, 700):
        batch = [
            a_click(at=hour + start * 10, referrer=f"https://{number:04}.example")
            for number in range(start, start + 700)
        ]
        await record(database, *batch, batch[-1])

    tally = await reader.tally(1, EVER)

    assert (tally.clicks, len(tally.referrers), sum(tally.referrers.values())) == (1_402, 1_000, 1_002)
    assert list(tally.referrers)[:3] == ["https://0699.example", "https://1399.example", "https://0000.example"]
