"""What statistics are: ranges, periods and the counts that are answered, with every rule about them.

All times are Unix seconds in UTC.
"""

import enum
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from shortener import errors

HOUR = 3_600
DAY = 86_400
WEEK = 604_800
MONDAY = -3 * DAY  # 1970-01-01 was a Thursday: weeks are counted from Monday, 1969-12-29.

FOREVER = 1 << 63  # The end of a range without one: a second after the last that the wire can name.

POINTS_MAX = 10_000
PLACES_DEFAULT = 10
PLACES_MAX = 1_000


class Granularity(enum.Enum):
    """How long the periods of a series are. Weeks start on Monday."""

    HOUR = "hour"
    DAY = "day"
    WEEK = "week"

    @property
    def seconds(self) -> int:
        """The length of one period."""
        return _SECONDS[self]

    def floor(self, time: int) -> int:
        """Return the start of the period that holds `time`; for a week around 1970 it may be negative."""
        origin = MONDAY if self is Granularity.WEEK else 0
        return time - (time - origin) % self.seconds

    def ceil(self, time: int) -> int:
        """Return `time` if a period starts there, else the start of the next one."""
        return self.floor(time + self.seconds - 1)


_SECONDS = {Granularity.HOUR: HOUR, Granularity.DAY: DAY, Granularity.WEEK: WEEK}


def parse_granularity(text: str) -> Granularity:
    """Return the granularity of this name; none means day. Raises `errors.Invalid`."""
    if not text:
        return Granularity.DAY
    try:
        return Granularity(text)
    except ValueError:
        raise errors.Invalid("granularity must be hour, day or week", field="granularity") from None


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

    def points(self, granularity: Granularity) -> int:
        """Return how many periods it touches."""
        if self.is_empty:
            return 0
        return (granularity.floor(self.end - 1) - granularity.floor(self.start)) // granularity.seconds + 1


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
    clicks: int
    percentage: float


class ReferrerCount(NamedTuple):
    """Clicks from one page's origin, or `direct`."""

    referrer: str
    clicks: int
    percentage: float


class CityCount(NamedTuple):
    """Clicks from one named city."""

    city: str
    country_code: str
    clicks: int
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

    `devices` has every click once. `referrers` is complete, biggest first, then by name.
    """

    unique_visitors: int
    devices: DeviceCounts
    countries: Mapping[str, int]
    referrers: Sequence[ReferrerCount]

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
    """Everything GetStats answers about a range. Both lists are complete, biggest first, then by name."""

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


def fill(points: Iterable[TimePoint], within: TimeRange, granularity: Granularity) -> list[TimePoint]:
    """Return one point for each period that `within` touches, oldest first, zero where `points` has none."""
    if within.is_empty:
        return []
    known = {point.timestamp: point for point in points}
    starts = range(granularity.floor(within.start), within.end, granularity.seconds)
    return [known.get(start) or TimePoint(start, 0, 0) for start in starts]
