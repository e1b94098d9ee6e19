"""Roll-ups: from clicks to counts per link and hour, which days and months are sums of. Pure; knows no storage."""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from shortener.analytics.model import DIRECT, NO_VISITOR, OTHER, Click, Dimension
from shortener.analytics.periods import HOUR, ROLLED_UP, Span


class LinkHour(NamedTuple):
    """One hour of one link. `start` is Unix seconds."""

    link_id: int
    start: int


class Slot(NamedTuple):
    """What the clicks of one hour of one link are counted by; a value of it is a row of the roll-ups."""

    link_id: int
    hour: int
    dimension: Dimension


class Period(NamedTuple):
    """One hour, day or month of one link. `start` is Unix seconds."""

    link_id: int
    span: Span
    start: int


@dataclass(slots=True)
class RollUp:
    """What clicks add to each hour: how many there are of each value, and the digests of the visitors.

    Every click has one value of each dimension, but of the city only where it is known.
    """

    clicks: Counter[tuple[Slot, str]] = field(default_factory=Counter)
    visitors: defaultdict[LinkHour, set[bytes]] = field(default_factory=lambda: defaultdict(set))


def roll_up(clicks: Iterable[Click]) -> RollUp:
    """Return what these clicks add."""
    added = RollUp()
    for click in clicks:
        link_id, hour = click.ref.id, click.at - click.at % HOUR
        added.clicks[Slot(link_id, hour, Dimension.DEVICE), click.device] += 1
        added.clicks[Slot(link_id, hour, Dimension.COUNTRY), click.country] += 1
        added.clicks[Slot(link_id, hour, Dimension.REFERRER), click.referrer] += 1
        if click.city:
            added.clicks[Slot(link_id, hour, Dimension.CITY), city_value(click)] += 1
        if click.visitor != NO_VISITOR:
            added.visitors[LinkHour(link_id, hour)].add(click.visitor)
    return added


def visitors_by_period(hours: Mapping[LinkHour, set[bytes]]) -> Iterator[tuple[Period, set[bytes]]]:
    """Yield the visitors of each hour, day and month, those of one link together; none is empty."""
    found: dict[Period, set[bytes]] = {}
    link_id = None
    for hour, visitors in sorted(hours.items()):
        if hour.link_id != link_id:
            yield from found.items()
            found = {}
            link_id = hour.link_id
        for span in ROLLED_UP:
            found.setdefault(Period(hour.link_id, span, span.floor(hour.start)), set()).update(visitors)
    yield from found.items()


def city_value(click: Click) -> str:
    """Return what a click with a city is counted by: `CC|city`."""
    return f"{click.country}|{click.city}"


def chosen_values(clicks: Iterable[Click]) -> dict[Slot, dict[str, None]]:
    """Return the referrers and cities of these clicks, which visitors choose, in the order in which they came.

    `direct` is no referrer, and `other` stands for many.
    """
    values: defaultdict[Slot, dict[str, None]] = defaultdict(dict)
    for click in clicks:
        hour = click.at - click.at % HOUR
        if click.referrer not in (DIRECT, OTHER):
            values[Slot(click.ref.id, hour, Dimension.REFERRER)][click.referrer] = None
        if click.city not in ("", OTHER):
            values[Slot(click.ref.id, hour, Dimension.CITY)][city_value(click)] = None
    return dict(values)


def without(click: Click, crowded: Mapping[Slot, Collection[str]]) -> Click:
    """Return the click with `other` in place of its referrer and city where those are among the crowded values."""
    hour = click.at - click.at % HOUR
    if click.referrer in crowded.get(Slot(click.ref.id, hour, Dimension.REFERRER), ()):
        click = replace(click, referrer=OTHER)
    if click.city and city_value(click) in crowded.get(Slot(click.ref.id, hour, Dimension.CITY), ()):
        click = replace(click, city=OTHER)
    return click
