"""The cache over a store that answers late and in any order: creates after a 404, deletes and clicks during a fill."""

import asyncio
import random
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from shortener.config.sections import Cache
from shortener.links import Link
from shortener.links.cache import CachedLinkStore
from tests.links.builders import a_new_link
from tests.links.fakes import MemoryLinkStore
from tests.support.fakes import FakeTx

CODES = ("one", "two", "three")
PROMISE = "reads after an acknowledged write see it"
State = tuple[int, bool] | None  # a link's id and whether it is deleted


class LateStore(MemoryLinkStore):
    """Looks some turns of the loop after it was asked, and answers some turns later."""

    def __init__(self, dice: random.Random) -> None:
        super().__init__()
        self._dice = dice

    async def find_many(self, short_codes: Sequence[str]) -> dict[str, Link]:
        await self.a_while()
        found = await super().find_many(short_codes)
        await self.a_while()
        return found

    async def a_while(self) -> None:
        for _ in range(self._dice.randrange(8)):
            await asyncio.sleep(0)


class History:
    """One code's states in order: those before `done` are certainly past, those beyond `begun` have not come."""

    def __init__(self) -> None:
        self.states: list[State] = [None]
        self.done = 0
        self.clicks_done: dict[int, int] = {}
        self.clicks_begun: dict[int, int] = {}


class World:
    def __init__(self, seed: int) -> None:
        self.dice = random.Random(seed)
        self.store = LateStore(self.dice)
        self.now = 0.0
        self.cache = CachedLinkStore(
            self.store,
            Cache(size_max=1, ttl_seconds=3, missing_size_max=1, missing_ttl_seconds=3),
            timer=lambda: self.now,
        )
        self.histories = {code: History() for code in CODES}
        self.reads = 0

    async def commit(self, work: Callable[[Any], Any]) -> Any:
        """Do as the writer: readers of the store see the commit some time before the cache hears of it."""
        tx = FakeTx()
        result = work(tx)
        await self.store.a_while()
        for callback in tx.callbacks:
            callback()
        return result

    async def writer(self, code: str) -> None:
        """Create, click, delete, and again."""
        history = self.histories[code]
        for _ in range(6):
            self.now += self.dice.choice([0, 0, 1, 4])
            link_id = self.store.last_id + 1
            history.clicks_begun[link_id] = history.clicks_done[link_id] = 0
            history.states.append((link_id, False))
            link = await self.commit(lambda tx: self.cache.add(tx, a_new_link(short_code=code, is_alias=True)))
            assert link.id == link_id
            history.done += 1
            await self.read(code)
            for _ in range(self.dice.randrange(4)):
                history.clicks_begun[link_id] += 2
                await self.commit(lambda tx, ref=link.ref: self.cache.add_clicks(tx, {ref: 2}))
                history.clicks_done[link_id] += 2
                await self.read(code)
            history.states.append((link_id, True))
            await self.commit(lambda tx: self.cache.delete(tx, code, now=1_900_000_000))
            history.done += 1
            await self.read(code)

    async def read(self, code: str) -> None:
        history = self.histories[code]
        since, clicks = history.done, dict(history.clicks_done)
        found = await self.cache.find(code)
        state = None if found is None else (found.id, bool(found.deleted_at))
        assert state in history.states[since:], (code, since, history.states, found)
        if found is not None:
            assert clicks.get(found.id, 0) <= found.clicks <= history.clicks_begun[found.id], (clicks, found)
        self.reads += 1

    async def reader(self) -> None:
        for _ in range(80):
            task = asyncio.create_task(self.read(self.dice.choice(CODES)))
            await self.store.a_while()
            if self.dice.random() < 0.2:
                task.cancel()
            await asyncio.wait({task})
            if not task.cancelled():
                task.result()

    async def run(self) -> int:
        await asyncio.gather(*(self.writer(code) for code in CODES), *(self.reader() for _ in range(4)))
        await self.cache.close()
        assert self.cache._fills == {}
        return self.reads


@pytest.mark.timeout(3600)
def test_no_order_of_late_answers_makes_a_read_stale(
    size: Callable[[int, int], int], figure: Callable[[str, str], None]
) -> None:
    worlds, reads = size(15, 2_000), 0
    for _ in range(worlds):
        seed = random.randrange(1 << 32)
        try:
            reads += asyncio.run(World(seed).run())
        except AssertionError as error:
            raise AssertionError(f"seed {seed}") from error
    figure(PROMISE, f"a store that answers late: {worlds:,} random orders, {reads:,} reads: none stale")
