"""Roll-ups: from clicks to counts per link, period and value. Pure; knows no storage.

All periods are in UTC; months are those of the proleptic Gregorian calendar, through year 9999.
"""

from collections.abc import Iterable
from datetime import UTC, datetime
from functools import lru_cache
from typing import NamedTuple

from shortener.analytics.model import NO_VISITOR, Click, Dimension, Span

_HOUR = 3_600
_DAY = 86_400


class Period(NamedTuple):
    """One hour, day or month of one link. `start` is Unix seconds."""

    link_id: int
    span: Span
    start: int


class Slot(NamedTuple):
    """One cell of a roll-up: a period and a value of one dimension."""

    link_id: int
    span: Span
    start: int
    dimension: Dimension
    value: str


class RollUp(NamedTuple):
    """What a batch of clicks adds: clicks to slots, visitors to periods (clicks without one add none)."""

    clicks: dict[Slot, int]
    visitors: dict[Period, set[bytes]]


def period_start(span: Span, at: int) -> int:
    """Return the Unix time at which the period around `at` begins."""
    if span is Span.HOUR:
        return at - at % _HOUR
    day = at - at % _DAY
    return day if span is Span.DAY else _month_start(day)


def roll_up(clicks: Iterable[Click]) -> RollUp:
    """Return what these clicks add to the roll-ups and visitor sets of their links."""
    counts: dict[Slot, int] = {}
    visitors: dict[Period, set[bytes]] = {}
    for click in clicks:
        link_id = click.ref.id
        values = _values(click)
        for span in Span:
            start = period_start(span, click.at)
            for dimension, value in values:
                slot = Slot(link_id, span, start, dimension, value)
                counts[slot] = counts.get(slot, 0) + 1
            if click.visitor != NO_VISITOR:
                visitors.setdefault(Period(link_id, span, start), set()).add(click.visitor)
    return RollUp(counts, visitors)


def _values(click: Click) -> list[tuple[Dimension, str]]:
    values = [
        (Dimension.DEVICE, str(click.device)),
        (Dimension.COUNTRY, click.country),
        (Dimension.REFERRER, click.referrer),
    ]
    if click.city:
        values.append((Dimension.CITY, f"{click.country}|{click.city}"))
    return values


@lru_cache(maxsize=4096)
def _month_start(day: int) -> int:
    first = datetime.fromtimestamp(day, UTC).replace(day=1)
    return int(first.timestamp())
