"""How a range is put together from roll-ups: whole months, days and hours, and ragged edges that only events know.

Pure; the spans are those of the tables (`h`, `d`, `m`), in UTC.
"""

import datetime
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from shortener.analytics.stats import DAY, HOUR, TimeRange

EPOCH_DAY = datetime.date(1970, 1, 1).toordinal()

MONTHS_DOWN = ("m", "d", "h")
DAYS_DOWN = ("d", "h")


@dataclass(frozen=True, slots=True)
class Cover:
    """Whole periods as (span, start), and at most two edges shorter than an hour. Nothing overlaps."""

    periods: list[tuple[str, int]]
    edges: list[TimeRange]


def cover(within: TimeRange, spans: Sequence[str]) -> Cover:
    """Return the fewest periods of these spans (longest first) that fill the range, and what is left of it.

    The range must lie between the years 1970 and 9999.
    """
    if within.is_empty:
        return Cover([], [])
    if not spans:
        return Cover([], [within])
    span, finer = spans[0], spans[1:]
    first, end = _next_start(span, within.start - 1), _start(span, within.end)
    if first >= end:
        return cover(within, finer)
    before = cover(TimeRange(within.start, first), finer)
    after = cover(TimeRange(end, within.end), finer)
    whole = [(span, start) for start in _starts(span, first, end)]
    return Cover(before.periods + whole + after.periods, before.edges + after.edges)


def month_start(time: int) -> int:
    """Return when the month that holds `time` began."""
    return (_date(time).replace(day=1).toordinal() - EPOCH_DAY) * DAY


def next_month(time: int) -> int:
    """Return when the month after the one that holds `time` begins."""
    return month_start(month_start(time) + 31 * DAY)


def _date(time: int) -> datetime.date:
    return datetime.date.fromordinal(EPOCH_DAY + time // DAY)


def _start(span: str, time: int) -> int:
    if span == "m":
        return month_start(time)
    return time - time % (DAY if span == "d" else HOUR)


def _next_start(span: str, time: int) -> int:
    if span == "m":
        return next_month(time)
    return _start(span, time) + (DAY if span == "d" else HOUR)


def _starts(span: str, first: int, end: int) -> Iterator[int]:
    while first < end:
        yield first
        first = _next_start(span, first)
