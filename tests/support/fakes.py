"""Stand-ins shared by all modules' tests: a clock that is set by hand and transactions without a database."""

import contextlib
import copy
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
    """Runs each unit of work at once; memory stores have nothing to commit.

    Given `stores`, it runs each unit twice, and in between the stores become what they were: a unit of work must not
    have any effect but through them, nor know anything but from them.
    """

    def __init__(self, *stores: object) -> None:
        self._stores = stores

    async def __call__(self, work: Callable[[FakeTx], T]) -> T:
        if self._stores:
            before = [{name: copy.copy(value) for name, value in vars(store).items()} for store in self._stores]
            with contextlib.suppress(Exception):
                work(FakeTx())
            for store, attributes in zip(self._stores, before, strict=True):
                vars(store).update(attributes)
        tx = FakeTx()
        result = work(tx)
        for callback in tx.callbacks:
            callback()
        return result
