"""Stand-ins shared by all modules' tests: a clock that is set by hand and transactions without a database."""

from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


class FakeClock:
    """A clock that stands still until `tick`ed."""

    def __init__(self, now: int = 1_800_000_000) -> None:
        self.now = now

    def __call__(self) -> int:
        return self.now

    def tick(self, seconds: int = 1) -> None:
        self.now += seconds


class FakeTimer:
    """Nanoseconds that stand still until `tick`ed."""

    def __init__(self) -> None:
        self.now = 1_000_000_000_000

    def __call__(self) -> int:
        return self.now

    def tick(self, seconds: float) -> None:
        self.now += round(seconds * 1e9)


class FakeTx:
    """Collects what is to run after the commit."""

    def __init__(self) -> None:
        self.callbacks: list[Callable[[], None]] = []

    def on_commit(self, callback: Callable[[], None]) -> None:
        self.callbacks.append(callback)


class FakeTransactions:
    """Runs each unit of work at once; memory stores have nothing to commit."""

    async def __call__(self, work: Callable[[FakeTx], T]) -> T:
        tx = FakeTx()
        result = work(tx)
        for callback in tx.callbacks:
            callback()
        return result
