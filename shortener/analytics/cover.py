"""How a range is put together from roll-ups: whole months, days and hours, and ragged edges that only events know.

Pure; the periods are those of `rollup`, in UTC.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from shortener.analytics.model import Span
from shortener.analytics.rollup import period_start
from shortener.analytics.stats import DAY, HOUR, TimeRange

MONTHS_DOWN = (Span.MONTH, Span.DAY, Span.HOUR)
DAYS_DOWN = (Span.DAY, Span.HOUR)

# A time in the next period, seen from the start of one: months have at most 31 days.
_BEYOND = {Span.HOUR: HOUR, Span.DAY: DAY, Span.MONTH: 31 * DAY}


@dataclass(frozen=True, slots=True)
class Cover:
    """Whole periods as (span, start), and at most two edges shorter than the shortest span. Nothing overlaps."""

    periods: list[tuple[Span, int]]
    edges: list[TimeRange]


def cover(within: TimeRange, spans: Sequence[Span]) -> Cover:
    """Return the fewest periods of these spans (longest first) that fill the range, and what is left of it.

    The range must lie in 1970 to 9999, and before the last month of that.
    """
    if within.is_empty:
        return Cover([], [])
    if not spans:
        return Cover([], [within])
    span, finer = spans[0], spans[1:]
    first, end = _ceil(span, within.start), period_start(span, within.end)
    if first >= end:
        return cover(within, finer)
    before = cover(TimeRange(within.start, first), finer)
    after = cover(TimeRange(end, within.end), finer)
    whole = [(span, start) for start in _starts(span, first, end)]
    return Cover(before.periods + whole + after.periods, before.edges + after.edges)


def months_around(within: TimeRange) -> TimeRange:
    """Return the whole months that hold the range, which must not be empty."""
    last = period_start(Span.MONTH, within.end - 1)
    return TimeRange(period_start(Span.MONTH, within.start), next_start(Span.MONTH, last))


def next_start(span: Span, start: int) -> int:
    """Return when the period after the one that starts at `start` begins."""
    return period_start(span, start + _BEYOND[span])


def _ceil(span: Span, time: int) -> int:
    start = period_start(span, time)
    return start if start == time else next_start(span, start)


def _starts(span: Span, first: int, end: int) -> Iterator[int]:
    while first < end:
        yield first
        first = next_start(span, first)
