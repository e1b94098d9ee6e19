"""What the cache keeps, for how long, and how misses share reads."""

import asyncio
import gc
from collections.abc import Coroutine
from typing import Any

import pytest

from shortener import errors
from shortener.links import Link
from shortener.links.cache import BATCH_MAX, CachedLinkStore, CacheStats
from tests.links.builders import a_link
from tests.links.slow_store import SlowStore, Timer, add, begin, delete, put, transact


def without_suspending(reading: Coroutine[Any, Any, Link | None]) -> Link | None:
    with pytest.raises(StopIteration) as stopped:
        reading.send(None)
    link: Link | None = stopped.value.value
    return link


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
    deleted = link._replace(deleted_at=1_900_000_000, updated_at=1_900_000_000)
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
    assert cache.peek("abc1234") == link._replace(clicks=6)
    assert inner.reads == []
    timer.now = 900
    assert cache.peek("abc1234") is None  # counting does not make it live longer


async def test_reads_that_go_past_the_cache(cache: CachedLinkStore, inner: SlowStore) -> None:
    link = await add(cache)
    assert await cache.find_many(["abc1234", "unknown"]) == {"abc1234": link}
    assert await cache.page("1", 20, 0) == ([link], 1)
    assert len(cache._unknown) == 0


async def test_what_is_kept_is_nothing_to_the_garbage_collector(cache: CachedLinkStore, inner: SlowStore) -> None:
    (link,) = put(inner, "abc1234")
    await cache.find("abc1234")
    cache._counted({link.ref: 9})
    assert cache.peek("abc1234") == link._replace(clicks=9)
    for _ in range(2):  # a tuple is forgotten in the round after its parts were
        gc.collect()
    deadline, row = cache._links["url:abc1234"]
    assert (deadline, row) == (900, tuple(link._replace(clicks=9)))
    assert not gc.is_tracked(row)
    assert not gc.is_tracked(cache._links["url:abc1234"])
