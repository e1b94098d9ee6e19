"""No order of reads and commits makes the cache answer wrongly."""

import asyncio
import random
from collections.abc import Callable
from typing import Any

import pytest

from shortener.links import LinkRecord
from shortener.links.cache import MemoryLinkCache
from shortener.links.model import LinkCounts
from shortener.links.sqlite import SqliteLinkStore
from shortener.storage.sqlite.database import SqliteDatabase
from tests.support.fakes import FakeTx
from tests.support.link_builders import a_new_link
from tests.support.link_fakes import a_cache
from tests.support.slow_store import SlowStore, Writes, add, begin, delete, put, transact


async def test_a_delete_during_a_read(cache: MemoryLinkCache, writes: Writes, inner: SlowStore) -> None:
    [link] = put(inner, "abc1234")
    inner.slow = True
    early = await begin(cache.find("abc1234"))
    await inner.begun()
    await delete(writes)

    late = await begin(cache.find("abc1234"))
    await inner.begun(2)
    inner.answer()
    assert await early == link.link  # it asked before the delete
    assert cache.links.peek("abc1234") is None
    inner.answer()
    found = await late
    assert found
    assert found.deleted_at
    assert cache.links.peek("abc1234") == found


async def test_a_delete_during_a_read_that_is_overtaken(
    cache: MemoryLinkCache, writes: Writes, inner: SlowStore
) -> None:
    put(inner, "abc1234")
    inner.slow = True
    early = await begin(cache.find("abc1234"))
    await inner.begun()
    await delete(writes)
    late = await begin(cache.find("abc1234"))
    await inner.begun(2)
    inner.answer(1)
    found = await late
    inner.answer()
    await early
    assert found
    assert found.deleted_at
    assert cache.links.peek("abc1234") == found  # the older answer came later and is not kept


async def test_a_delete_before_the_read_of_a_waiting_batch(
    cache: MemoryLinkCache, writes: Writes, inner: SlowStore
) -> None:
    put(inner, "abc1234")
    found = await asyncio.gather(cache.find("abc1234"), delete(writes), cache.find("abc1234"))
    assert [bool(link and link.deleted_at) for link in (found[0], found[2])] == [True, True]
    assert cache.links.peek("abc1234") == found[0]
    assert len(inner.reads) == 1


async def test_a_create_during_a_read_of_the_unknown_code(
    cache: MemoryLinkCache, writes: Writes, inner: SlowStore
) -> None:
    inner.slow = True
    early, early_record = await begin(cache.find("abc1234")), await begin(cache.find_record("abc1234"))
    await inner.begun(2)
    link = await add(writes)
    assert await cache.find("abc1234") == link.link
    late_record = await begin(cache.find_record("abc1234"))
    await inner.begun(3)
    for _ in range(3):
        inner.answer()
    assert (await early, await early_record) == (None, None)
    assert await cache.find("abc1234") == link.link
    assert await late_record == await cache.find_record("abc1234") == LinkRecord(link, LinkCounts(0))
    assert cache.stats.unknown_hits == 0


async def test_clicks_during_a_read(cache: MemoryLinkCache, writes: Writes, inner: SlowStore) -> None:
    [link] = put(inner, "abc1234")
    inner.slow = True
    early = await begin(cache.find_record("abc1234"))
    await inner.begun()
    await transact(lambda tx: writes.add_clicks(tx, {link.ref: 5}))
    await transact(lambda tx: writes.increment(tx, "abc1234"))
    late = await begin(cache.find_record("abc1234"))
    await inner.begun(2)
    inner.answer(1)
    assert await late == LinkRecord(link, LinkCounts(6))
    inner.answer()
    assert await early == LinkRecord(link, LinkCounts(0))  # it asked before the clicks were counted
    assert cache.records.peek("abc1234") == LinkRecord(link, LinkCounts(6))


async def test_a_read_that_saw_a_commit_before_the_cache_heard_of_it(
    cache: MemoryLinkCache, writes: Writes, inner: SlowStore
) -> None:
    [link] = put(inner, "abc1234")
    tx = FakeTx()
    writes.add_clicks(tx, {link.ref: 5})
    assert await cache.find_record("abc1234") == LinkRecord(link, LinkCounts(5))
    for callback in tx.callbacks:
        callback()
    assert await cache.find_record("abc1234") == LinkRecord(link, LinkCounts(5))


async def test_the_end_of_a_link_read_before_the_cache_heard_of_its_beginning(
    cache: MemoryLinkCache, writes: Writes
) -> None:
    tx = FakeTx()
    assert writes.add(tx, a_new_link())
    assert writes.delete(tx, "abc1234")
    found = await cache.find("abc1234")
    created, deleted = tx.callbacks
    created()
    assert cache.links.peek("abc1234") == found
    deleted()
    assert await cache.find("abc1234") == found


@pytest.mark.parametrize("seed", range(5))
async def test_no_order_of_reads_and_writes_gives_a_stale_answer(database: SqliteDatabase, seed: int) -> None:
    """Acknowledged writes are seen by every later read, on the real store, with caches too small for the codes."""
    store = SqliteLinkStore(database)
    cache = a_cache(store, size_max=4, ttl_seconds=0.02, missing_size_max=2, missing_ttl_seconds=0.02)
    writes = Writes(store, cache)
    chance = random.Random(seed)
    codes = [f"code{number}" for number in range(6)]
    known: dict[str, LinkRecord | None] = dict.fromkeys(codes)

    async def write(code: str) -> None:
        work: Callable[[Any], object] = chance.choice(
            [
                lambda tx: writes.add(tx, a_new_link(short_code=code, is_alias=True)),
                lambda tx: writes.delete(tx, code),
                lambda tx: writes.increment(tx, code),
                lambda tx: writes.add_clicks(tx, {record.details.ref: 3}) if (record := known[code]) else None,
            ]
        )
        await database.transaction(work)
        known[code] = (await store.records([code])).get(code)

    async def check(code: str) -> None:
        record = known[code]
        assert await cache.find_record(code) == record
        assert await cache.find(code) == (record.details.link if record else None)

    async def writer(own_codes: list[str]) -> None:
        for _ in range(40):
            code = chance.choice(own_codes)
            await write(code)
            await check(code)

    async def reader() -> None:
        for _ in range(150):
            find = chance.choice([cache.find, cache.find_record])
            task: asyncio.Task[object] = asyncio.create_task(find(chance.choice(codes)))
            await asyncio.sleep(0)
            if chance.random() < 0.2:
                task.cancel()
            await asyncio.wait({task})

    await asyncio.gather(*[writer([code]) for code in codes], *[reader() for _ in range(4)])
    for code in codes:
        await check(code)
    await cache.close()
