"""The cache on its own: what it keeps, and that no order of reads and commits makes it answer wrongly."""

import asyncio
import gc
import random
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import replace
from typing import Any

import pytest

from shortener import errors
from shortener.links import Link
from shortener.links.cache import BATCH_MAX, CachedLinkStore, CacheStats
from shortener.links.store import SqliteLinkStore
from shortener.storage.sqlite import SqliteDatabase
from tests.fakes import FakeTransactions, FakeTx
from tests.links.builders import a_link, a_new_link
from tests.links.fakes import MemoryLinkStore


class Timer:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class SlowStore(MemoryLinkStore):
    """Sees what is there when a read begins, and answers when the test says so."""

    def __init__(self) -> None:
        super().__init__()
        self.slow = True
        self.waiting: list[asyncio.Future[None]] = []

    async def find_many(self, short_codes: Sequence[str]) -> dict[str, Link]:
        found = await super().find_many(short_codes)
        if self.slow:
            answer: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self.waiting.append(answer)
            await answer
        return found

    async def begun(self, count: int = 1) -> None:
        """Wait until so many reads wait for their answer."""
        for _ in range(10):
            if len(self.waiting) >= count:
                return
            await asyncio.sleep(0)
        raise AssertionError("no read has begun")

    def answer(self, which: int = 0) -> None:
        self.waiting.pop(which).set_result(None)


@pytest.fixture
def inner() -> SlowStore:
    store = SlowStore()
    store.slow = False
    return store


@pytest.fixture
def timer() -> Timer:
    return Timer()


@pytest.fixture
def cache(inner: SlowStore, timer: Timer) -> CachedLinkStore:
    return CachedLinkStore(inner, size_max=3, ttl_seconds=900, unknown_size_max=3, unknown_ttl_seconds=5, timer=timer)


transact = FakeTransactions()


async def add(cache: CachedLinkStore, short_code: str = "abc1234", **changes: object) -> Link:
    link = await transact(lambda tx: cache.add(tx, a_new_link(short_code=short_code, **changes)))
    assert link
    return link


async def delete(cache: CachedLinkStore, short_code: str = "abc1234") -> None:
    assert await transact(lambda tx: cache.delete(tx, short_code, now=1_900_000_000))


async def begin(reading: Coroutine[Any, Any, Link | None]) -> asyncio.Task[Link | None]:
    task = asyncio.create_task(reading)
    await asyncio.sleep(0)
    return task


def without_suspending(reading: Coroutine[Any, Any, Link | None]) -> Link | None:
    with pytest.raises(StopIteration) as stopped:
        reading.send(None)
    link: Link | None = stopped.value.value
    return link


def put(inner: MemoryLinkStore, *codes: str, **changes: object) -> list[Link]:
    """Put links into the store behind the cache's back."""
    tx = FakeTx()
    links = [inner.add(tx, a_new_link(short_code=code, **changes)) for code in codes]
    return [link for link in links if link]


async def test_a_link_is_read_once(cache: CachedLinkStore, inner: SlowStore) -> None:
    (link,) = put(inner, "abc1234")
    assert cache.peek("abc1234") is None
    assert [await cache.find("abc1234") for _ in range(3)] == [link] * 3
    assert cache.peek("abc1234") == link
    assert inner.reads == [("abc1234",)]
    assert cache.stats == CacheStats(hits=3, unknown_hits=0, misses=1, reads=1)
    assert cache.size == 1


async def test_a_hit_does_not_suspend(cache: CachedLinkStore, inner: SlowStore) -> None:
    (link,) = put(inner, "abc1234")
    await cache.find("abc1234")
    await cache.find("unknown")
    assert without_suspending(cache.find("abc1234")) == link
    assert without_suspending(cache.find("unknown")) is None


async def test_keys_have_the_form_the_contract_names(cache: CachedLinkStore, inner: SlowStore) -> None:
    put(inner, "abc1234")
    await cache.find("abc1234")
    await cache.find("unknown")
    assert list(cache._links) == ["url:abc1234"]
    assert list(cache._unknown) == ["url:unknown"]


async def test_a_link_is_read_again_after_its_time_to_live(
    cache: CachedLinkStore, inner: SlowStore, timer: Timer
) -> None:
    put(inner, "abc1234")
    await cache.find("abc1234")
    timer.now = 899.9
    await cache.find("abc1234")
    assert len(inner.reads) == 1
    timer.now = 900
    await cache.find("abc1234")
    assert len(inner.reads) == 2


async def test_an_unknown_code_is_remembered_briefly(cache: CachedLinkStore, inner: SlowStore, timer: Timer) -> None:
    assert await cache.find("unknown") is None
    timer.now = 4.9
    assert await cache.find("unknown") is None
    assert cache.stats == CacheStats(hits=0, unknown_hits=1, misses=1, reads=1)
    timer.now = 5
    assert await cache.find("unknown") is None
    assert len(inner.reads) == 2


async def test_both_memories_are_bounded_and_apart(cache: CachedLinkStore, inner: SlowStore) -> None:
    links = put(inner, *[f"code{number}" for number in range(4)])
    for link in links:
        await cache.find(link.short_code)
    for number in range(10):
        await cache.find(f"unknown{number}")
    assert [cache.peek(link.short_code) for link in links] == [None, *links[1:]]
    assert len(cache._unknown) == 3


async def test_expiry_is_the_links_own_affair(cache: CachedLinkStore, inner: SlowStore) -> None:
    put(inner, "abc1234", expires_at=1_800_000_005)
    await cache.find("abc1234")
    link = cache.peek("abc1234")
    assert link
    assert link.is_live(1_800_000_004)
    assert not link.is_live(1_800_000_005)


async def test_concurrent_misses_of_one_code_make_one_read(cache: CachedLinkStore, inner: SlowStore) -> None:
    (link,) = put(inner, "abc1234")
    inner.slow = True
    readers = [asyncio.create_task(cache.find("abc1234")) for _ in range(100)]
    await inner.begun()
    late = await begin(cache.find("abc1234"))
    inner.answer()
    assert await asyncio.gather(*readers, late) == [link] * 101
    assert inner.reads == [("abc1234",)]


async def test_misses_of_one_moment_make_one_read(cache: CachedLinkStore, inner: SlowStore) -> None:
    put(inner, "code0", "code1")
    found = await asyncio.gather(*[cache.find(f"code{number}") for number in range(5)])
    assert [link.short_code for link in found if link] == ["code0", "code1"]
    assert inner.reads == [("code0", "code1", "code2", "code3", "code4")]


async def test_a_read_is_bounded(cache: CachedLinkStore, inner: SlowStore) -> None:
    await asyncio.gather(*[cache.find(f"code{number}") for number in range(2 * BATCH_MAX + 1)])
    assert [len(codes) for codes in inner.reads] == [BATCH_MAX, BATCH_MAX, 1]


async def test_a_cancelled_waiter_takes_nobody_with_it(cache: CachedLinkStore, inner: SlowStore) -> None:
    (link,) = put(inner, "abc1234")
    inner.slow = True
    first, second = await begin(cache.find("abc1234")), await begin(cache.find("abc1234"))
    await inner.begun()
    first.cancel()
    await asyncio.wait({first})
    assert first.cancelled()
    inner.answer()
    assert await second == link
    assert cache.peek("abc1234") == link


async def test_a_read_nobody_waits_for_any_more_is_still_kept(cache: CachedLinkStore, inner: SlowStore) -> None:
    (link,) = put(inner, "abc1234")
    inner.slow = True
    reader = await begin(cache.find("abc1234"))
    await inner.begun()
    reader.cancel()
    await asyncio.wait({reader})
    inner.answer()
    await cache.close()
    assert cache.peek("abc1234") == link


async def test_a_failed_read_reaches_all_who_wait_and_nobody_else(cache: CachedLinkStore, inner: SlowStore) -> None:
    (link,) = put(inner, "abc1234")
    inner.slow = True
    readers = [await begin(cache.find("abc1234")) for _ in range(3)]
    await inner.begun()
    readers[0].cancel()
    inner.waiting.pop().set_exception(errors.Unavailable("busy"))
    await asyncio.wait(readers)
    assert [type(reader.exception()) for reader in readers[1:]] == [errors.Unavailable] * 2
    inner.slow = False
    assert await cache.find("abc1234") == link


async def test_a_failed_read_nobody_waits_for_is_silent(cache: CachedLinkStore, inner: SlowStore) -> None:
    complaints: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: complaints.append(context))
    inner.slow = True
    reader = await begin(cache.find("abc1234"))
    await inner.begun()
    reader.cancel()
    await asyncio.wait({reader})
    inner.waiting.pop().set_exception(errors.Unavailable("busy"))
    await cache.close()
    gc.collect()
    assert complaints == []


async def test_close_waits_for_reads(cache: CachedLinkStore, inner: SlowStore) -> None:
    inner.slow = True
    reader = await begin(cache.find("abc1234"))
    closing = asyncio.create_task(cache.close())
    await inner.begun()
    assert not closing.done()
    inner.answer()
    await closing
    assert reader.done()


async def test_a_new_link_is_in_memory(cache: CachedLinkStore, inner: SlowStore) -> None:
    link = await add(cache)
    assert cache.peek("abc1234") == link
    assert inner.reads == []


async def test_a_new_link_replaces_an_unknown_code(cache: CachedLinkStore) -> None:
    assert await cache.find("abc1234") is None
    link = await add(cache)
    assert await cache.find("abc1234") == link


async def test_a_deleted_link_is_read_anew(cache: CachedLinkStore) -> None:
    link = await add(cache)
    await delete(cache)
    assert cache.peek("abc1234") is None
    deleted = replace(link, deleted_at=1_900_000_000, updated_at=1_900_000_000)
    assert await cache.find("abc1234") == deleted
    assert cache.peek("abc1234") == deleted


async def test_an_alias_taken_again(cache: CachedLinkStore) -> None:
    await add(cache, is_alias=True)
    await delete(cache)
    await cache.find("abc1234")
    again = await add(cache, is_alias=True)
    assert await cache.find("abc1234") == again
    assert again.id == 2


async def test_counters_are_exact_at_hits(cache: CachedLinkStore, inner: SlowStore, timer: Timer) -> None:
    link = await add(cache)
    await transact(lambda tx: cache.increment(tx, "abc1234"))
    await transact(lambda tx: cache.add_clicks(tx, {link.ref: 5, a_link(id=9, short_code="other").ref: 1}))
    assert cache.peek("abc1234") == replace(link, clicks=6)
    assert inner.reads == []
    timer.now = 900
    assert cache.peek("abc1234") is None  # counting does not make it live longer


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
    assert await late == replace(link, clicks=6)
    assert await early == replace(link, clicks=6)
    assert cache.peek("abc1234") == replace(link, clicks=6)
    assert len(inner.reads) == 1


async def test_a_read_that_saw_a_commit_before_the_cache_heard_of_it(cache: CachedLinkStore, inner: SlowStore) -> None:
    (link,) = put(inner, "abc1234")
    tx = FakeTx()
    cache.add_clicks(tx, {link.ref: 5})
    assert await cache.find("abc1234") == replace(link, clicks=5)
    for callback in tx.callbacks:
        callback()
    assert await cache.find("abc1234") == replace(link, clicks=5)


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


async def test_reads_that_go_past_the_cache(cache: CachedLinkStore, inner: SlowStore) -> None:
    link = await add(cache)
    assert await cache.find_many(["abc1234", "unknown"]) == {"abc1234": link}
    assert await cache.page("1", 20, 0) == ([link], 1)
    assert len(cache._unknown) == 0


@pytest.mark.parametrize("seed", range(5))
async def test_no_order_of_reads_and_writes_gives_a_stale_answer(database: SqliteDatabase, seed: int) -> None:
    """Acknowledged writes are seen by every later read, on the real store, with caches too small for the codes."""
    cache = CachedLinkStore(
        SqliteLinkStore(database), size_max=4, ttl_seconds=0.02, unknown_size_max=2, unknown_ttl_seconds=0.02
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
