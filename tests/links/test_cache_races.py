"""No order of reads and commits makes the cache answer wrongly."""

import asyncio
import random
from collections.abc import Callable
from typing import Any

import pytest

from shortener.config.sections import Cache
from shortener.links import Link
from shortener.links.cache import CachedLinkStore
from shortener.links.sqlite import SqliteLinkStore
from shortener.storage.sqlite.database import SqliteDatabase
from tests.links.builders import a_new_link
from tests.links.slow_store import SlowStore, add, begin, delete, put, transact
from tests.support.fakes import FakeTx


async def test_a_delete_during_a_read(cache: CachedLinkStore, inner: SlowStore) -> None:
    (link,) = put(inner, "abc1234")
    inner.slow = True
    early = await begin(cache.find("abc1234"))
    await inner.begun()
    await delete(cache)

    late = await begin(cache.find("abc1234"))
    await inner.begun(2)
    inner.answer()
    assert await early == link  # it asked before the delete
    assert cache.peek("abc1234") is None
    inner.answer()
    found = await late
    assert found
    assert found.deleted_at
    assert cache.peek("abc1234") == found


async def test_a_delete_during_a_read_that_is_overtaken(cache: CachedLinkStore, inner: SlowStore) -> None:
    put(inner, "abc1234")
    inner.slow = True
    early = await begin(cache.find("abc1234"))
    await inner.begun()
    await delete(cache)
    late = await begin(cache.find("abc1234"))
    await inner.begun(2)
    inner.answer(1)
    found = await late
    inner.answer()
    await early
    assert found
    assert found.deleted_at
    assert cache.peek("abc1234") == found  # the older answer came later and is not kept


async def test_a_delete_before_the_read_of_a_waiting_batch(cache: CachedLinkStore, inner: SlowStore) -> None:
    put(inner, "abc1234")

    async def delete_now() -> None:
        await delete(cache)

    found = await asyncio.gather(cache.find("abc1234"), delete_now(), cache.find("abc1234"))
    assert [bool(link and link.deleted_at) for link in (found[0], found[2])] == [True, True]
    assert cache.peek("abc1234") == found[0]
    assert len(inner.reads) == 1


async def test_a_create_during_a_read_of_the_unknown_code(cache: CachedLinkStore, inner: SlowStore) -> None:
    inner.slow = True
    early = await begin(cache.find("abc1234"))
    await inner.begun()
    link = await add(cache)
    assert await cache.find("abc1234") == link
    inner.answer()
    assert await early is None
    assert await cache.find("abc1234") == link
    assert cache.stats.unknown_hits == 0


async def test_clicks_during_a_read(cache: CachedLinkStore, inner: SlowStore) -> None:
    (link,) = put(inner, "abc1234")
    inner.slow = True
    early = await begin(cache.find("abc1234"))
    await inner.begun()
    await transact(lambda tx: cache.add_clicks(tx, {link.ref: 5}))
    await transact(lambda tx: cache.increment(tx, "abc1234"))
    late = await begin(cache.find("abc1234"))
    inner.answer()
    assert await late == link._replace(clicks=6)
    assert await early == link._replace(clicks=6)
    assert cache.peek("abc1234") == link._replace(clicks=6)
    assert len(inner.reads) == 1


async def test_a_read_that_saw_a_commit_before_the_cache_heard_of_it(cache: CachedLinkStore, inner: SlowStore) -> None:
    (link,) = put(inner, "abc1234")
    tx = FakeTx()
    cache.add_clicks(tx, {link.ref: 5})
    assert await cache.find("abc1234") == link._replace(clicks=5)
    for callback in tx.callbacks:
        callback()
    assert await cache.find("abc1234") == link._replace(clicks=5)


async def test_the_end_of_a_link_read_before_the_cache_heard_of_its_beginning(
    cache: CachedLinkStore, inner: SlowStore
) -> None:
    tx = FakeTx()
    link = cache.add(tx, a_new_link())
    assert link
    assert cache.delete(tx, "abc1234", now=1_900_000_000)
    found = await cache.find("abc1234")
    created, deleted = tx.callbacks
    created()
    assert cache.peek("abc1234") == found
    deleted()
    assert await cache.find("abc1234") == found


async def test_counters_of_an_earlier_life_do_not_count(cache: CachedLinkStore) -> None:
    first = await add(cache, is_alias=True)
    tx = FakeTx()
    cache.add_clicks(tx, {first.ref: 43})
    assert cache.delete(tx, "abc1234", now=1_900_000_000)
    again = await add(cache, is_alias=True)
    for callback in tx.callbacks[:1]:
        callback()
    assert cache.peek("abc1234") == again
    assert again.clicks == 0


@pytest.mark.parametrize("seed", range(5))
async def test_no_order_of_reads_and_writes_gives_a_stale_answer(database: SqliteDatabase, seed: int) -> None:
    """Acknowledged writes are seen by every later read, on the real store, with caches too small for the codes."""
    cache = CachedLinkStore(
        SqliteLinkStore(database), Cache(size_max=4, ttl_seconds=0.02, missing_size_max=2, missing_ttl_seconds=0.02)
    )
    chance = random.Random(seed)
    codes = [f"code{number}" for number in range(6)]
    known: dict[str, Link | None] = dict.fromkeys(codes)

    async def write(code: str) -> None:
        work: Callable[[Any], object] = chance.choice(
            [
                lambda tx: cache.add(tx, a_new_link(short_code=code, is_alias=True)),
                lambda tx: cache.delete(tx, code, now=1_900_000_000),
                lambda tx: cache.increment(tx, code),
                lambda tx: cache.add_clicks(tx, {link.ref: 3}) if (link := known[code]) else None,
            ]
        )
        await database.transaction(work)
        known[code] = await SqliteLinkStore(database).find(code)

    async def writer(own_codes: list[str]) -> None:
        for _ in range(40):
            code = chance.choice(own_codes)
            await write(code)
            expected = known[code]
            assert await cache.find(code) == expected

    async def reader() -> None:
        for _ in range(150):
            task = asyncio.create_task(cache.find(chance.choice(codes)))
            await asyncio.sleep(0)
            if chance.random() < 0.2:
                task.cancel()
            await asyncio.wait({task})

    await asyncio.gather(*[writer([code]) for code in codes], *[reader() for _ in range(4)])
    assert [await cache.find(code) for code in codes] == list(known.values())
    await cache.close()
