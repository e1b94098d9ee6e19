"""A store that answers when the test says so, and what tests of the cache do with it."""

import asyncio
from collections.abc import Coroutine, Sequence
from typing import Any

from shortener.links import Link
from shortener.links.cache import CachedLinkStore
from tests.links.builders import a_new_link
from tests.links.fakes import MemoryLinkStore
from tests.support.fakes import FakeTransactions, FakeTx


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


def put(inner: MemoryLinkStore, *codes: str, **changes: object) -> list[Link]:
    """Put links into the store behind the cache's back."""
    tx = FakeTx()
    links = [inner.add(tx, a_new_link(short_code=code, **changes)) for code in codes]
    return [link for link in links if link]
