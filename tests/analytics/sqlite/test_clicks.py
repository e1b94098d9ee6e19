"""Click stores: the real one and the memory one behave alike; the real one's tables are exact."""

import time
from collections import Counter, defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shortener.analytics.model import START, Click, Device, Position
from shortener.analytics.periods import ROLLED_UP
from shortener.analytics.ports import ClickStore, LogProgress
from shortener.analytics.sqlite import clicks as store_module
from shortener.analytics.sqlite.clicks import SqliteClickStore, SqliteLogProgress
from shortener.storage.sqlite.database import SqliteDatabase
from shortener.tx import Transactions, Tx
from tests.support.click_builders import NOW, a_click, a_ref, a_visitor
from tests.support.click_fakes import AtomicTransactions, MemoryClickStore, MemoryCounters
from tests.support.databases import migrate_file, opened, rows, visitor_sets


class Subject(NamedTuple):
    store: ClickStore
    progress: LogProgress
    transactions: Transactions


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[SqliteDatabase]:
    migrate_file(tmp_path / "test.db")
    async with opened(tmp_path / "test.db") as opened_database:
        yield opened_database


@pytest.fixture(params=["memory", "sqlite"])
async def subject(request: pytest.FixtureRequest, database: SqliteDatabase) -> Subject:
    if request.param == "sqlite":
        return Subject(
            SqliteClickStore(count_bots=True, values_max=1000), SqliteLogProgress(database), database.transaction
        )
    memory = MemoryClickStore()
    return Subject(memory, memory, AtomicTransactions(memory, MemoryCounters()))


async def test_ids_follow_one_another_in_order(subject: Subject) -> None:
    first = await subject.transactions(lambda tx: subject.store.append(tx, [a_click(), a_click(2), a_click()]))
    second = await subject.transactions(lambda tx: subject.store.append(tx, [a_click(3)]))

    assert (first, second) == ([1, 2, 3], [4])


async def test_nothing_to_append_is_nothing(subject: Subject) -> None:
    assert await subject.transactions(lambda tx: subject.store.append(tx, [])) == []


async def test_the_position_moves_only_from_where_it_is(subject: Subject) -> None:
    async def advance(old: Position, new: Position) -> tuple[bool, Position]:
        moved = await subject.transactions(lambda tx: subject.progress.advance(tx, old, new))
        return moved, await subject.progress.position()

    assert await subject.progress.position() == START
    assert await advance(Position(1, 5), Position(2, 0)) == (False, START)
    assert await advance(START, Position(1, 10)) == (True, Position(1, 10))
    assert await advance(START, Position(1, 20)) == (False, Position(1, 10))
    assert await advance(Position(1, 9), Position(1, 20)) == (False, Position(1, 10))
    assert await advance(Position(1, 10), Position(2, 0)) == (True, Position(2, 0))


async def test_a_failed_transaction_leaves_nothing(subject: Subject) -> None:
    def work(tx: Tx) -> None:
        subject.progress.advance(tx, START, Position(1, 10))
        subject.store.append(tx, [a_click()])
        raise RuntimeError("the disk is full, say")

    with pytest.raises(RuntimeError):
        await subject.transactions(work)

    assert await subject.progress.position() == START
    assert await subject.transactions(lambda tx: subject.store.append(tx, [a_click()])) == [1]


async def test_one_click_as_the_tables_hold_it(database: SqliteDatabase) -> None:
    store = SqliteClickStore(count_bots=True, values_max=1000)
    click = a_click(
        7, at=NOW + 5, city="São Paulo|X", country="BR", referrer="https://news.example", visitor=a_visitor(9)
    )
    await database.transaction(lambda tx: store.append(tx, [click]))

    assert await rows(
        database, "SELECT link_id, clicked_at, visitor_id, country, city, referrer, device, bot, counted FROM clicks"
    ) == [(7, NOW + 5, 1, "BR", "São Paulo|X", "https://news.example", "desktop", 0, 1)]
    assert await rows(database, "SELECT * FROM click_rollups WHERE span = 'h'") == [
        (7, "h", NOW, "city", "BR|São Paulo|X", 1),
        (7, "h", NOW, "country", "BR", 1),
        (7, "h", NOW, "device", "desktop", 1),
        (7, "h", NOW, "referrer", "https://news.example", 1),
    ]
    periods = {(7, str(span), span.floor(NOW)): (1, {a_visitor(9)}) for span in ROLLED_UP}
    assert await visitor_sets(database) == periods


async def test_a_click_without_address_has_no_visitor(database: SqliteDatabase) -> None:
    store = SqliteClickStore(count_bots=True, values_max=1000)
    await database.transaction(lambda tx: store.append(tx, [a_click(visitor=b"")]))

    assert await rows(database, "SELECT visitor_id FROM clicks") == [(None,)]
    assert await rows(database, "SELECT * FROM visitors UNION ALL SELECT visitors, members FROM visitor_sets") == []


async def test_bots_are_recorded_but_not_counted_where_configured(database: SqliteDatabase) -> None:
    store = SqliteClickStore(count_bots=False, values_max=1000)
    bot = a_click(bot=True, device=Device.OTHER, visitor=a_visitor(1))
    person = a_click(visitor=a_visitor(2))
    ids = await database.transaction(lambda tx: store.append(tx, [bot, person]))

    assert ids == [1, 2]
    assert (store.is_counted(bot), store.is_counted(person)) == (False, True)
    assert await rows(database, "SELECT id, bot, counted FROM clicks") == [(1, 1, 0), (2, 0, 1)]
    assert (
        await rows(database, "SELECT value, clicks FROM click_rollups WHERE dimension = 'device'")
        == [("desktop", 1)] * 3
    )
    assert [held for _, held in (await visitor_sets(database)).values()] == [{a_visitor(2)}] * 3


values = st.sampled_from
batches = st.lists(
    st.lists(
        st.builds(
            Click,
            ref=st.integers(1, 4).map(a_ref),
            at=st.one_of(st.integers(NOW, NOW + 300_000), st.integers(0, 253_402_300_799)),
            visitor=st.one_of(st.just(b""), st.integers(0, 6).map(a_visitor), st.just(bytes(16))),
            country=values(["DE", "ZZ"]),
            city=values(["", "Köln", '"quoted"\\|\U0001f600', "it's"]),
            referrer=values(["direct", "https://news.example", "https://a.example", "https://b.example"]),
            device=values(Device),
            bot=st.booleans(),
        ),
        max_size=12,
    ),
    max_size=4,
)


@asynccontextmanager
async def fresh(path: Path) -> AsyncIterator[SqliteDatabase]:
    migrate_file(path)
    async with opened(path) as database:
        yield database


def kept_apart(clicks: list[Click], *, count_bots: bool, values_max: int) -> list[Click]:
    """The clicks as they are stored: of each link and hour the first referrers and cities, and `other`."""
    seen: defaultdict[tuple[object, ...], list[str]] = defaultdict(list)
    stored = []
    for click in clicks:
        changes: dict[str, str] = {}
        if count_bots or not click.bot:
            hour = (click.ref.id, click.at // 3600)
            city = f"{click.country}|{click.city}" if click.city else ""
            for name, value in (("referrer", click.referrer), ("city", city)):
                kept = seen[(*hour, name)]
                if value in ("direct", "", *kept):
                    continue
                if len(kept) < values_max:
                    kept.append(value)
                else:
                    changes[name] = "other"
        stored.append(replace(click, **changes))  # type: ignore[arg-type] # referrer and city are text
    return stored


@given(batches=batches, count_bots=st.booleans(), sizes=st.integers(1, 5), values_max=st.integers(1, 3))
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_tables_equal_the_naive_count(
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
    batches: list[list[Click]],
    count_bots: bool,
    sizes: int,
    values_max: int,
) -> None:
    for limit in ("_ROWS_MAX", "_SETS_MAX"):
        monkeypatch.setattr(store_module, limit, sizes)  # so that small batches travel in several parts, too
    rollups: Counter[tuple[object, ...]] = Counter()
    visitors: defaultdict[tuple[object, ...], set[bytes]] = defaultdict(set)
    clicks = kept_apart([click for batch in batches for click in batch], count_bots=count_bots, values_max=values_max)
    for click in clicks:
        for span in ROLLED_UP:
            period = (click.ref.id, str(span), span.floor(click.at))
            if count_bots or not click.bot:
                rollups[(*period, "device", str(click.device))] += 1
                rollups[(*period, "country", click.country)] += 1
                rollups[(*period, "referrer", click.referrer)] += 1
                if click.city:
                    rollups[(*period, "city", f"{click.country}|{click.city}")] += 1
                if click.visitor:
                    visitors[period].add(click.visitor)

    async with fresh(tmp_path_factory.mktemp("store") / "test.db") as database:
        store = SqliteClickStore(count_bots=count_bots, values_max=values_max)
        ids = [i for batch in batches for i in await database.transaction(lambda tx, b=batch: store.append(tx, b))]
        events = await rows(
            database,
            "SELECT clicks.id, link_id, clicked_at, COALESCE(digest, x''), country, city, referrer, device, bot, "
            "counted FROM clicks LEFT JOIN visitors ON visitors.id = visitor_id ORDER BY clicks.id",
        )
        stored = await rows(database, "SELECT link_id, span, period, dimension, value, clicks FROM click_rollups")
        sets = await visitor_sets(database)

    assert ids == list(range(1, len(clicks) + 1))
    assert events == [
        (i, c.ref.id, c.at, c.visitor, c.country, c.city, c.referrer, c.device, c.bot, count_bots or not c.bot)
        for i, c in enumerate(clicks, 1)
    ]
    assert {row[:5]: row[5] for row in stored} == rollups
    assert sets == {period: (len(members), members) for period, members in visitors.items()}


async def test_a_set_grows_over_many_batches_and_stays_exact(database: SqliteDatabase) -> None:
    store = SqliteClickStore(count_bots=True, values_max=1000)
    for start in range(0, 30_000, 10_000):
        batch = [a_click(visitor=a_visitor(number)) for number in range(start, start + 12_000)]
        await database.transaction(lambda tx, b=batch: store.append(tx, b))  # type: ignore[misc] # a lambda's default

    assert [(count, len(held)) for count, held in (await visitor_sets(database)).values()] == [(32_000, 32_000)] * 3


async def test_values_of_one_hour_cost_what_values_of_many_links_cost(database: SqliteDatabase) -> None:
    store = SqliteClickStore(count_bots=True, values_max=10_000)

    async def seconds(*, link_ids: int) -> float:
        """The CPU time of storing 1,000 referrers and cities, at the best of three tries."""
        times = []
        for attempt in range(3):
            batch = [
                a_click(
                    1 + number % link_ids,
                    at=NOW + attempt * 3600,
                    referrer=f"https://{number}.example",
                    city=f"{number}",
                )
                for number in range(1_000)
            ]
            started = time.process_time()
            await database.transaction(lambda tx, b=batch: store.append(tx, b))  # type: ignore[misc] # a lambda's default
            times.append(time.process_time() - started)
        return min(times)

    spread, crowded = await seconds(link_ids=1_000), await seconds(link_ids=1)

    assert crowded < 2 * spread
