"""One suite for every link store, and the outbox."""

import asyncio
from collections.abc import Collection
from dataclasses import dataclass

import pytest

from shortener import errors
from shortener.links import LinkDetails, LinkRecord, LinkRef
from shortener.links.model import EventKind, LinkCounts, LinkEvent
from shortener.links.ports import LinkStore
from shortener.links.sqlite import SqliteLinkStore, SqliteOutbox
from shortener.storage.sqlite.database import SqliteDatabase
from shortener.storage.sqlite.sql import sql
from shortener.tx import Transactions, Tx
from tests.support.fakes import FakeTransactions
from tests.support.idempotency_fakes import some_replays
from tests.support.link_builders import a_draft, a_new_link, details
from tests.support.link_fakes import MemoryLinkStore, a_link_service


@dataclass
class Kept:
    """A store and the transactions that go with it."""

    store: LinkStore
    transactions: Transactions

    async def add(self, **changes: object) -> LinkDetails | None:
        link = a_new_link(**changes)
        link_id = await self.transactions(lambda tx: self.store.add(tx, link))
        return link._replace(id=link_id) if link_id else None

    async def added(self, **changes: object) -> LinkDetails:
        link = await self.add(**changes)
        assert link
        return link

    async def find(self, short_code: str) -> LinkRecord | None:
        """Return what both look-ups agree about."""
        links, records = await self.store.links([short_code]), await self.store.records([short_code])
        assert links == {code: record.details.link for code, record in records.items()}
        return records.get(short_code)

    async def delete(self, short_code: str, owner_id: str | None = None, now: int = 1_900_000_000) -> LinkRef | None:
        return await self.transactions(lambda tx: self.store.delete(tx, short_code, now=now, owner_id=owner_id))

    async def increment(self, short_code: str) -> int | None:
        return await self.transactions(lambda tx: self.store.increment(tx, short_code))

    async def add_clicks(self, counts: dict[LinkRef, int]) -> Collection[LinkRef]:
        return await self.transactions(lambda tx: self.store.add_clicks(tx, counts))


def counted(link: LinkDetails, clicks: int) -> LinkRecord:
    return LinkRecord(link, LinkCounts(clicks))


@pytest.fixture(params=["memory", "sqlite"])
def kept(request: pytest.FixtureRequest, database: SqliteDatabase) -> Kept:
    if request.param == "sqlite":
        return Kept(SqliteLinkStore(database), database.transaction)
    store = MemoryLinkStore()
    return Kept(store, FakeTransactions(store))


async def test_an_added_link_is_found(kept: Kept) -> None:
    added = await kept.added(destination="https://example.com/%7e?a=b#c", expires_at=2_000_000_000, is_alias=True)
    assert added == details(id=1, destination="https://example.com/%7e?a=b#c", expires_at=2_000_000_000, is_alias=True)
    assert await kept.find("abc1234") == counted(added, 0)
    assert await kept.store.links(["abc1234", "nothing"]) == {"abc1234": added.link}
    records = await kept.store.records(["abc1234", "nothing"])
    assert records == {"abc1234": counted(added, 0)}
    assert type(records["abc1234"].details.is_alias) is bool


async def test_a_destination_that_cannot_stand_in_a_header_is_known(kept: Kept) -> None:
    await kept.add(destination="https://example.com/é")
    assert [link.is_plain for link in (await kept.store.links(["abc1234"])).values()] == [False]


async def test_nothing_is_found_in_an_empty_store(kept: Kept) -> None:
    for codes in ([], ["abc1234"], ["abc1234", "b"]):
        assert await kept.store.links(codes) == {}
        assert await kept.store.records(codes) == {}
    assert await kept.store.page("1", 20, 0) == ([], 0)
    assert await kept.delete("abc1234") is None
    assert await kept.increment("abc1234") is None
    assert set(await kept.add_clicks({LinkRef(1, "abc1234"): 1})) == set()


async def test_codes_are_case_sensitive(kept: Kept) -> None:
    upper = await kept.added(short_code="SALE")
    lower = await kept.added(short_code="sale")
    assert (await kept.find("SALE"), await kept.find("sale")) == (counted(upper, 0), counted(lower, 0))
    assert await kept.find("Sale") is None


async def test_a_code_in_use_is_taken(kept: Kept) -> None:
    first = await kept.added()
    assert await kept.add() is None
    assert await kept.add(is_alias=True) is None
    assert await kept.add(owner_id="2") is None
    assert await kept.find("abc1234") == counted(first, 0)


async def test_a_deleted_code_stays_taken(kept: Kept) -> None:
    added = await kept.added()
    assert await kept.delete("abc1234", now=1_900_000_000) == added.ref
    deleted = added._replace(deleted_at=1_900_000_000, updated_at=1_900_000_000)
    assert await kept.find("abc1234") == counted(deleted, 0)
    assert await kept.delete("abc1234") is None
    assert await kept.add(is_alias=True) is None
    assert await kept.add(owner_id="2", is_alias=True) is None


async def test_ones_own_deleted_alias_starts_anew(kept: Kept) -> None:
    first = await kept.added(is_alias=True)
    await kept.increment("abc1234")
    await kept.add_clicks({first.ref: 5})
    await kept.delete("abc1234")

    assert await kept.add(is_alias=False) is None
    assert await kept.add(owner_id="2", is_alias=True) is None
    again = await kept.added(is_alias=True, destination="https://example.org/", created_at=1_950_000_000)

    assert again.id > first.id
    expected = details(
        id=again.id,
        is_alias=True,
        destination="https://example.org/",
        created_at=1_950_000_000,
        updated_at=1_950_000_000,
    )
    assert again == expected
    assert set(await kept.add_clicks({first.ref: 3, expected.ref: 1})) == {expected.ref}
    assert await kept.find("abc1234") == counted(expected, 1)


async def test_ids_are_never_used_again(kept: Kept) -> None:
    ids = []
    for _ in range(3):
        added = await kept.added(is_alias=True)
        ids.append(added.id)
        await kept.delete("abc1234")
    assert ids == sorted(set(ids))


async def test_only_the_owner_deletes(kept: Kept) -> None:
    link = await kept.added(owner_id="1")
    assert await kept.delete("abc1234", owner_id="2") is None
    assert await kept.delete("abc1234", owner_id="1") == link.ref


async def test_counters(kept: Kept) -> None:
    first, second = await kept.added(short_code="first"), await kept.added(short_code="second")
    assert await kept.increment("first") == 1
    counts = {first.ref: 10, second.ref: 2, LinkRef(99, "other"): 1}
    assert set(await kept.add_clicks(counts)) == {first.ref, second.ref}
    assert await kept.increment("first") == 12
    assert await kept.find("first") == counted(first, 12)
    assert await kept.find("second") == counted(second, 2)


async def test_a_deleted_link_is_not_incremented_but_its_clicks_are_counted(kept: Kept) -> None:
    link = await kept.added()
    await kept.delete("abc1234")
    assert await kept.increment("abc1234") is None
    assert set(await kept.add_clicks({link.ref: 2})) == {link.ref}
    found = await kept.find("abc1234")
    assert found
    assert found.counts == LinkCounts(2)


async def test_concurrent_increments_are_all_counted(kept: Kept) -> None:
    await kept.add()
    totals = await asyncio.gather(*[kept.increment("abc1234") for _ in range(50)])
    assert sorted(total for total in totals if total) == list(range(1, 51))


async def test_pages_are_newest_first_and_omit_deleted_links(kept: Kept) -> None:
    for number in range(5):
        await kept.add(short_code=f"code{number}", owner_id="1")
    await kept.add(short_code="other", owner_id="2")
    await kept.delete("code2")

    async def page(limit: int, offset: int) -> tuple[list[str], int]:
        records, total = await kept.store.page("1", limit, offset)
        return [record.details.short_code for record in records], total

    assert await page(10, 0) == (["code4", "code3", "code1", "code0"], 4)
    assert await page(2, 1) == (["code3", "code1"], 4)
    assert await page(2, 4) == ([], 4)
    assert await page(1000, 2**31 - 1) == ([], 4)


async def test_many_codes_at_once(kept: Kept) -> None:
    for number in range(30):
        await kept.add(short_code=f"code{number}")
    asked = [f"code{number}" for number in range(1_000)]
    assert sorted(await kept.store.links(asked)) == sorted(f"code{number}" for number in range(30))
    assert sorted(await kept.store.records(asked)) == sorted(f"code{number}" for number in range(30))


async def test_a_failed_transaction_leaves_no_trace(database: SqliteDatabase) -> None:
    kept = Kept(SqliteLinkStore(database), database.transaction)
    link = await kept.added()

    def failing(tx: Tx) -> None:
        kept.store.add(tx, a_new_link(short_code="second"))
        kept.store.add_clicks(tx, {link.ref: 5})
        kept.store.delete(tx, "abc1234", now=1)
        raise RuntimeError("changed my mind")

    with pytest.raises(RuntimeError, match="changed my mind"):
        await database.transaction(failing)
    assert await kept.find("abc1234") == counted(link, 0)
    assert await kept.find("second") is None


async def test_pages_are_read_by_index(database: SqliteDatabase) -> None:
    from shortener.links import sqlite as store

    for statement, parameters in ((store._PAGE, ("1", 20, 0)), (store._COUNT, ("1",))):
        plan = await database.read(lambda reader, s=statement, p=parameters: reader.rows(f"EXPLAIN QUERY PLAN {s}", p))  # type: ignore[misc] # mypy cannot infer lambdas with defaults
        text = "\n".join(str(row[3]) for row in plan)
        assert "INDEX links_by_owner" in text
        assert "SCAN links" not in text
        assert "TEMP B-TREE" not in text


async def test_recorded_clicks_and_increments_are_kept_apart(database: SqliteDatabase) -> None:
    kept = Kept(SqliteLinkStore(database), database.transaction)
    link = await kept.added()
    await kept.increment("abc1234")
    await kept.add_clicks({link.ref: 5})
    assert await database.transaction(lambda tx: sql(tx).row("SELECT clicks, increments FROM links")) == (5, 1)


async def test_all_links_of_an_owner_are_listed_in_order(kept: Kept) -> None:
    for number, owner in enumerate(["user_1", "user_2", "user_1", "user_1"]):
        await kept.add(short_code=f"code{number}", owner_id=owner, expires_at=1_700_000_000 if number == 3 else 0)
    await kept.delete("code0")

    listed = await kept.store.owned("user_1", after=0, limit=10)
    assert [(record.details.short_code, bool(record.details.deleted_at)) for record in listed] == [
        ("code0", True),
        ("code2", False),
        ("code3", False),
    ]
    assert [record.details.id for record in await kept.store.owned("user_1", after=0, limit=2)] == [1, 3]
    assert [record.details.id for record in await kept.store.owned("user_1", after=3, limit=2)] == [4]
    assert await kept.store.owned("user_1", after=4, limit=2) == []
    assert await kept.store.owned("user_3", after=0, limit=2) == []


async def test_erased_links_keep_nothing_but_their_codes(kept: Kept) -> None:
    now = 1_900_000_000
    for number, owner in enumerate(["user_1", "user_2", "user_1", "user_1"]):
        await kept.add(short_code=f"code{number}", owner_id=owner, is_alias=True, expires_at=2_000_000_000)
        await kept.increment(f"code{number}")
    await kept.delete("code0")
    other = await kept.find("code1")

    async def erase(limit: int) -> list[LinkRef]:
        return await kept.transactions(lambda tx: kept.store.erase_owned(tx, "user_1", now=now, limit=limit))

    assert await erase(1) == [LinkRef(3, "code2")]  # Those that redirect go first.
    assert await erase(10) == [LinkRef(4, "code3")]
    assert await erase(10) == [LinkRef(1, "code0")]
    assert await erase(10) == []
    for link_id, code in ((1, "code0"), (3, "code2"), (4, "code3")):
        erased = LinkDetails(link_id, code, "", "", now, now, 0, now, is_alias=True)
        assert await kept.find(code) == counted(erased, 0)
        assert set(await kept.add_clicks({LinkRef(link_id, code): 5})) == set()
        assert await kept.add(short_code=code, owner_id="user_1", is_alias=True) is None
        assert await kept.increment(code) is None
    assert await kept.find("code1") == other
    assert await kept.store.owned("user_1", after=0, limit=10) == []


async def test_the_outbox_gives_events_in_order_until_they_are_removed(database: SqliteDatabase) -> None:
    outbox = SqliteOutbox(database)
    service = a_link_service(
        store=SqliteLinkStore(database),
        transactions=database.transaction,
        replays=some_replays(transactions=database.transaction),
        outbox=outbox,
    )
    link = (await service.create(a_draft("spring"))).link
    other = (await service.create(a_draft(owner_id="2"))).link
    await service.delete("spring")
    with pytest.raises(errors.NotFound):
        await service.delete("spring")
    await service.increment_clicks(other.short_code)
    await database.transaction(lambda tx: service.erase_owned(tx, "2", limit=10))

    events = [
        (1, LinkEvent(EventKind.CREATED, link.ref, 1_800_000_000)),
        (2, LinkEvent(EventKind.CREATED, other.ref, 1_800_000_000)),
        (3, LinkEvent(EventKind.DELETED, link.ref, 1_800_000_000)),
        (4, LinkEvent(EventKind.DELETED, other.ref, 1_800_000_000)),
    ]
    assert await outbox.read(after=0, limit=10) == events
    assert await outbox.read(after=1, limit=2) == events[1:3]
    await database.transaction(lambda tx: outbox.remove(tx, up_to=3))
    assert await outbox.read(after=0, limit=10) == events[3:]


async def test_an_event_of_what_failed_is_not_in_the_outbox(database: SqliteDatabase) -> None:
    outbox = SqliteOutbox(database)

    def failing(tx: Tx) -> None:
        outbox.put(tx, LinkEvent(EventKind.CHANGED, LinkRef(1, "abc1234"), 1))
        raise RuntimeError("changed my mind")

    with pytest.raises(RuntimeError, match="changed my mind"):
        await database.transaction(failing)
    assert await outbox.read(after=0, limit=10) == []


async def test_without_an_outbox_nothing_is_written_there(database: SqliteDatabase) -> None:
    service = a_link_service(store=SqliteLinkStore(database), transactions=database.transaction)
    await service.create(a_draft("spring"))
    await service.delete("spring")
    assert await SqliteOutbox(database).read(after=0, limit=10) == []
