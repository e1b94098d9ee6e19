"""Links in memory, in front of any `LinkStore`: exact at every hit, whatever the time to live.

What keeps it exact:

- Whether a link is live is asked of the link at each hit (`Link.is_live`); the time to live only bounds how long
  an unused entry stays.
- Writes run through here too, and correct the cache in `tx.on_commit`: after the commit, before the writer's caller
  resumes. So a caller who knows of a write never reads what was there before it.
- A fill (a read under way for a code that missed) may have read before such a commit. `_forget` then drops the fill
  from `_fills`: nobody joins it any more and its result is not kept.
- Counters only grow, so the larger of two readings of one link is the newer one. Counter writes hand over their new
  totals, which raise cached links and fills under way alike, in whatever order reads and commits arrive.
"""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TypeAlias

from cachetools import LRUCache

from shortener.config.sections import Cache
from shortener.links.model import Link, LinkRef, NewLink
from shortener.links.ports import LinkStore
from shortener.tx import Tx

Timer = Callable[[], float]
_Row: TypeAlias = tuple[object, ...]  # a link as a plain tuple
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
class _Fill:
    """A read for one code, waiting or under way, and the counters that were committed meanwhile, by link id."""

    result: asyncio.Future[Link | None]
    begun: bool = False
    totals: dict[int, int] = field(default_factory=dict)


class CachedLinkStore:
    """A `LinkStore` that answers `find` from memory where it can. Belongs to one event loop; close it with `close`.

    Entries are bounded LRU caches with a deadline each. (`cachetools.TTLCache` costs twice as much a hit, and drops
    all expired entries in one go, which holds the event loop for 46 ms at 100,000.) They are plain tuples of plain
    values, which Python's garbage collector forgets after one look: over 100,000 objects of a class each of its full
    rounds held the event loop for 40 ms. Making a link of one costs 0.2 µs a hit.
    """

    def __init__(
        self,
        inner: LinkStore,
        settings: Cache,
        timer: Timer = time.monotonic,
    ) -> None:
        self.stats = CacheStats()
        self._inner = inner
        self._settings = settings
        self._timer = timer
        self._links: LRUCache[str, tuple[float, _Row]] = LRUCache(settings.size_max)
        self._unknown: LRUCache[str, float] = LRUCache(settings.missing_size_max)
        self._fills: dict[str, _Fill] = {}
        self._next_batch: dict[str, _Fill] | None = None
        self._reads: set[asyncio.Task[None]] = set()

    @property
    def size(self) -> int:
        """How many links are held."""
        return len(self._links)

    def peek(self, short_code: str) -> Link | None:
        """Return the link if it is in memory, deleted or not. None says nothing: ask `find`."""
        try:
            deadline, row = self._links["url:" + short_code]
        except KeyError:
            return None
        if self._timer() >= deadline:
            return None
        self.stats.hits += 1
        return Link._make(row)

    async def find(self, short_code: str) -> Link | None:
        """See `LinkStore.find`. Does not suspend when the answer is in memory."""
        link = self.peek(short_code)
        if link is not None:
            return link
        found = self.look_up(short_code)
        # Shielded: a waiter that is cancelled must not take the others' result with it.
        return None if found is None else await asyncio.shield(found)

    def look_up(self, short_code: str) -> "asyncio.Future[Link | None] | None":
        """Return what will be the link of a code that `peek` does not know, or None if it is known to be unknown.

        All who ask meanwhile have the same future: it must not be cancelled.
        """
        try:
            if self._timer() < self._unknown["url:" + short_code]:
                self.stats.unknown_hits += 1
                return None
        except KeyError:
            pass
        self.stats.misses += 1
        return self._fill(short_code).result

    async def find_many(self, short_codes: Sequence[str]) -> dict[str, Link]:
        """See `LinkStore.find_many`. Goes past the cache: it is asked about codes that nobody has followed."""
        return await self._inner.find_many(short_codes)

    async def page(self, owner_id: str, limit: int, offset: int) -> tuple[list[Link], int]:
        """See `LinkStore.page`."""
        return await self._inner.page(owner_id, limit, offset)

    async def owned(self, owner_id: str, *, after: int, limit: int) -> list[Link]:
        """See `LinkStore.owned`."""
        return await self._inner.owned(owner_id, after=after, limit=limit)

    def add(self, tx: Tx, link: NewLink) -> Link | None:
        """See `LinkStore.add`. The new link is in memory for whoever follows it first."""
        stored = self._inner.add(tx, link)
        if stored is not None:
            tx.on_commit(partial(self._added, stored))
        return stored

    def delete(self, tx: Tx, short_code: str, *, now: int, owner_id: str | None = None) -> bool:
        """See `LinkStore.delete`."""
        deleted = self._inner.delete(tx, short_code, now=now, owner_id=owner_id)
        if deleted:
            tx.on_commit(partial(self._forget, short_code))
        return deleted

    def increment(self, tx: Tx, short_code: str) -> Link | None:
        """See `LinkStore.increment`."""
        link = self._inner.increment(tx, short_code)
        if link is not None:
            tx.on_commit(partial(self._counted, {link.ref: link.clicks}))
        return link

    def add_clicks(self, tx: Tx, counts: Mapping[LinkRef, int]) -> dict[LinkRef, int]:
        """See `LinkStore.add_clicks`."""
        totals = self._inner.add_clicks(tx, counts)
        tx.on_commit(partial(self._counted, totals))
        return totals

    def erase_owned(self, tx: Tx, owner_id: str, *, now: int, limit: int) -> list[LinkRef]:
        """See `LinkStore.erase_owned`."""
        erased = self._inner.erase_owned(tx, owner_id, now=now, limit=limit)
        for ref in erased:
            tx.on_commit(partial(self._forget, ref.short_code))
        return erased

    async def close(self) -> None:
        """Wait for the reads under way. Nothing may be asked afterwards."""
        while self._reads:
            await asyncio.wait(self._reads)

    def _added(self, link: Link) -> None:
        """Keep a link just committed, unless what is cached was read after the commit and may be newer."""
        entry = self._links.get("url:" + link.short_code)
        held = Link._make(entry[1]) if entry else None
        self._forget(link.short_code)
        self._keep(held if held and held.id >= link.id else link)

    def _forget(self, short_code: str) -> None:
        """Drop all that is known of a code; what a read under way may have seen is not kept."""
        self._links.pop("url:" + short_code, None)
        self._unknown.pop("url:" + short_code, None)
        fill = self._fills.get(short_code)
        if fill is not None and fill.begun:
            del self._fills[short_code]

    def _counted(self, totals: Mapping[LinkRef, int]) -> None:
        """Counters were committed: raise what is cached or being read."""
        for ref, clicks in totals.items():
            fill = self._fills.get(ref.short_code)
            if fill is not None:
                fill.totals[ref.id] = max(clicks, fill.totals.get(ref.id, 0))
            try:
                deadline, row = self._links["url:" + ref.short_code]
            except KeyError:
                continue
            link = Link._make(row)
            if link.id == ref.id and link.clicks < clicks:
                self._links["url:" + ref.short_code] = (deadline, tuple(link._replace(clicks=clicks)))

    def _keep(self, link: Link) -> None:
        self._links["url:" + link.short_code] = (self._timer() + self._settings.ttl_seconds, tuple(link))

    def _fill(self, short_code: str) -> _Fill:
        """Return the fill to wait for: the one under way, or a new one in the next batch."""
        fill = self._fills.get(short_code)
        if fill is None:
            fill = self._fills[short_code] = _Fill(asyncio.get_running_loop().create_future())
            if self._next_batch is not None and len(self._next_batch) < BATCH_MAX:
                self._next_batch[short_code] = fill
            else:
                # The task begins in the loop's next turn: what misses in this one joins the batch.
                self._next_batch = {short_code: fill}
                task = asyncio.create_task(self._read(self._next_batch))
                self._reads.add(task)
                task.add_done_callback(self._reads.discard)
        return fill

    async def _read(self, batch: dict[str, _Fill]) -> None:
        if self._next_batch is batch:
            self._next_batch = None
        for fill in batch.values():
            fill.begun = True
        self.stats.reads += 1
        try:
            found = await self._inner.find_many(list(batch))
        except Exception as error:  # noqa: BLE001 - it goes to everyone who waits
            for short_code, fill in batch.items():
                self._fail(short_code, fill, error)
        else:
            for short_code, fill in batch.items():
                self._settle(short_code, fill, found.get(short_code))
        finally:
            for fill in batch.values():
                fill.result.cancel()  # changes nothing unless this task was itself cancelled

    def _settle(self, short_code: str, fill: _Fill, link: Link | None) -> None:
        if link is not None and link.clicks < (clicks := fill.totals.get(link.id, 0)):
            link = link._replace(clicks=clicks)
        if self._fills.get(short_code) is fill:
            del self._fills[short_code]
            if link is not None:
                self._keep(link)
            else:
                self._unknown["url:" + short_code] = self._timer() + self._settings.missing_ttl_seconds
        fill.result.set_result(link)

    def _fail(self, short_code: str, fill: _Fill, error: Exception) -> None:
        if self._fills.get(short_code) is fill:
            del self._fills[short_code]
        fill.result.set_exception(error)
        fill.result.exception()  # counts as retrieved: all who waited may have been cancelled
