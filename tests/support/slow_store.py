"""A store that answers when the test says so, and what tests of the cache do with it."""

import asyncio
from collections.abc import Collection, Coroutine, Mapping, Sequence
from functools import partial
from typing import Any, TypeVar

from shortener.links import Link, LinkDetails, LinkRecord, LinkRef
from shortener.links.cache import MemoryLinkCache
from shortener.links.ports import LinkStore
from shortener.tx import Tx
from tests.support.fakes import FakeTransactions, FakeTx
from tests.support.link_builders import a_new_link
from tests.support.link_fakes import MemoryLinkStore

T = TypeVar("T")


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

    async def links(self, short_codes: Sequence[str]) -> dict[str, Link]:
        found = await super().links(short_codes)
        await self._wait()
        return found

    async def records(self, short_codes: Sequence[str]) -> dict[str, LinkRecord]:
        found = await super().records(short_codes)
        await self._wait()
        return found

    async def _wait(self) -> None:
        if self.slow:
            answer: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self.waiting.append(answer)
            await answer

    async def begun(self, count: int = 1) -> None:
        """Wait until so many reads wait for their answer."""
        for _ in range(10):
            if len(self.waiting) >= count:
                return
            await asyncio.sleep(0)
        raise AssertionError("no read has begun")

    def answer(self, which: int = 0) -> None:
        self.waiting.pop(which).set_result(None)


class Writes:
    """Writes to a store of which a cache is told, as the service does them."""

    def __init__(self, store: LinkStore, cache: MemoryLinkCache) -> None:
        self.store = store
        self.cache = cache

    def add(self, tx: Tx, link: LinkDetails) -> LinkDetails | None:
        link_id = self.store.add(tx, link)
        if link_id is None:
            return None
        stored = link._replace(id=link_id)
        tx.on_commit(partial(self.cache.added, stored))
        return stored

    def delete(self, tx: Tx, short_code: str) -> bool:
        tx.on_commit(partial(self.cache.changed, short_code))
        return self.store.delete(tx, short_code, now=1_900_000_000) is not None

    def increment(self, tx: Tx, short_code: str) -> int | None:
        tx.on_commit(partial(self.cache.counted, [short_code]))
        return self.store.increment(tx, short_code)

    def add_clicks(self, tx: Tx, counts: Mapping[LinkRef, int]) -> Collection[LinkRef]:
        counted = self.store.add_clicks(tx, counts)
        tx.on_commit(partial(self.cache.counted, [ref.short_code for ref in counted]))
        return counted


transact = FakeTransactions()


async def add(writes: Writes, short_code: str = "abc1234", **changes: object) -> LinkDetails:
    link = await transact(lambda tx: writes.add(tx, a_new_link(short_code=short_code, **changes)))
    assert link
    return link


async def delete(writes: Writes, short_code: str = "abc1234") -> None:
    assert await transact(lambda tx: writes.delete(tx, short_code))


async def begin(reading: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
    task = asyncio.create_task(reading)
    await asyncio.sleep(0)
    return task


def put(inner: MemoryLinkStore, *codes: str, **changes: object) -> list[LinkDetails]:
    """Put links into the store behind the cache's back."""
    added = []
    for code in codes:
        link = a_new_link(short_code=code, **changes)
        link_id = inner.add(FakeTx(), link)
        assert link_id
        added.append(link._replace(id=link_id))
    return added
