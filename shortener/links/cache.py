"""Links in memory, in front of any `LinkStore`: exact at every hit, whatever the time to live.

What keeps it exact:

- Whether a link is live is asked of the link at each hit; the time to live only bounds how long an unused entry stays.
- The cache is told of writes in `tx.on_commit`: after the commit, before the writer's caller resumes. So a caller who
  knows of a write never reads what was there before it.
- A fill (a read under way for a code that missed) may have read before such a commit. It is then dropped from those
  under way: nobody joins it any more and its result is not kept.

What redirects need of a link is kept apart from its details and counters: clicks change the latter all the time.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Generic, TypeAlias, TypeVar, cast

from cachetools import LRUCache

from shortener.config.sections import Cache
from shortener.links.model import Link, LinkCounts, LinkDetails, LinkRecord
from shortener.links.ports import LinkStore

Timer = Callable[[], float]
V = TypeVar("V")
_Row: TypeAlias = tuple[object, ...]
BATCH_MAX = 500
"""Codes in one read; settling them takes about a millisecond of the event loop."""


@dataclass(slots=True)
class CacheStats:
    """Counters since the start; they grow in place."""

    hits: int = 0
    unknown_hits: int = 0
    """Codes known to be unknown."""
    misses: int = 0
    reads: int = 0
    """Reads of the store; one serves all misses of its moment."""


@dataclass(slots=True, eq=False)
class _Fill(Generic[V]):
    """A read for one code, waiting or under way."""

    result: asyncio.Future[V | None]
    begun: bool = False


class ReadThrough(Generic[V]):
    """What `read` finds by short code, kept for a while. Belongs to one event loop.

    Entries are bounded LRU caches with a deadline each. (`cachetools.TTLCache` costs twice as much a hit, and drops
    all expired entries in one go, which holds the event loop for 46 ms at 100,000.) They are plain tuples of plain
    values, which Python's garbage collector forgets after one look: over 100,000 objects of a class each of its full
    rounds held the event loop for 40 ms. So `pack` makes such a tuple of a value, and `unpack` a value of it.
    """

    def __init__(
        self,
        read: Callable[[Sequence[str]], Awaitable[dict[str, V]]],
        settings: Cache,
        stats: CacheStats,
        *,
        pack: Callable[[V], _Row],
        unpack: Callable[[_Row], V],
        timer: Timer = time.monotonic,
    ) -> None:
        self.reading: set[asyncio.Task[None]] = set()
        """Reads of the store under way."""
        self._stats = stats
        self._read = read
        self._settings = settings
        self._pack = pack
        self._unpack = unpack
        self._timer = timer
        self._entries: LRUCache[str, tuple[float, _Row]] = LRUCache(settings.size_max)
        self._unknown: LRUCache[str, float] = LRUCache(settings.missing_size_max)
        self._fills: dict[str, _Fill[V]] = {}
        self._next_batch: dict[str, _Fill[V]] | None = None

    def __len__(self) -> int:
        return len(self._entries)

    def peek(self, short_code: str) -> V | None:
        """Return what is in memory. None says nothing: ask `find`."""
        try:
            deadline, row = self._entries["url:" + short_code]
        except KeyError:
            return None
        if self._timer() >= deadline:
            return None
        self._stats.hits += 1
        return self._unpack(row)

    async def find(self, short_code: str) -> V | None:
        """Return what there is; None for a code that was never in use. Does not suspend when that is in memory."""
        value = self.peek(short_code)
        if value is not None:
            return value
        found = self.look_up(short_code)
        # Shielded: a waiter that is cancelled must not take the others' result with it.
        return None if found is None else await asyncio.shield(found)

    def look_up(self, short_code: str) -> "asyncio.Future[V | None] | None":
        """Return what will be found of a code that `peek` does not know, or None if it is known to be unknown.

        All who ask meanwhile have the same future: it must not be cancelled.
        """
        try:
            if self._timer() < self._unknown["url:" + short_code]:
                self._stats.unknown_hits += 1
                return None
        except KeyError:
            pass
        self._stats.misses += 1
        return self._fill(short_code).result

    def held(self, short_code: str) -> V | None:
        """Return what `peek` returns, or what is too old for that; nobody is answered with it."""
        entry = self._entries.get("url:" + short_code)
        return None if entry is None else self._unpack(entry[1])

    def keep(self, short_code: str, value: V) -> None:
        """Keep a value from now on."""
        self._entries["url:" + short_code] = (self._timer() + self._settings.ttl_seconds, self._pack(value))

    def forget(self, short_code: str) -> None:
        """Drop all that is known of a code; what a read under way may have seen is not kept."""
        self._entries.pop("url:" + short_code, None)
        self._unknown.pop("url:" + short_code, None)
        fill = self._fills.get(short_code)
        if fill is not None and fill.begun:
            del self._fills[short_code]

    def _fill(self, short_code: str) -> _Fill[V]:
        """Return the fill to wait for: the one under way, or a new one in the next batch."""
        fill = self._fills.get(short_code)
        if fill is None:
            fill = self._fills[short_code] = _Fill(asyncio.get_running_loop().create_future())
            if self._next_batch is not None and len(self._next_batch) < BATCH_MAX:
                self._next_batch[short_code] = fill
            else:
                # The task begins in the loop's next turn: what misses in this one joins the batch.
                self._next_batch = {short_code: fill}
                task = asyncio.create_task(self._read_all(self._next_batch))
                self.reading.add(task)
                task.add_done_callback(self.reading.discard)
        return fill

    async def _read_all(self, batch: dict[str, _Fill[V]]) -> None:
        if self._next_batch is batch:
            self._next_batch = None
        for fill in batch.values():
            fill.begun = True
        self._stats.reads += 1
        try:
            found = await self._read(list(batch))
        except Exception as error:  # noqa: BLE001 - it goes to everyone who waits
            for short_code, fill in batch.items():
                self._fail(short_code, fill, error)
        else:
            for short_code, fill in batch.items():
                self._settle(short_code, fill, found.get(short_code))
        finally:
            for fill in batch.values():
                fill.result.cancel()  # changes nothing unless this task was itself cancelled

    def _settle(self, short_code: str, fill: _Fill[V], value: V | None) -> None:
        if self._fills.get(short_code) is fill:
            del self._fills[short_code]
            if value is not None:
                self.keep(short_code, value)
            else:
                self._unknown["url:" + short_code] = self._timer() + self._settings.missing_ttl_seconds
        fill.result.set_result(value)

    def _fail(self, short_code: str, fill: _Fill[V], error: Exception) -> None:
        if self._fills.get(short_code) is fill:
            del self._fills[short_code]
        fill.result.set_exception(error)
        fill.result.exception()  # counts as retrieved: all who waited may have been cancelled


class MemoryLinkCache:
    """A `LinkCache` in this process. Close it with `close`."""

    def __init__(self, store: LinkStore, settings: Cache, *, timer: Timer = time.monotonic) -> None:
        self.stats = CacheStats()
        self.links = ReadThrough(store.links, settings, self.stats, pack=tuple, unpack=Link._make, timer=timer)
        self.records = ReadThrough(store.records, settings, self.stats, pack=_packed, unpack=_unpacked, timer=timer)
        self.find = self.links.find
        self.find_record = self.records.find

    def added(self, link: LinkDetails) -> None:
        """See `LinkCache`. The new link is in memory for whoever follows it first.

        What is there already was read after the commit, unless it is of an earlier life, and may be newer.
        """
        held = self.links.held(link.short_code)
        self.changed(link.short_code)
        self.links.keep(link.short_code, held if held is not None and held.id >= link.id else link.link)

    def changed(self, short_code: str) -> None:
        """See `LinkCache`."""
        self.links.forget(short_code)
        self.records.forget(short_code)

    def counted(self, short_codes: Collection[str]) -> None:
        """See `LinkCache`."""
        for short_code in short_codes:
            self.records.forget(short_code)

    async def close(self) -> None:
        """Wait for the reads under way. Nothing may be asked afterwards."""
        while reading := self.links.reading | self.records.reading:
            await asyncio.wait(reading)


def _packed(record: LinkRecord) -> _Row:
    return (tuple(record.details), record.counts.clicks)


def _unpacked(row: _Row) -> LinkRecord:
    details, clicks = cast("tuple[_Row, int]", row)
    return LinkRecord(LinkDetails._make(details), LinkCounts(clicks))
