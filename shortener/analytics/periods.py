"""Hours, days, weeks and months of UTC, and how a range is put together from them. Pure.

Times are Unix seconds. Months are those of the proleptic Gregorian calendar, in both directions without end.
"""

import enum
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

HOUR: Final = 3_600
DAY: Final = 86_400
WEEK: Final = 604_800
FOREVER: Final = 1 << 63
"""The end of a range without one: a second after the last that the wire can name."""

_MONDAY = -3 * DAY  # 1970-01-01 was a Thursday: weeks are counted from Monday, 1969-12-29.
_MARCH = 719_468  # Days from 0000-03-01 to 1970-01-01. A year that begins in March has its leap day at the end.


class Span(enum.StrEnum):
    """How long a period is. Periods of one length are numbered in order, from wherever."""

    HOUR = "h"
    DAY = "d"
    WEEK = "w"
    MONTH = "m"

    def number(self, time: int) -> int:
        """Return the number of the period that holds `time`."""
        if self is Span.HOUR:
            return time // HOUR
        if self is Span.DAY:
            return time // DAY
        return (time - _MONDAY) // WEEK if self is Span.WEEK else _month_number(time // DAY)

    def start(self, number: int) -> int:
        """Return when a period begins, by its number."""
        if self is Span.HOUR:
            return number * HOUR
        if self is Span.DAY:
            return number * DAY
        return _MONDAY + number * WEEK if self is Span.WEEK else _month_start(number) * DAY

    def floor(self, time: int) -> int:
        """Return the start of the period that holds `time`."""
        return self.start(self.number(time))

    def ceil(self, time: int) -> int:
        """Return `time` if a period starts there, else the start of the next one."""
        return self.start(self.number(time - 1) + 1)


ROLLED_UP: Final = (Span.HOUR, Span.DAY, Span.MONTH)
"""The periods that roll-ups are kept of."""
MONTHS_DOWN: Final = (Span.MONTH, Span.DAY, Span.HOUR)
DAYS_DOWN: Final = (Span.DAY, Span.HOUR)


def _month_number(day: int) -> int:
    era, day_of_era = divmod(day + _MARCH, 146_097)  # 400 years
    year = (day_of_era - day_of_era // 1_460 + day_of_era // 36_524 - day_of_era // 146_096) // 365
    day_of_year = day_of_era - (365 * year + year // 4 - year // 100)
    return (era * 400 + year) * 12 + (5 * day_of_year + 2) // 153


def _month_start(number: int) -> int:
    era, month_of_era = divmod(number, 4_800)
    year, month = divmod(month_of_era, 12)
    return era * 146_097 + year * 365 + year // 4 - year // 100 + (153 * month + 2) // 5 - _MARCH


@dataclass(frozen=True, slots=True)
class TimeRange:
    """The half-open range [start, end). `start` 0 and `end` FOREVER leave that side unbounded."""

    start: int = 0
    end: int = FOREVER

    def __contains__(self, time: int) -> bool:
        return self.start <= time < self.end

    @property
    def is_empty(self) -> bool:
        """Whether no time lies in it."""
        return self.start >= self.end

    def clamp(self, start: int, end: int) -> "TimeRange":
        """Return the part of it that lies in [start, end)."""
        return TimeRange(max(self.start, start), min(self.end, end))

    def periods(self, span: Span) -> range:
        """Return the numbers of the periods that it touches."""
        return range(0) if self.is_empty else range(span.number(self.start), span.number(self.end - 1) + 1)


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
    first, end = span.ceil(within.start), span.floor(within.end)
    if first >= end:
        return cover(within, finer)
    before = cover(TimeRange(within.start, first), finer)
    after = cover(TimeRange(end, within.end), finer)
    return Cover([*before.wholes, *_wholes(span, first, end), *after.wholes], before.edges + after.edges)


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
    return TimeRange(Span.MONTH.floor(within.start), Span.MONTH.ceil(within.end))


def _nearest(time: int, spans: Sequence[Span]) -> tuple[int, Cover]:
    """Return the start of a period of the longest span near `time`, and what lies from there to `time`."""
    span, finer = spans[0], spans[1:]
    inner, rest = _nearest(time, finer) if finer else (time, Cover([], []))
    floor, ceiling = span.floor(inner), span.ceil(inner)
    if inner - floor <= ceiling - inner:
        start, sign, low, high = floor, 1, floor, inner
    else:
        start, sign, low, high = ceiling, -1, inner, ceiling
    if finer:
        return start, Cover([*_wholes(finer[0], low, high, sign), *rest.wholes], rest.edges)
    return start, Cover([], [Edge(low, high, sign)] if low < high else [])


def _wholes(span: Span, first: int, end: int, sign: int = 1) -> Iterator[Whole]:
    return (Whole(span, span.start(number), sign) for number in TimeRange(first, end).periods(span))
