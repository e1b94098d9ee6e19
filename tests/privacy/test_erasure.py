"""Erased means gone: answers, rows and the bytes in every file; and nothing brings it back."""

import asyncio
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from shortener import errors
from shortener.accounts.sqlite import SqliteAccountStore
from shortener.analytics.clients.recorder import ClickRecorder
from shortener.analytics.sqlite import removal as removal_store
from shortener.app import App
from shortener.backup.compact import compact
from shortener.backup.verify import verify
from shortener.links import LinkDraft
from shortener.links import sqlite as store
from shortener.links.sqlite import SqliteLinkStore
from shortener.observe.histogram import Histogram
from shortener.privacy import Erasure
from shortener.privacy.erasure import ErasureStats
from shortener.storage.sqlite.sql import sql
from shortener.tx import Tx
from tests.privacy.conftest import DESTINATION, EMAIL, PASSWORD, Home, fill, register
from tests.support.databases import rows
from tests.support.waiting import until

TABLES = ("clicks", "click_rollups", "visitor_sets")


async def counted(app: App, link_ids: list[int]) -> dict[str, int]:
    """How many rows of each table of clicks belong to these links."""
    ids = ", ".join(map(str, link_ids)) or "NULL"
    return {
        table: int(str((await rows(app.core.database, f"SELECT COUNT(*) FROM {table} WHERE link_id IN ({ids})"))[0][0]))
        for table in TABLES
    }


async def link_ids(app: App, codes: list[str]) -> list[int]:
    found = await SqliteLinkStore(app.core.database).links(codes)
    return [found[code].id for code in codes]


def gauge(app: App, wanted: str) -> float:
    """What `/metrics` shows under this name."""
    [read] = [read for name, _, _, read in app.core.gauges if name == wanted]
    assert not isinstance(read, Histogram)
    return read()


def check(directory: Path) -> list[str]:
    return verify(directory, has_own_secret=True, progress=lambda done, total: None).findings


async def test_everything_of_an_erased_account_is_gone(home: Home, app: App) -> None:
    owner, token = await register(app)
    other, other_token = await register(app, "other@example.com")
    codes, others = await fill(app, owner, "mine"), await fill(app, other, "theirs")
    ids, other_ids = await link_ids(app, codes), await link_ids(app, others)
    before = await counted(app, other_ids)
    assert all(number > 0 for number in (await counted(app, ids)).values())
    assert (await app.links.get(codes[0])).counts.clicks == 2  # It is in a cache.
    assert await app.cache.find(codes[0])  # It is in the other cache, too.

    assert await app.privacy.erasure.erase(int(owner)) is True

    assert await counted(app, ids) == dict.fromkeys(TABLES, 0)
    assert await counted(app, other_ids) == before
    for code in codes:
        found = await app.cache.find(code)
        assert found
        assert (found.destination, bool(found.deleted_at)) == ("", True)
        with pytest.raises(errors.NotFound):
            await app.links.get(code)
        with pytest.raises(errors.Conflict):
            await app.links.create(LinkDraft(DESTINATION, other, alias=code))
    assert app.accounts.validate(token) is None
    assert app.accounts.validate(other_token) is not None
    assert (await app.links.page(owner, limit=0, offset=0)).total == 0
    assert (await app.links.page(other, limit=0, offset=0)).total == 2
    assert app.privacy.erasure.stats == ErasureStats(accounts=1, links=3, failures=0)
    assert (await app.accounts.register(EMAIL, PASSWORD, "Canary Person")).account.id == 3
    assert check(home.data_dir) == []


async def test_what_another_process_has_erased_is_erased_here(app: App) -> None:
    owner, _ = await register(app)
    accounts = SqliteAccountStore(app.core.database)
    await app.links.create(LinkDraft(DESTINATION, owner))
    assert await app.core.database.transaction(lambda tx: accounts.erase(tx, int(owner), now=1_800_000_000))
    with pytest.raises(errors.Invalid) as raised:
        await app.links.create(LinkDraft(DESTINATION, owner))
    assert (raised.value.message, raised.value.field) == ("user_id is that of an erased account", "user_id")
    await app.links.create(LinkDraft(DESTINATION, f"0{owner}"))  # no account has such an id
    await app.links.create(LinkDraft(DESTINATION, "9" * 64))
    assert await app.privacy.erasure.erase(int(owner)) is True
    with pytest.raises(errors.NotFound):
        await app.privacy.erasure.erase(int(owner) + 1)


async def test_no_file_holds_a_byte_of_it_after_the_next_compaction(home: Home) -> None:
    async with home.opened() as app:
        owner, token = await register(app)
        await fill(app, owner, "mine")
        await app.accounts.update_profile(token, name="Renamed Person", email="canary-moved@example.com")
        await register(app, "other@example.com")
        canaries = (
            b"canary-person",
            b"canary-moved",
            b"Canary Person",
            b"Renamed Person",
            b"canary-destination",
            b"xxxx",
        )
        found = {canary for canary in canaries for content in home.files().values() if canary in content}
        assert found == set(canaries)  # The test would notice them.

        assert await app.privacy.erasure.erase(int(owner)) is True
    compact(home.data_dir, lambda done, total: None)
    left = {(name, canary) for name, content in home.files().items() for canary in canaries if canary in content}
    assert left == set()
    async with home.opened() as app:
        assert (await app.accounts.get_user(2)).email == "other@example.com"
    assert check(home.data_dir) == []


async def test_an_erasure_goes_on_after_a_start(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    async with home.opened() as app:
        owner, token = await register(app)
        codes = await fill(app, owner, "mine")
        ids = await link_ids(app, codes)
        monkeypatch.setattr("shortener.privacy.erasure._WAIT_SECONDS", 0.01)
        monkeypatch.setattr(Erasure, "_to_the_end", lambda self, step: asyncio.sleep(60))
        assert await app.privacy.erasure.erase(int(owner)) is False
        assert await app.privacy.erasure.erase(int(owner)) is False
        assert app.accounts.validate(token) is None
    monkeypatch.undo()
    with closing(sqlite3.connect(home.data_dir / "shortener.db")) as raw:
        assert raw.execute("SELECT id, pending FROM erased_accounts").fetchall() == [(int(owner), 1)]

    async with home.opened() as app:
        assert app.accounts.validate(token) is None

        async def is_done() -> bool:
            return not await app.accounts.pending_erasures()

        await until(is_done)
        assert await counted(app, ids) == dict.fromkeys(TABLES, 0)
        assert await app.privacy.erasure.erase(int(owner)) is True
        with pytest.raises(errors.NotFound):
            await app.privacy.erasure.erase(99)
    assert check(home.data_dir) == []


@pytest.mark.units_run_once
async def test_what_fails_is_tried_again(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    owner, _ = await register(app)
    codes = await fill(app, owner, "mine")
    original, failures = app.links.erase_owned, [OSError("once"), errors.Unavailable("twice")]

    def failing(tx: object, owner_id: str, *, limit: int) -> object:
        if failures:
            raise failures.pop()
        return original(tx, owner_id, limit=limit)  # type: ignore[arg-type] # passed on as it came

    monkeypatch.setattr(app.links, "erase_owned", failing)
    assert await app.privacy.erasure.erase(int(owner)) is True
    assert app.privacy.erasure.stats.failures == 2
    assert await counted(app, await link_ids(app, codes)) == dict.fromkeys(TABLES, 0)


async def test_clicks_that_come_late_bring_nothing_back(home: Home, app: App) -> None:
    owner, _ = await register(app)
    other, _ = await register(app, "other@example.com")
    codes, others = await fill(app, owner, "mine"), await fill(app, other, "theirs")
    mine, theirs = await app.cache.find(codes[0]), await app.cache.find(others[0])
    assert mine
    assert theirs
    ids = await link_ids(app, codes)
    assert await app.privacy.erasure.erase(int(owner)) is True

    recorder: ClickRecorder = app.clicks
    for link in (mine, theirs, mine):
        recorder.offer(link, "192.0.2.9", "", "")
    recorder.flush()

    async def is_moved() -> bool:
        return not gauge(app, "shortener_click_backlog_bytes")

    await until(is_moved)

    assert await counted(app, ids) == dict.fromkeys(TABLES, 0)
    assert (await app.links.get(others[0])).counts.clicks == 3
    assert (await app.analytics.stats(others[0], 0, 0)).total_clicks == 3
    assert gauge(app, "shortener_click_batch_failures_total") == 0
    assert check(home.data_dir) == []


async def test_a_click_that_was_described_before_the_erasure_is_refused(
    app: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    owner, _ = await register(app)
    codes = await fill(app, owner, "mine")
    ids = await link_ids(app, codes)
    transactions = app.analytics.transactions

    async def late(work: Callable[[Tx], int]) -> int:
        assert await app.privacy.erasure.erase(int(owner)) is True
        return await transactions(work)

    monkeypatch.setattr(app.analytics, "transactions", late)
    with pytest.raises(errors.NotFound):
        await app.analytics.record(codes[0], address="192.0.2.9", user_agent="", referrer="", at=0)
    assert await counted(app, ids) == dict.fromkeys(TABLES, 0)


async def test_a_link_that_is_made_meanwhile_is_refused_or_erased(app: App) -> None:
    owner, _ = await register(app)

    async def create(number: int) -> str:
        try:
            await app.links.create(LinkDraft(DESTINATION, owner, alias=f"late-{number}"))
        except errors.Invalid as error:
            return error.field
        return "made"

    async def keep_creating() -> list[str]:
        outcomes = ["made"]
        while outcomes[-1] == "made":
            outcomes.append(await create(len(outcomes)))
        return outcomes

    creating = [asyncio.create_task(create(-number)) for number in range(20)]
    creating_on = asyncio.create_task(keep_creating())
    await asyncio.sleep(0)
    erased = await app.privacy.erasure.erase(int(owner))

    assert erased is True
    assert (await creating_on)[-1] == "user_id"
    await asyncio.gather(*creating)
    assert await app.links.owned(owner, after=0, limit=100) == []


async def test_what_an_alias_had_before_it_was_taken_again_goes_too(home: Home, app: App) -> None:
    owner, _ = await register(app)
    codes = await fill(app, owner, "mine")
    old = (await link_ids(app, codes))[2]
    await app.links.create(LinkDraft(DESTINATION, owner, alias=codes[2]))
    assert old not in await link_ids(app, codes)
    assert await app.privacy.erasure.erase(int(owner)) is True
    assert await counted(app, [old]) == dict.fromkeys(TABLES, 0)
    assert check(home.data_dir) == []


async def test_the_writer_is_others_most_of_the_time(app: App) -> None:
    """Many links and clicks go without a commit that holds the writer for long, and other writes get in between."""
    owner, _ = await register(app)
    await fill(app, owner, "mine")

    def many(tx: object) -> None:
        on = sql(tx)  # type: ignore[arg-type] # as Transactions hands it over
        numbers = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {}) "
        on.run(
            numbers.format(3000) + "INSERT INTO links (short_code, destination, owner_id, created_at, updated_at, "
            "expires_at, is_alias) SELECT 'many-' || i, 'https://example.com/' || i, ?, 1, 1, 0, 0 FROM n",
            (owner,),
        )
        on.run(
            numbers.format(20000) + "INSERT INTO clicks (link_id, clicked_at, country, city, referrer, device, bot, "
            "counted) SELECT 1 + i % 3000, 1000 + i, 'DE', '', 'direct', 'other', 0, 1 FROM n"
        )

    await app.core.database.transaction(many)
    longest = 0.0
    loop = asyncio.get_running_loop()
    erasing = asyncio.create_task(app.privacy.erasure.erase(int(owner)))
    writes = 0
    while not erasing.done():
        started = loop.time()
        await app.core.database.transaction(lambda tx: sql(tx).run("UPDATE journal_position SET offset = offset"))
        longest = max(longest, loop.time() - started)
        writes += 1
    while not await app.privacy.erasure.erase(int(owner)):
        continue
    assert await rows(app.core.database, "SELECT COUNT(*) FROM clicks") == [(0,)]
    assert await rows(app.core.database, "SELECT COUNT(*) FROM links WHERE owner_id <> '' OR destination <> ''") == [
        (0,)
    ]
    assert writes > 10
    assert longest < 1.0, longest  # 50 ms on a quiet machine; one statement for all of it would take longer


async def test_removals_find_their_rows_by_index(app: App) -> None:
    for statement in (
        removal_store._PURGE_CLICKS,
        removal_store._PURGE_ROLLUPS,
        removal_store._PURGE_SETS,
        removal_store._OLD,
        removal_store._CLICKED,
        store._OWNED,
        store._ERASE_LIVE,
        store._ERASE_DELETED,
    ):
        plan = [
            str(row[3])
            for row in await app.core.database.read(
                lambda on, text=statement: on.rows(f"EXPLAIN QUERY PLAN {text}", (1, 2, 3)[: text.count("?")])  # type: ignore[misc] # mypy cannot infer lambdas with defaults
            )
        ]
        scans = [line for line in plan if line.startswith("SCAN") and any(name in line.split() for name in SCANNED)]
        assert scans == [], plan


SCANNED = {"clicks", "links", "rollups", "sets", "click_rollups", "visitor_sets"}


@pytest.mark.parametrize("turns", range(4))
async def test_it_can_be_ended_at_the_moment_it_is_wanted(app: App, turns: int) -> None:
    owner, _ = await register(app)
    assert await app.privacy.erasure.erase(int(owner)) is True
    [task] = [task for task in asyncio.all_tasks() if task.get_name() == "erasure"]
    app.privacy.erasure._begin()
    for _ in range(turns):
        await asyncio.sleep(0)
    task.cancel()
    ended, _ = await asyncio.wait({task}, timeout=5)
    assert ended == {task}
