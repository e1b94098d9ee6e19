"""Stand-ins for what analytics needs from the outside."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field
from typing import TypeVar

from shortener.analytics.model import NOWHERE, START, Address, Agent, Click, Device, Place, Position
from shortener.analytics.ports import OldClicks
from shortener.links.model import LinkRef
from shortener.tx import Tx
from tests.support.fakes import FakeTx

T = TypeVar("T")


class MemoryClickStore:
    """`ClickStore` and `LogProgress` in a list: `clicks` with their ids, and the position."""

    def __init__(self, *, count_bots: bool = True) -> None:
        self.clicks: list[Click] = []
        self.moved = START
        self._count_bots = count_bots

    def append(self, tx: Tx, clicks: Sequence[Click]) -> list[int]:
        first = len(self.clicks) + 1
        self.clicks.extend(clicks)
        return list(range(first, first + len(clicks)))

    def is_counted(self, click: Click) -> bool:
        return self._count_bots or not click.bot

    async def position(self) -> Position:
        return self.moved

    def advance(self, tx: Tx, old: Position, new: Position) -> bool:
        if self.moved != old:
            return False
        self.moved = new
        return True


class MemoryClickRemoval:
    """`ClickRemoval` on a `MemoryClickStore`, whose clicks are numbered from 1. A removed one leaves its number."""

    def __init__(self, store: MemoryClickStore) -> None:
        self.store = store
        self.horizon = 0
        self.removed: set[int] = set()
        self.purged: set[int] = set()

    async def removed_before(self) -> int:
        return self.horizon

    def move_horizon(self, tx: Tx, horizon: int) -> None:
        self.horizon = max(self.horizon, horizon)

    async def find_old(self, horizon: int, after: int) -> OldClicks:
        left = [(number, click) for number, click in enumerate(self.store.clicks, 1) if number not in self.removed]
        links = sorted({click.ref.id for _, click in left if click.ref.id > after})
        if not links:
            return OldClicks([], after, is_last=True)
        ids = [number for number, click in left if click.ref.id == links[0] and click.at < horizon]
        return OldClicks(ids, links[0], is_last=False)

    def remove(self, tx: Tx, ids: Sequence[int]) -> int:
        fresh = set(ids) & set(range(1, len(self.store.clicks) + 1)) - self.removed
        self.removed |= fresh
        return len(fresh)

    def purge_later(self, tx: Tx, link_ids: Sequence[int]) -> None:
        self.purged.update(link_ids)

    def purge(self, tx: Tx) -> bool:
        if not self.purged:
            return False
        link_id = self.purged.pop()
        self.removed |= {number for number, click in enumerate(self.store.clicks, 1) if click.ref.id == link_id}
        return True

    async def is_purged(self) -> bool:
        return not self.purged


@dataclass
class MemoryCounters:
    """`CountClicks`: the links' own counters."""

    counts: Counter[LinkRef] = field(default_factory=Counter)

    gone: set[LinkRef] = field(default_factory=set)

    def __call__(self, tx: Tx, counts: Mapping[LinkRef, int]) -> set[LinkRef]:
        known = set(counts) - self.gone
        self.counts.update({ref: counts[ref] for ref in known if counts[ref]})
        return known


class AtomicTransactions:
    """`Transactions` over a `MemoryClickStore` and counters: what fails leaves nothing behind.

    `faults` are raised by the next transactions, one each: before the work is done, or after its commit when they
    come as `("after", error)`, as when the answer of a commit is lost.
    """

    def __init__(self, store: MemoryClickStore, counters: MemoryCounters) -> None:
        self.faults: list[Exception | tuple[str, Exception]] = []
        self._store = store
        self._counters = counters

    async def __call__(self, work: Callable[[Tx], T]) -> T:
        fault = self.faults.pop(0) if self.faults else None
        before = (list(self._store.clicks), self._store.moved, copy(self._counters.counts))
        try:
            result = work(FakeTx())
            if isinstance(fault, Exception):
                raise fault
        except Exception:
            self._store.clicks, self._store.moved, self._counters.counts = before
            raise
        if isinstance(fault, tuple):
            raise fault[1]
        return result


class DictGeo:
    """`GeoLocator` by a table of texts; counts how often it is asked."""

    def __init__(self, places: dict[str, Place] | None = None) -> None:
        self.places = places or {}
        self.asked = 0

    def locate(self, address: Address) -> Place:
        self.asked += 1
        return self.places.get(str(address), NOWHERE)


def parse_agent(user_agent: str) -> Agent:
    """`ParseAgent` that only knows bots."""
    bot = "bot" in user_agent
    return Agent(Device.OTHER if bot else Device.DESKTOP, bot)
