"""Removes raw clicks that are older than the operator wants to keep them, a few at a time.

Counters, roll-ups and visitor sets stay, so that totals, series and unique visitors stay exact for whole hours. The
horizon moves first, in a transaction of its own: from then on no answer looks at events before it.
"""

import asyncio
import logging
import time
from dataclasses import dataclass
from functools import partial

from shortener.analytics.periods import DAY, HOUR
from shortener.analytics.ports import ClickRemoval
from shortener.clock import Clock
from shortener.tx import Transactions, Tx, for_a_moment

_log = logging.getLogger(__name__)

_ROWS_AT_ONCE = 100
_LOOK_SECONDS = 60.0
"""How often the clock is looked at; the horizon moves once an hour."""
_REST = 4
"""The writer is left alone for this many times as long as a removal took."""


@dataclass(slots=True)
class RetentionStats:
    """What has been done since the start, for metrics."""

    removed: int = 0
    failures: int = 0  # passes that were broken off, to be begun anew
    horizon: int = 0  # Unix seconds; 0 before the first pass


class ClickRetention:
    """Keeps raw clicks for `days` days, to the whole hour."""

    def __init__(self, *, removal: ClickRemoval, transactions: Transactions, clock: Clock, days: int) -> None:
        self.stats = RetentionStats()
        self._removal = removal
        self._transactions = transactions
        self._clock = clock
        self._seconds = days * DAY

    async def remove_old(self) -> None:
        """Move the horizon to where it belongs now, and remove every raw click before it.

        Clicks reported for a time before the horizon are counted like any other, and removed by the next pass.
        """
        horizon = self._horizon()
        await self._transactions(lambda tx: self._removal.move_horizon(tx, horizon))
        self.stats.horizon = await self._removal.removed_before()
        after, is_last = 0, False
        while not is_last:
            old = await self._removal.find_old(self.stats.horizon, after)
            await self._remove(old.ids)
            after, is_last = old.after, old.is_last

    async def run(self) -> None:
        """Remove what is old whenever an hour has passed, until cancelled; the next start does what is left."""
        done = 0
        while True:
            if self._horizon() > done:
                try:
                    await self.remove_old()
                    done = self.stats.horizon
                except Exception as error:  # noqa: BLE001 - whatever it was, nothing is half done; it is tried again
                    self.stats.failures += 1
                    _log.warning("old clicks stay for now, removing them failed: %s: %s", type(error).__name__, error)
            await asyncio.sleep(_LOOK_SECONDS)

    def _horizon(self) -> int:
        limit = self._clock() - self._seconds
        return max(limit - limit % HOUR, 0)

    async def _remove(self, ids: list[int]) -> None:
        left = ids
        while left:
            started = time.monotonic()
            taken = await self._transactions(partial(self._remove_some, left))
            self.stats.removed += taken
            left = left[taken:]
            await asyncio.sleep((time.monotonic() - started) * _REST)

    def _remove_some(self, ids: list[int], tx: Tx) -> int:
        """Remove the first of these rows for a moment, and return how many those were."""
        taken = 0

        def step() -> bool:
            nonlocal taken
            part = ids[taken : taken + _ROWS_AT_ONCE]
            self._removal.remove(tx, part)
            taken += len(part)
            return taken < len(ids)

        for_a_moment(step)
        return taken
