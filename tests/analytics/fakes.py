"""Stand-ins for what analytics needs from the outside."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field
from typing import TypeVar

from shortener.analytics.model import NOWHERE, START, Address, Agent, Click, Device, Place, Position
from shortener.links.model import LinkRef
from shortener.tx import Tx
from tests.fakes import FakeTx

T = TypeVar("T")


class MemoryClickStore:
    """`ClickStore` in a list: `clicks` with their ids, and the position."""

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


@dataclass
class MemoryCounters:
    """`CountClicks`: the links' own counters."""

    counts: Counter[LinkRef] = field(default_factory=Counter)

    def __call__(self, tx: Tx, counts: Mapping[LinkRef, int]) -> None:
        self.counts.update(counts)


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
