"""One suite for every link store, the cached ones included."""

import asyncio
from dataclasses import dataclass

import pytest

from shortener.config.sections import Cache
from shortener.links import Link, LinkRef, LinkStore
from shortener.links.cache import CachedLinkStore
from shortener.links.sqlite import SqliteLinkStore
from shortener.storage.sqlite.database import SqliteDatabase
from shortener.storage.sqlite.sql import sql
from shortener.tx import Transactions
from tests.links.builders import a_link, a_new_link
from tests.links.fakes import MemoryLinkStore
from tests.support.fakes import FakeTransactions


@dataclass
class Kept:
    """A store and the transactions that go with it."""

    store: LinkStore
    transactions: Transactions

    async def add(self, **changes: object) -> Link | None:
        return await self.transactions(lambda tx: self.store.add(tx, a_new_link(**changes)))

    async def delete(self, short_code: str, owner_id: str | None = None, now: int = 1_900_000_000) -> bool:
        return await self.transactions(lambda tx: self.store.delete(tx, short_code, now=now, owner_id=owner_id))

    async def increment(self, short_code: str) -> Link | None:
        return await self.transactions(lambda tx: self.store.increment(tx, short_code))

    async def add_clicks(self, counts: dict[LinkRef, int]) -> dict[LinkRef, int]:
        return await self.transactions(lambda tx: self.store.add_clicks(tx, counts))


def cached(inner: LinkStore) -> CachedLinkStore:
    return CachedLinkStore(inner, Cache(size_max=10, ttl_seconds=900, missing_size_max=10, missing_ttl_seconds=10))


@pytest.fixture(params=["memory", "sqlite", "cached memory", "cached sqlite"])
def kept(request: pytest.FixtureRequest, database: SqliteDatabase) -> Kept:
    store: LinkStore = MemoryLinkStore() if "memory" in request.param else SqliteLinkStore(database)
    transactions: Transactions = FakeTransactions(store) if "memory" in request.param else database.transaction
    return Kept(cached(store) if "cached" in request.param else store, transactions)


async def test_an_added_link_is_found(kept: Kept) -> None:
    added = await kept.add(destination="https://example.com/%7e?a=b#c", expires_at=2_000_000_000, is_alias=True)
    assert added == a_link(id=1, destination="https://example.com/%7e?a=b#c", expires_at=2_000_000_000, is_alias=True)
    assert await kept.store.find("abc1234") == added
    assert await kept.store.find_many(["abc1234", "nothing"]) == {"abc1234": added}
    assert type(added.is_alias) is bool


async def test_nothing_is_found_in_an_empty_store(kept: Kept) -> None:
    assert await kept.store.find("abc1234") is None
    assert await kept.store.find_many([]) == {}
    assert await kept.store.find_many(["abc1234"]) == {}
    assert await kept.store.find_many(["abc1234", "b"]) == {}
    assert await kept.store.page("1", 20, 0) == ([], 0)
    assert await kept.delete("abc1234") is False
    assert await kept.increment("abc1234") is None
    assert await kept.add_clicks({LinkRef(1, "abc1234"): 1}) == {}


async def test_codes_are_case_sensitive(kept: Kept) -> None:
    upper = await kept.add(short_code="SALE")
    lower = await kept.add(short_code="sale")
    assert (await kept.store.find("SALE"), await kept.store.find("sale")) == (upper, lower)
    assert await kept.store.find("Sale") is None


async def test_a_code_in_use_is_taken(kept: Kept) -> None:
    first = await kept.add()
    assert await kept.add() is None
    assert await kept.add(is_alias=True) is None
    assert await kept.add(owner_id="2") is None
    assert await kept.store.find("abc1234") == first


async def test_a_deleted_code_stays_taken(kept: Kept) -> None:
    added = await kept.add()
    assert await kept.delete("abc1234", now=1_900_000_000) is True
    assert added
    assert await kept.store.find("abc1234") == added._replace(deleted_at=1_900_000_000, updated_at=1_900_000_000)
    assert await kept.delete("abc1234") is False
    assert await kept.add(is_alias=True) is None
    assert await kept.add(owner_id="2", is_alias=True) is None


async def test_ones_own_deleted_alias_starts_anew(kept: Kept) -> None:
    first = await kept.add(is_alias=True)
    assert first
    await kept.increment("abc1234")
    await kept.add_clicks({first.ref: 5})
    await kept.delete("abc1234")

    assert await kept.add(is_alias=False) is None
    assert await kept.add(owner_id="2", is_alias=True) is None
    again = await kept.add(is_alias=True, destination="https://example.org/", created_at=1_950_000_000)

    assert again
    assert again.id > first.id
    expected = a_link(
        id=again.id,
        is_alias=True,
        destination="https://example.org/",
        created_at=1_950_000_000,
        updated_at=1_950_000_000,
    )
    assert again == expected
    assert await kept.add_clicks({first.ref: 3, expected.ref: 1}) == {expected.ref: 1}
    assert await kept.store.find("abc1234") == expected._replace(clicks=1)


async def test_ids_are_never_used_again(kept: Kept) -> None:
    ids = []
    for _ in range(3):
        added = await kept.add(is_alias=True)
        assert added
        ids.append(added.id)
        await kept.delete("abc1234")
    assert ids == sorted(set(ids))


async def test_only_the_owner_deletes(kept: Kept) -> None:
    await kept.add(owner_id="1")
    assert await kept.delete("abc1234", owner_id="2") is False
    assert await kept.delete("abc1234", owner_id="1") is True


async def test_counters(kept: Kept) -> None:
    first, second = await kept.add(short_code="first"), await kept.add(short_code="second")
    assert first
    assert second
    assert await kept.increment("first") == first._replace(clicks=1)
    assert await kept.add_clicks({first.ref: 10, second.ref: 2, LinkRef(99, "other"): 1}) == {
        first.ref: 11,
        second.ref: 2,
    }
    assert await kept.increment("first") == first._replace(clicks=12)
    assert await kept.store.find("first") == first._replace(clicks=12)
    assert await kept.store.find("second") == second._replace(clicks=2)


async def test_a_deleted_link_is_not_incremented_but_its_clicks_are_counted(kept: Kept) -> None:
    link = await kept.add()
    assert link
    await kept.delete("abc1234")
    assert await kept.increment("abc1234") is None
    assert await kept.add_clicks({link.ref: 2}) == {link.ref: 2}
    found = await kept.store.find("abc1234")
    assert found
    assert found.clicks == 2


async def test_concurrent_increments_are_all_counted(kept: Kept) -> None:
    await kept.add()
    links = await asyncio.gather(*[kept.increment("abc1234") for _ in range(50)])
    assert sorted(link.clicks for link in links if link) == list(range(1, 51))


async def test_pages_are_newest_first_and_omit_deleted_links(kept: Kept) -> None:
    for number in range(5):
        await kept.add(short_code=f"code{number}", owner_id="1")
    await kept.add(short_code="other", owner_id="2")
    await kept.delete("code2")

    async def page(limit: int, offset: int) -> tuple[list[str], int]:
        links, total = await kept.store.page("1", limit, offset)
        return [link.short_code for link in links], total

    assert await page(10, 0) == (["code4", "code3", "code1", "code0"], 4)
    assert await page(2, 1) == (["code3", "code1"], 4)
    assert await page(2, 4) == ([], 4)
    assert await page(1000, 2**31 - 1) == ([], 4)


async def test_many_codes_at_once(kept: Kept) -> None:
    for number in range(30):
        await kept.add(short_code=f"code{number}")
    asked = [f"code{number}" for number in range(1_000)]
    assert sorted(await kept.store.find_many(asked)) == sorted(f"code{number}" for number in range(30))
    found = await asyncio.gather(*[kept.store.find(code) for code in asked])
    assert [link.short_code for link in found if link] == asked[:30]


async def test_a_failed_transaction_leaves_no_trace(database: SqliteDatabase) -> None:
    store = cached(SqliteLinkStore(database))
    link = await Kept(store, database.transaction).add()
    assert link

    def failing(tx: object) -> None:
        store.add(tx, a_new_link(short_code="second"))  # type: ignore[arg-type] # the engine gives the right one
        store.add_clicks(tx, {link.ref: 5})  # type: ignore[arg-type] # as above
        store.delete(tx, "abc1234", now=1)  # type: ignore[arg-type] # as above
        raise RuntimeError("changed my mind")

    with pytest.raises(RuntimeError, match="changed my mind"):
        await database.transaction(failing)
    assert await store.find("abc1234") == link
    assert await store.find("second") is None


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
    link = await kept.add()
    assert link
    await kept.increment("abc1234")
    await kept.add_clicks({link.ref: 5})
    assert await database.transaction(lambda tx: sql(tx).row("SELECT clicks, increments FROM links")) == (5, 1)


async def test_all_links_of_an_owner_are_listed_in_order(kept: Kept) -> None:
    for number, owner in enumerate(["user_1", "user_2", "user_1", "user_1"]):
        await kept.add(short_code=f"code{number}", owner_id=owner, expires_at=1_700_000_000 if number == 3 else 0)
    await kept.delete("code0")

    listed = await kept.store.owned("user_1", after=0, limit=10)
    assert [(link.short_code, bool(link.deleted_at)) for link in listed] == [
        ("code0", True),
        ("code2", False),
        ("code3", False),
    ]
    assert [link.id for link in await kept.store.owned("user_1", after=0, limit=2)] == [1, 3]
    assert [link.id for link in await kept.store.owned("user_1", after=3, limit=2)] == [4]
    assert await kept.store.owned("user_1", after=4, limit=2) == []
    assert await kept.store.owned("user_3", after=0, limit=2) == []


async def test_erased_links_keep_nothing_but_their_codes(kept: Kept) -> None:
    now = 1_900_000_000
    for number, owner in enumerate(["user_1", "user_2", "user_1", "user_1"]):
        await kept.add(short_code=f"code{number}", owner_id=owner, is_alias=True, expires_at=2_000_000_000)
        await kept.increment(f"code{number}")
    await kept.delete("code0")
    other = await kept.store.find("code1")

    async def erase(limit: int) -> list[LinkRef]:
        return await kept.transactions(lambda tx: kept.store.erase_owned(tx, "user_1", now=now, limit=limit))

    assert await erase(1) == [LinkRef(3, "code2")]  # Those that redirect go first.
    assert await erase(10) == [LinkRef(4, "code3")]
    assert await erase(10) == [LinkRef(1, "code0")]
    assert await erase(10) == []
    for link_id, code in ((1, "code0"), (3, "code2"), (4, "code3")):
        assert await kept.store.find(code) == Link(link_id, code, "", "", now, now, 0, now, is_alias=True, clicks=0)
        assert await kept.add_clicks({LinkRef(link_id, code): 5}) == {}
        assert await kept.add(short_code=code, owner_id="user_1", is_alias=True) is None
        assert await kept.increment(code) is None
    assert await kept.store.find("code1") == other
    assert await kept.store.owned("user_1", after=0, limit=10) == []
