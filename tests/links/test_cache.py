"""What the cache keeps, for how long, and how misses share reads."""

import asyncio
import gc
from collections.abc import Coroutine
from typing import Any

import pytest

from shortener import errors
from shortener.links import Link, LinkDetails, LinkRecord
from shortener.links.cache import BATCH_MAX, CacheStats, MemoryLinkCache
from shortener.links.model import LinkCounts, is_live
from tests.support.link_builders import a_link, a_record
from tests.support.slow_store import SlowStore, Timer, Writes, add, begin, delete, put, transact


def links_of(details: list[LinkDetails]) -> list[Link]:
    return [each.link for each in details]


def without_suspending(reading: Coroutine[Any, Any, object]) -> object:
    with pytest.raises(StopIteration) as stopped:
        reading.send(None)
    found: object = stopped.value.value
    return found


async def test_a_link_is_read_once(cache: MemoryLinkCache, inner: SlowStore) -> None:
    [link] = links_of(put(inner, "abc1234"))
    assert cache.links.peek("abc1234") is None
    assert [await cache.find("abc1234") for _ in range(3)] == [link] * 3
    assert cache.links.peek("abc1234") == link
    assert inner.reads == [("abc1234",)]
    assert cache.stats == CacheStats(hits=3, unknown_hits=0, misses=1, reads=1)
    assert len(cache.links) == 1


async def test_a_hit_does_not_suspend(cache: MemoryLinkCache, inner: SlowStore) -> None:
    [link] = links_of(put(inner, "abc1234"))
    await cache.find("abc1234")
    await cache.find("unknown")
    assert without_suspending(cache.find("abc1234")) == link
    assert without_suspending(cache.find("unknown")) is None
    await cache.find_record("abc1234")
    assert without_suspending(cache.find_record("abc1234")) == a_record()


async def test_keys_have_the_form_the_contract_names(cache: MemoryLinkCache, inner: SlowStore) -> None:
    put(inner, "abc1234")
    await cache.find("abc1234")
    await cache.find("unknown")
    assert list(cache.links._entries) == ["url:abc1234"]
    assert list(cache.links._unknown) == ["url:unknown"]


async def test_a_link_is_read_again_after_its_time_to_live(
    cache: MemoryLinkCache, inner: SlowStore, timer: Timer
) -> None:
    put(inner, "abc1234")
    await cache.find("abc1234")
    timer.now = 899.9
    await cache.find("abc1234")
    assert len(inner.reads) == 1
    timer.now = 900
    await cache.find("abc1234")
    assert len(inner.reads) == 2


async def test_an_unknown_code_is_remembered_briefly(cache: MemoryLinkCache, inner: SlowStore, timer: Timer) -> None:
    assert await cache.find("unknown") is None
    timer.now = 4.9
    assert await cache.find("unknown") is None
    assert cache.stats == CacheStats(hits=0, unknown_hits=1, misses=1, reads=1)
    timer.now = 5
    assert await cache.find("unknown") is None
    assert len(inner.reads) == 2


async def test_both_memories_are_bounded_and_apart(cache: MemoryLinkCache, inner: SlowStore) -> None:
    links = put(inner, *[f"code{number}" for number in range(4)])
    for link in links:
        await cache.find(link.short_code)
    for number in range(10):
        await cache.find(f"unknown{number}")
    assert [cache.links.peek(link.short_code) for link in links] == [None, *links_of(links[1:])]
    assert len(cache.links._unknown) == 3


async def test_expiry_is_the_links_own_affair(cache: MemoryLinkCache, inner: SlowStore) -> None:
    put(inner, "abc1234", expires_at=1_800_000_005)
    await cache.find("abc1234")
    link = cache.links.peek("abc1234")
    assert link
    assert is_live(link, 1_800_000_004)
    assert not is_live(link, 1_800_000_005)


async def test_concurrent_misses_of_one_code_make_one_read(cache: MemoryLinkCache, inner: SlowStore) -> None:
    [link] = links_of(put(inner, "abc1234"))
    inner.slow = True
    readers = [asyncio.create_task(cache.find("abc1234")) for _ in range(100)]
    await inner.begun()
    late = await begin(cache.find("abc1234"))
    inner.answer()
    assert await asyncio.gather(*readers, late) == [link] * 101
    assert inner.reads == [("abc1234",)]


async def test_misses_of_one_moment_make_one_read(cache: MemoryLinkCache, inner: SlowStore) -> None:
    put(inner, "code0", "code1")
    found = await asyncio.gather(*[cache.find(f"code{number}") for number in range(5)])
    assert [link.short_code for link in found if link] == ["code0", "code1"]
    assert inner.reads == [("code0", "code1", "code2", "code3", "code4")]


async def test_a_read_is_bounded(cache: MemoryLinkCache, inner: SlowStore) -> None:
    await asyncio.gather(*[cache.find(f"code{number}") for number in range(2 * BATCH_MAX + 1)])
    assert [len(codes) for codes in inner.reads] == [BATCH_MAX, BATCH_MAX, 1]


async def test_a_cancelled_waiter_takes_nobody_with_it(cache: MemoryLinkCache, inner: SlowStore) -> None:
    [link] = links_of(put(inner, "abc1234"))
    inner.slow = True
    first, second = await begin(cache.find("abc1234")), await begin(cache.find("abc1234"))
    await inner.begun()
    first.cancel()
    await asyncio.wait({first})
    assert first.cancelled()
    inner.answer()
    assert await second == link
    assert cache.links.peek("abc1234") == link


async def test_a_read_nobody_waits_for_any_more_is_still_kept(cache: MemoryLinkCache, inner: SlowStore) -> None:
    [link] = links_of(put(inner, "abc1234"))
    inner.slow = True
    reader = await begin(cache.find("abc1234"))
    await inner.begun()
    reader.cancel()
    await asyncio.wait({reader})
    inner.answer()
    await cache.close()
    assert cache.links.peek("abc1234") == link


async def test_a_failed_read_reaches_all_who_wait_and_nobody_else(cache: MemoryLinkCache, inner: SlowStore) -> None:
    [link] = links_of(put(inner, "abc1234"))
    inner.slow = True
    readers = [await begin(cache.find("abc1234")) for _ in range(3)]
    await inner.begun()
    readers[0].cancel()
    inner.waiting.pop().set_exception(errors.Unavailable("busy"))
    await asyncio.wait(readers)
    assert [type(reader.exception()) for reader in readers[1:]] == [errors.Unavailable] * 2
    inner.slow = False
    assert await cache.find("abc1234") == link


async def test_a_failed_read_nobody_waits_for_is_silent(cache: MemoryLinkCache, inner: SlowStore) -> None:
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


async def test_close_waits_for_reads(cache: MemoryLinkCache, inner: SlowStore) -> None:
    inner.slow = True
    reader = await begin(cache.find("abc1234"))
    closing = asyncio.create_task(cache.close())
    await inner.begun()
    assert not closing.done()
    inner.answer()
    await closing
    assert reader.done()


async def test_a_new_link_is_in_memory(cache: MemoryLinkCache, writes: Writes, inner: SlowStore) -> None:
    link = await add(writes)
    assert cache.links.peek("abc1234") == link.link
    assert inner.reads == []


async def test_a_new_link_replaces_an_unknown_code(cache: MemoryLinkCache, writes: Writes) -> None:
    assert (await cache.find("abc1234"), await cache.find_record("abc1234")) == (None, None)
    link = await add(writes)
    assert await cache.find("abc1234") == link.link
    assert await cache.find_record("abc1234") == LinkRecord(link, LinkCounts(0))


async def test_a_deleted_link_is_read_anew(cache: MemoryLinkCache, writes: Writes) -> None:
    link = await add(writes)
    await cache.find_record("abc1234")
    await delete(writes)
    assert cache.links.peek("abc1234") is None
    deleted = link._replace(deleted_at=1_900_000_000, updated_at=1_900_000_000)
    assert await cache.find("abc1234") == deleted.link
    assert cache.links.peek("abc1234") == deleted.link
    assert await cache.find_record("abc1234") == LinkRecord(deleted, LinkCounts(0))


async def test_an_alias_taken_again(cache: MemoryLinkCache, writes: Writes) -> None:
    await add(writes, is_alias=True)
    await delete(writes)
    await cache.find("abc1234")
    await cache.find_record("abc1234")
    again = await add(writes, is_alias=True)
    assert again.id == 2
    assert await cache.find("abc1234") == again.link
    assert await cache.find_record("abc1234") == LinkRecord(again, LinkCounts(0))


async def test_counters_are_exact_at_hits(cache: MemoryLinkCache, writes: Writes, inner: SlowStore) -> None:
    link = await add(writes)
    assert await cache.find_record("abc1234") == LinkRecord(link, LinkCounts(0))
    await transact(lambda tx: writes.increment(tx, "abc1234"))
    assert await cache.find_record("abc1234") == LinkRecord(link, LinkCounts(1))
    await transact(lambda tx: writes.add_clicks(tx, {link.ref: 5, a_link(id=9, short_code="other").ref: 1}))
    assert [await cache.find_record("abc1234") for _ in range(3)] == [LinkRecord(link, LinkCounts(6))] * 3
    assert inner.reads == [("abc1234",)] * 3


async def test_counting_costs_redirects_nothing(cache: MemoryLinkCache, writes: Writes, inner: SlowStore) -> None:
    link = await add(writes)
    await transact(lambda tx: writes.add_clicks(tx, {link.ref: 5}))
    await transact(lambda tx: writes.increment(tx, "abc1234"))
    assert cache.links.peek("abc1234") == link.link
    assert inner.reads == []


async def test_what_is_kept_is_nothing_to_the_garbage_collector(cache: MemoryLinkCache, inner: SlowStore) -> None:
    [link] = put(inner, "abc1234")
    await cache.find("abc1234")
    await cache.find_record("abc1234")
    for _ in range(3):  # a tuple is forgotten in the round after its parts were
        gc.collect()
    entries = cache.links._entries["url:abc1234"], cache.records._entries["url:abc1234"]
    assert entries == ((900, tuple(link.link)), (900, (tuple(link), 0)))
    for deadline_and_row in entries:
        assert not gc.is_tracked(deadline_and_row)
        assert not gc.is_tracked(deadline_and_row[1])
