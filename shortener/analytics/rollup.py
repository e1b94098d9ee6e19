"""Roll-ups: from clicks to counts per link and hour, which days and months are sums of. Pure; knows no storage.

All periods are in UTC; months are those of the proleptic Gregorian calendar, through year 9999.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from typing import NamedTuple

from shortener.analytics.model import NO_VISITOR, Click, Dimension, Span

_HOUR = 3_600
_DAY = 86_400


class LinkHour(NamedTuple):
    """One hour of one link. `start` is Unix seconds."""

    link_id: int
    start: int


class Period(NamedTuple):
    """One hour, day or month of one link. `start` is Unix seconds."""

    link_id: int
    span: Span
    start: int


@dataclass(slots=True)
class HourCounts:
    """What happened in one hour of one link: clicks by dimension and value, and the visitors' digests.

    Every click has one value of each dimension, but of the city only where it is known.
    """

    clicks: dict[tuple[Dimension, str], int] = field(default_factory=dict)
    visitors: set[bytes] = field(default_factory=set)


def period_start(span: Span, at: int) -> int:
    """Return the Unix time at which the period around `at` begins."""
    if span is Span.HOUR:
        return at - at % _HOUR
    day = at - at % _DAY
    return day if span is Span.DAY else _month_start(day)


def roll_up(clicks: Iterable[Click]) -> dict[LinkHour, HourCounts]:
    """Return what these clicks add to each hour, in order of link and hour."""
    hours: dict[LinkHour, HourCounts] = {}
    for click in clicks:
        hour = LinkHour(click.ref.id, click.at - click.at % _HOUR)
        counts = hours.get(hour)
        if counts is None:
            counts = hours[hour] = HourCounts()
        by_value = counts.clicks
        for key in (
            (Dimension.DEVICE, click.device),
            (Dimension.COUNTRY, click.country),
            (Dimension.REFERRER, click.referrer),
        ):
            by_value[key] = by_value.get(key, 0) + 1
        if click.city:
            city = (Dimension.CITY, f"{click.country}|{click.city}")
            by_value[city] = by_value.get(city, 0) + 1
        if click.visitor != NO_VISITOR:
            counts.visitors.add(click.visitor)
    return dict(sorted(hours.items()))


def visitors_by_period(hours: Mapping[LinkHour, HourCounts]) -> Iterator[tuple[Period, set[bytes]]]:
    """Yield the visitors of each hour, day and month, those of one link together; none is empty."""
    found: dict[Period, set[bytes]] = {}
    link_id = None
    for hour, counts in hours.items():
        if hour.link_id != link_id:
            yield from found.items()
            found = {}
            link_id = hour.link_id
        if counts.visitors:
            for span in Span:
                period = Period(hour.link_id, span, period_start(span, hour.start))
                found.setdefault(period, set()).update(counts.visitors)
    yield from found.items()


@lru_cache(maxsize=4096)
def _month_start(day: int) -> int:
    first = datetime.fromtimestamp(day, UTC).replace(day=1)
    return int(first.timestamp())
