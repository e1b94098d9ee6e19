"""A limiter by key: the generic cell rate algorithm (ITU-T I.371), which is a token bucket of one number a key."""

import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

from shortener import errors
from shortener.observe.histogram import Gauge

Timer = Callable[[], int]
"""Nanoseconds of a clock that is never set."""

_MINUTE = 60_000_000_000
_SECOND = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Rate:
    """`burst` at once, and `per_minute` in the long run; no limit at all when `per_minute` is 0."""

    per_minute: int
    burst: int

    def __post_init__(self) -> None:
        """Refuse what is no rate."""
        if self.per_minute < 0 or self.burst < 1:
            raise ValueError("per_minute must be 0 or more, burst 1 or more")


class Limiter:
    """Keeps each key within a rate: in any span of t minutes at most `burst + per_minute * t` are taken.

    At most `keys_max` keys are remembered, the lately taken ones for longest; a forgotten key starts with a whole
    burst. Times are whole nanoseconds, so that the wait is exact. A timer that goes backwards stands still.

    What is remembered of a key is when its bucket will be full again.
    """

    __slots__ = ("_burst", "_full_at", "_interval", "_keys_max", "_now", "_timer", "refused")

    def __init__(self, rate: Rate, *, keys_max: int, timer: Timer = time.monotonic_ns) -> None:
        self._interval = -(-_MINUTE // rate.per_minute) if rate.per_minute else 0
        self._burst = rate.burst
        self._keys_max = keys_max
        self._timer = timer
        self._now = timer()
        self._full_at: OrderedDict[str, int] = OrderedDict()
        self.refused = 0
        """Takes that this limiter refused."""

    def __len__(self) -> int:
        """How many keys are remembered."""
        return len(self._full_at)

    def wait(self, key: str, cost: int = 1) -> int:
        """Return the nanoseconds until `cost` may be taken: 0 when it may be now. More than a burst costs a burst."""
        full_at = self._full_at.get(key)
        if full_at is None or not self._interval:
            return 0
        cost = min(cost, self._burst)
        return max(0, full_at - (self._burst - cost) * self._interval - self._time())

    def take(self, key: str, cost: int = 1) -> None:
        """Take `cost`, also where that is more than there is: the rest is owed, and has to be waited for."""
        if not self._interval:
            return
        now = self._time()
        self._full_at[key] = max(self._full_at.get(key, 0), now) + min(cost, self._burst) * self._interval
        self._full_at.move_to_end(key)
        if len(self._full_at) > self._keys_max:
            self._full_at.popitem(last=False)

    def give_back(self, key: str, cost: int = 1) -> None:
        """Undo a `take` of this cost."""
        full_at = self._full_at.get(key)
        if full_at is None:
            return
        full_at -= min(cost, self._burst) * self._interval
        if full_at > self._time():
            self._full_at[key] = full_at
        else:
            del self._full_at[key]

    def forget(self, key: str) -> None:
        """Give this key its whole burst again."""
        self._full_at.pop(key, None)

    def _time(self) -> int:
        self._now = max(self._now, self._timer())
        return self._now


class Take(NamedTuple):
    """What is to be taken from where."""

    limiter: Limiter
    key: str
    cost: int = 1


def check_all(takes: Iterable[Take], message: str) -> None:
    """Take nothing, but raise `errors.Exhausted` unless all of it could be taken now.

    `retry_after_seconds` is the shortest whole number of seconds after which it can, if nobody else takes any.
    """
    wait, slowest = 0, None
    for limiter, key, cost in takes:
        each = limiter.wait(key, cost)
        if each > wait:
            wait, slowest = each, limiter
    if slowest is not None:
        slowest.refused += 1
        raise errors.Exhausted(message, retry_after_seconds=-(-wait // _SECOND))


def take_all(takes: Iterable[Take], message: str) -> None:
    """Take all or nothing. Raises `errors.Exhausted` as `check_all` does."""
    takes = tuple(takes)
    check_all(takes, message)
    for limiter, key, cost in takes:
        limiter.take(key, cost)


def gauges_of(limiters: Mapping[str, Limiter]) -> Iterator[Gauge]:
    """Yield what `/metrics` shows of limiters, by their names."""
    for name, limiter in limiters.items():
        labels = {"limit": name}
        yield "shortener_limit_refusals_total", "Requests over a limit.", labels, partial(getattr, limiter, "refused")
        yield "shortener_limit_keys", "Addresses and accounts remembered.", labels, limiter.__len__
