"""The cache over a store that answers late and in any order: creates after a 404, deletes and clicks during a fill."""

import asyncio
import random
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from shortener.links import Link, LinkDetails, LinkRecord
from tests.support.fakes import FakeTx
from tests.support.link_builders import a_new_link
from tests.support.link_fakes import MemoryLinkStore, a_cache
from tests.support.slow_store import Writes

CODES = ("one", "two", "three")
PROMISE = "reads after an acknowledged write see it"
State = tuple[int, bool] | None  # a link's id and whether it is deleted


class LateStore(MemoryLinkStore):
    """Looks some turns of the loop after it was asked, and answers some turns later."""

    def __init__(self, dice: random.Random) -> None:
        super().__init__()
        self._dice = dice

    async def links(self, short_codes: Sequence[str]) -> dict[str, Link]:
        await self.a_while()
        found = await super().links(short_codes)
        await self.a_while()
        return found

    async def records(self, short_codes: Sequence[str]) -> dict[str, LinkRecord]:
        await self.a_while()
        found = await super().records(short_codes)
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
        self.cache = a_cache(
            self.store, lambda: self.now, size_max=1, ttl_seconds=3, missing_size_max=1, missing_ttl_seconds=3
        )
        self.writes = Writes(self.store, self.cache)
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
            link = await self.commit(lambda tx: self.writes.add(tx, a_new_link(short_code=code, is_alias=True)))
            assert link.id == link_id
            history.done += 1
            await self.read(code)
            for _ in range(self.dice.randrange(4)):
                history.clicks_begun[link_id] += 2
                await self.commit(lambda tx, ref=link.ref: self.writes.add_clicks(tx, {ref: 2}))
                history.clicks_done[link_id] += 2
                await self.read(code)
            history.states.append((link_id, True))
            await self.commit(lambda tx: self.writes.delete(tx, code))
            history.done += 1
            await self.read(code)

    async def read(self, code: str) -> None:
        history = self.histories[code]
        since, clicks = history.done, dict(history.clicks_done)
        found: Link | LinkDetails | None
        if self.dice.random() < 0.5:
            found = await self.cache.find(code)
        else:
            record = await self.cache.find_record(code)
            found = record.details if record else None
            if record:
                link_id, counted = record.details.id, record.counts.clicks
                assert clicks.get(link_id, 0) <= counted <= history.clicks_begun[link_id], (clicks, record)
        state = None if found is None else (found.id, bool(found.deleted_at))
        assert state in history.states[since:], (code, since, history.states, found)
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
        assert (self.cache.links._fills, self.cache.records._fills) == ({}, {})
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
