"""Opaque transactions, so that services can compose several stores' writes into one."""

import time
from collections.abc import Callable
from typing import Final, Protocol, TypeVar

T = TypeVar("T")

MOMENT_SECONDS: Final = 0.02
"""How long background work may hold the one writer at a time."""


class Tx(Protocol):
    """One open transaction. Only stores look inside; services pass it on."""

    def on_commit(self, callback: Callable[[], None]) -> None:
        """Run `callback` on the event loop once this work is durable, before its caller resumes.

        It runs even when the caller was cancelled meanwhile, and never when the work failed.
        """


class Transactions(Protocol):
    """Runs whole units of work, serializable (as if one after another), each all or nothing."""

    async def __call__(self, work: Callable[[Tx], T]) -> T:
        """Run `work(tx)` in one transaction and return its result once that is durable.

        `work` is a plain function that runs off the event loop, and may run more than once until one run is
        committed. So it has no effect but through `tx` and its result, decides by nothing that another process may
        change but what `tx` tells, and lets every error of a store end it: an engine may have given the transaction
        up. An exception from it undoes this work alone and reaches the caller.
        """


def for_a_moment(step: Callable[[], bool]) -> bool:
    """Repeat `step`, a small part of one unit of work, until it tells that nothing is left or 20 ms have passed.

    Returns whether something is left.
    """
    end = time.monotonic() + MOMENT_SECONDS
    while is_left := step():
        if time.monotonic() >= end:
            break
    return is_left
