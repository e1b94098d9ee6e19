"""How a range is put together from roll-ups: whole months, days and hours, and ragged edges that only events know.

Pure; the periods are those of `rollup`, in UTC. Ranges must lie in 1970 to 9999, and before the last month of that.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from shortener.analytics.model import Span
from shortener.analytics.rollup import period_start
from shortener.analytics.stats import DAY, HOUR, TimeRange

MONTHS_DOWN = (Span.MONTH, Span.DAY, Span.HOUR)
DAYS_DOWN = (Span.DAY, Span.HOUR)

# A time in the next period, seen from the start of one: months have at most 31 days.
_BEYOND = {Span.HOUR: HOUR, Span.DAY: DAY, Span.MONTH: 31 * DAY}


class Whole(NamedTuple):
    """A period of the roll-ups; `sign` is -1 where it is to be taken away."""

    span: Span
    start: int
    sign: int = 1


class Edge(NamedTuple):
    """The events in [start, end), part of an hour; `sign` as in `Whole`."""

    start: int
    end: int
    sign: int = 1


@dataclass(frozen=True, slots=True)
class Cover:
    """Periods and edges that add up to a range."""

    wholes: list[Whole]
    edges: list[Edge]


def cover(within: TimeRange, spans: Sequence[Span]) -> Cover:
    """Return the periods of these spans (longest first) that fill the range without overlap, and what is left of it.

    Nothing is taken away, so that it serves for unions too.
    """
    if within.is_empty:
        return Cover([], [])
    if not spans:
        return Cover([], [Edge(within.start, within.end)])
    span, finer = spans[0], spans[1:]
    first, end = _ceil(span, within.start), period_start(span, within.end)
    if first >= end:
        return cover(within, finer)
    before = cover(TimeRange(within.start, first), finer)
    after = cover(TimeRange(end, within.end), finer)
    return Cover(before.wholes + list(_wholes(span, first, end)) + after.wholes, before.edges + after.edges)


def sum_cover(within: TimeRange, spans: Sequence[Span]) -> Cover:
    """Return the fewest periods that add up to the range, for sums alone: a month less two days beats 28 days."""
    plain = cover(within, spans)
    if within.is_empty:
        return plain
    start, before = _nearest(within.start, spans)
    end, after = _nearest(within.end, spans)
    wholes = [*_wholes(spans[0], start, end), *after.wholes, *(Whole(s, at, -sign) for s, at, sign in before.wholes)]
    if len(wholes) >= len(plain.wholes):
        return plain
    return Cover(wholes, [*after.edges, *(Edge(low, high, -sign) for low, high, sign in before.edges)])


def months_around(within: TimeRange) -> TimeRange:
    """Return the whole months that hold the range, which must not be empty."""
    last = period_start(Span.MONTH, within.end - 1)
    return TimeRange(period_start(Span.MONTH, within.start), next_start(Span.MONTH, last))


def next_start(span: Span, start: int) -> int:
    """Return when the period after the one that starts at `start` begins."""
    return period_start(span, start + _BEYOND[span])


def _nearest(time: int, spans: Sequence[Span]) -> tuple[int, Cover]:
    """Return the start of a period of the longest span near `time`, and what lies from there to `time`."""
    span, finer = spans[0], spans[1:]
    inner, rest = _nearest(time, finer) if finer else (time, Cover([], []))
    floor, ceiling = period_start(span, inner), _ceil(span, inner)
    if inner - floor <= ceiling - inner:
        start, sign, low, high = floor, 1, floor, inner
    else:
        start, sign, low, high = ceiling, -1, inner, ceiling
    if finer:
        return start, Cover([*_wholes(finer[0], low, high, sign), *rest.wholes], rest.edges)
    return start, Cover([], [Edge(low, high, sign)] if low < high else [])


def _wholes(span: Span, first: int, end: int, sign: int = 1) -> Iterator[Whole]:
    while first < end:
        yield Whole(span, first, sign)
        first = next_start(span, first)


def _ceil(span: Span, time: int) -> int:
    start = period_start(span, time)
    return start if start == time else next_start(span, start)
