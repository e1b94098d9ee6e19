"""GetStats, GetTimeSeries and GetGeoStats equal the naive model over random clicks and ranges.

One database serves all examples: each is a link of its own.
"""

import asyncio
import datetime as dt
import itertools
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from shortener.analytics.model import NO_VISITOR, Click, Device
from shortener.analytics.service import AnalyticsService
from shortener.analytics.sqlite.clicks import SqliteClickStore
from shortener.analytics.sqlite.stats import SqliteStatsReader
from shortener.analytics.stats import GRANULARITIES
from shortener.links import LinkRef
from shortener.storage.sqlite.database import SqliteDatabase
from tests.support.analytics_services import describe
from tests.support.click_builders import a_visitor
from tests.support.databases import migrate_file, opened
from tests.support.fakes import FakeClock
from tests.support.idempotency_fakes import some_replays
from tests.support.link_builders import a_record
from tests.support.link_fakes import MemoryLinkStore, a_link_service
from tests.support.naive_clicks import COUNTRIES, country_name, geo_of, series_of, stats_of

HOUR, DAY, WEEK = 3_600, 86_400, 604_800
INT64_MAX = (1 << 63) - 1


def at(text: str) -> int:
    return int(dt.datetime.fromisoformat(text).replace(tzinfo=dt.UTC).timestamp())


# Moments near which sums go wrong: the first second, borders of weeks, months and years, leap days, the far future.
BORDERS = [
    1,
    at("1970-01-05"),
    at("1970-02-01"),
    at("1999-12-31 23:00"),
    at("2000-01-01"),
    at("2024-02-29"),
    at("2024-03-01"),
    at("2024-12-30"),
    at("2025-01-01"),
    at("2025-02-28"),
    at("2025-03-01"),
    at("2025-03-03"),
    at("2025-03-03 12:30"),
    at("2038-01-19 03:14:08"),
    at("2106-02-07"),
    at("2199-12-31 22:59:59"),
]
LAST = at("2200-12-31 23:59:59")
OFFSETS = [0, 0, 1, -1, HOUR, -HOUR, DAY, -DAY, DAY - 1, WEEK, -WEEK, 31 * DAY, -31 * DAY]

moments = st.builds(
    lambda border, offset, jitter: min(max(border + offset + jitter, 1), LAST),
    st.sampled_from(BORDERS),
    st.sampled_from(OFFSETS),
    st.one_of(st.just(0), st.integers(-2, 2), st.integers(-2 * HOUR, 2 * HOUR), st.integers(-40 * DAY, 40 * DAY)),
)
clicks = st.builds(
    Click,
    ref=st.just(LinkRef(0, "")),
    at=moments,
    visitor=st.one_of(st.just(NO_VISITOR), st.integers(1, 6).map(a_visitor)),
    country=st.sampled_from(sorted(COUNTRIES)),
    city=st.sampled_from(["", "", "Bonn", "Wien", "Zürich", "Saint|Pipe", "A"]),
    referrer=st.sampled_from(["direct", "https://a.example", "https://b.example", "http://a.example:81", "Ünïcode"]),
    device=st.sampled_from(Device),
    bot=st.booleans(),
)
batches = st.lists(st.lists(clicks, max_size=12), max_size=4)
close_batches = st.builds(
    lambda batches, start, spread: [
        [replace(click, at=min(start + click.at % spread, LAST)) for click in batch] for batch in batches
    ],
    batches,
    moments,
    st.sampled_from([5, HOUR, 3 * HOUR, 3 * DAY, 20 * DAY, 100 * DAY, 500 * DAY]),
)


@dataclass
class Subject:
    """The service over a real database; only links are in memory."""

    clock: FakeClock
    links: MemoryLinkStore
    stores: dict[bool, SqliteClickStore]
    services: dict[bool, AnalyticsService]
    database: SqliteDatabase
    runner: asyncio.Runner
    ids: Iterator[int]

    def filled(self, batches: list[list[Click]], *, created_at: int, count_bots: bool) -> tuple[str, list[Click]]:
        """Record the batches under a new link; return its code and the clicks that count."""
        link_id = next(self.ids)
        code = f"code{link_id}"
        self.links.stored = {code: a_record(id=link_id, short_code=code, created_at=created_at)}
        ref = LinkRef(link_id, code)
        batches = [[replace(click, ref=ref) for click in batch] for batch in batches]
        store = self.stores[count_bots]
        self.runner.run(self.database.transaction(lambda tx: [store.append(tx, batch) for batch in batches]))
        return code, [click for batch in batches for click in batch if count_bots or not click.bot]


@pytest.fixture(scope="module")
def subject(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Subject]:
    path: Path = tmp_path_factory.mktemp("reports") / "test.db"
    migrate_file(path)
    clock, links = FakeClock(), MemoryLinkStore()
    with asyncio.Runner() as runner:
        stack = AsyncExitStack()
        database = runner.run(stack.enter_async_context(opened(path)))
        stores = {count_bots: SqliteClickStore(count_bots=count_bots, values_max=1000) for count_bots in (True, False)}
        services = {
            count_bots: AnalyticsService(
                links=a_link_service(store=links, clock=clock),
                clicks=store,
                reader=SqliteStatsReader(database),
                transactions=database.transaction,
                clock=clock,
                describe=describe,
                country_name=country_name,
                replays=some_replays(clock),
            )
            for count_bots, store in stores.items()
        }
        yield Subject(clock, links, stores, services, database, runner, itertools.count(1))
        runner.run(stack.aclose())


def range_in(clicks: list[Click], choose: Callable[[st.SearchStrategy[int]], int]) -> tuple[int, int]:
    """Choose a range whose ends are likely to touch clicks."""
    near = [
        max(click.at + offset, 0)
        for click in clicks
        for offset in (0, 1, HOUR, -HOUR, DAY, 32 * DAY, -32 * DAY, -(click.at % HOUR), -(click.at % DAY))
    ]
    ends = st.one_of(st.just(0), moments, st.sampled_from(near or [1]))
    start, end = choose(ends), choose(st.one_of(ends, st.just(INT64_MAX)))
    return (start, end) if not end or start <= end else (end, start)


@given(st.one_of(batches, close_batches), st.booleans(), st.data())
@settings(max_examples=150, deadline=None)
def test_stats_equal_the_naive_model(
    subject: Subject, batches: list[list[Click]], count_bots: bool, data: st.DataObject
) -> None:
    code, counted = subject.filled(batches, created_at=1, count_bots=count_bots)
    start, end = range_in(counted, data.draw)

    found = subject.runner.run(subject.services[count_bots].stats(code, start, end))

    assert found == stats_of(code, counted, start, end)
    assert sum(found.devices) == found.total_clicks
    for counts in (found.countries, found.referrers):
        assert not counts or abs(sum(count.percentage for count in counts) - 100) < 0.01


@given(st.one_of(batches, close_batches), st.booleans(), st.sampled_from(sorted(GRANULARITIES)), st.data())
@settings(max_examples=150, deadline=None)
def test_series_equal_the_naive_model(
    subject: Subject, batches: list[list[Click]], count_bots: bool, granularity: str, data: st.DataObject
) -> None:
    times = [click.at for batch in batches for click in batch]
    created_at = data.draw(st.one_of(moments, st.sampled_from(times or [1])))
    subject.clock.now = data.draw(st.one_of(moments, st.sampled_from(times or [1])))
    code, counted = subject.filled(batches, created_at=created_at, count_bots=count_bots)
    start, end = range_in(counted, data.draw)
    length = {"hour": HOUR, "day": DAY, "week": WEEK, "month": 28 * DAY}[granularity]
    if data.draw(st.booleans()) and start:  # Most ranges would have too many points.
        end = data.draw(st.integers(start, min(start + 50 * length, LAST)))
    first = start or min([created_at, *(click.at for click in counted)])
    stop = end or subject.clock.now
    if stop - first > 9_999 * length:
        # The borders of the limit are another test's; here the model would only be slow.
        return

    found = subject.runner.run(subject.services[count_bots].time_series(code, start, end, granularity))

    assert found == series_of(counted, start, end, granularity, created_at=created_at, now=subject.clock.now)


@given(st.one_of(batches, close_batches), st.booleans(), st.sampled_from([0, 1, 2, 5, 1000]))
@example([[]], True, 0)
@settings(max_examples=150, deadline=None)
def test_geo_stats_equal_the_naive_model(
    subject: Subject, batches: list[list[Click]], count_bots: bool, limit: int
) -> None:
    code, counted = subject.filled(batches, created_at=1, count_bots=count_bots)

    assert subject.runner.run(subject.services[count_bots].geo_stats(code, limit)) == geo_of(counted, limit)
