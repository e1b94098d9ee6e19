"""What statistics are: ranges, periods and the counts that are answered, with every rule about them.

All times are Unix seconds in UTC.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from shortener import errors
from shortener.analytics.model import OTHER
from shortener.analytics.periods import FOREVER, Span, TimeRange

POINTS_MAX = 10_000
PLACES_DEFAULT = 10
PLACES_MAX = 1_000
REFERRERS_MAX = 1_000
"""Referrers that are answered by name; all others are one row, `other`."""

GRANULARITIES: Mapping[str, Span] = {"hour": Span.HOUR, "day": Span.DAY, "week": Span.WEEK, "month": Span.MONTH}
"""How long the periods of a series may be. Weeks start on Monday."""


def parse_granularity(text: str) -> Span:
    """Return the granularity of this name; none means day. Raises `errors.Invalid`."""
    span = GRANULARITIES.get(text or "day")
    if span is None:
        raise errors.Invalid("granularity must be hour, day, week or month", field="granularity")
    return span


def parse_range(start_time: int, end_time: int) -> TimeRange:
    """Return the range of two times as the wire gives them: 0 is unbounded, equal times make an empty range.

    Raises `errors.Invalid` for a negative time, one past int64, and a start after the end.
    """
    for field, time in (("start_time", start_time), ("end_time", end_time)):
        if not 0 <= time < FOREVER:
            raise errors.Invalid(f"{field} must be Unix seconds, or 0 for no bound", field=field)
    if end_time and start_time > end_time:
        raise errors.Invalid("start_time must not be after end_time", field="start_time")
    return TimeRange(start_time, end_time or FOREVER)


def parse_places_limit(limit: int) -> int:
    """Return how many countries and cities to list, 0 meaning 10. Raises `errors.Invalid` outside 1 to 1,000."""
    if not 0 <= limit <= PLACES_MAX:
        raise errors.Invalid(f"limit must be from 1 to {PLACES_MAX}, or 0 for {PLACES_DEFAULT}", field="limit")
    return limit or PLACES_DEFAULT


class CountryCount(NamedTuple):
    """Clicks from one country; `percentage` is of all clicks counted, not rounded."""

    country_code: str
    country_name: str
    click_count: int
    percentage: float


class ReferrerCount(NamedTuple):
    """Clicks from one page's origin, or `direct`; `other` are those from pages that are not listed."""

    referrer: str
    click_count: int
    percentage: float


class CityCount(NamedTuple):
    """Clicks from one named city."""

    city: str
    country_code: str
    click_count: int
    percentage: float


class DeviceCounts(NamedTuple):
    """Clicks by kind of device; bots, empty and unknown agents are `other`."""

    mobile: int = 0
    desktop: int = 0
    tablet: int = 0
    other: int = 0


class TimePoint(NamedTuple):
    """One period of a series, named by its start. A tuple, since a series has thousands."""

    timestamp: int
    clicks: int
    unique_visitors: int


@dataclass(frozen=True, slots=True)
class Tally:
    """The clicks of a range as a reader counts them: by device, by country code and by referrer.

    `devices` has every click once. `referrers` are the biggest, `REFERRERS_MAX` at most, and none of them is `other`.
    """

    unique_visitors: int
    devices: DeviceCounts
    countries: Mapping[str, int]
    referrers: Mapping[str, int]

    @property
    def clicks(self) -> int:
        """How many clicks there are in all."""
        return sum(self.devices)


class CityClicks(NamedTuple):
    """Clicks from one named city, as a reader counts them."""

    city: str
    country_code: str
    clicks: int


@dataclass(frozen=True, slots=True)
class Places:
    """Where all clicks ever came from: every country, and the biggest cities, biggest first, then by name."""

    countries: Mapping[str, int]
    cities: Sequence[CityClicks]


@dataclass(frozen=True, slots=True)
class Stats:
    """Everything GetStats answers about a range. Both lists are biggest first, then by name, and add up to the total.

    The last referrer is `other` where there are more than `REFERRERS_MAX`, or more came in an hour than are kept apart.
    """

    short_code: str
    total_clicks: int
    unique_visitors: int
    countries: Sequence[CountryCount]
    referrers: Sequence[ReferrerCount]
    devices: DeviceCounts


@dataclass(frozen=True, slots=True)
class GeoStats:
    """The countries and cities with most clicks over all time. Clicks without a city are in no city's count."""

    countries: Sequence[CountryCount]
    cities: Sequence[CityCount]


def percentage(clicks: int, total: int) -> float:
    """Return which part of `total` these clicks are, from 0 to 100, not rounded. `total` must not be 0."""
    return clicks * 100 / total


def rank_countries(counts: Mapping[str, int], names: Mapping[str, str], total: int) -> list[CountryCount]:
    """Return countries by clicks, biggest first, then by name. `names` has every code of `counts`."""
    ranked = sorted(counts.items(), key=lambda item: (-item[1], names[item[0]], item[0]))
    return [CountryCount(code, names[code], clicks, percentage(clicks, total)) for code, clicks in ranked]


def rank_referrers(counts: Mapping[str, int], total: int) -> list[ReferrerCount]:
    """Return referrers by clicks, biggest first, then by name, and last as `other` what they lack of the total."""
    ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    rest = total - sum(counts.values())
    if rest:
        ranked.append((OTHER, rest))
    return [ReferrerCount(name, clicks, percentage(clicks, total)) for name, clicks in ranked]


def fill(points: Iterable[TimePoint], within: TimeRange, span: Span) -> list[TimePoint]:
    """Return one point for each period that `within` touches, oldest first, zero where `points` has none."""
    known = {point.timestamp: point for point in points}
    return [known.get(start) or TimePoint(start, 0, 0) for start in map(span.start, within.periods(span))]
