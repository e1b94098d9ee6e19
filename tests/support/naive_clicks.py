"""Statistics the obvious way: every click is looked at for every answer. What the real reader is compared with."""

import datetime as dt
from collections import Counter
from collections.abc import Iterable, Sequence

from shortener.analytics.model import NO_VISITOR, Click
from shortener.analytics.periods import Span, TimeRange
from shortener.analytics.stats import (
    CityClicks,
    CityCount,
    CountryCount,
    DeviceCounts,
    GeoStats,
    Places,
    ReferrerCount,
    Stats,
    Tally,
    TimePoint,
)
from shortener.tx import Tx

COUNTRIES = {"DE": "Germany", "AT": "Austria", "CH": "Switzerland", "FR": "France", "ZZ": "Unknown"}
"""Their names are in another order than their codes."""

EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
NAMES = {Span.HOUR: "hour", Span.DAY: "day", Span.WEEK: "week", Span.MONTH: "month"}
NAMED_MAX = 1_000


def country_name(code: str) -> str:
    return COUNTRIES.get(code, code)


def period_of(time: int, granularity: str) -> int:
    """The start of the hour, day, week or month of a time, by the calendar of the standard library."""
    moment = EPOCH + dt.timedelta(seconds=time)
    start = moment.replace(minute=0, second=0)
    if granularity != "hour":
        start = start.replace(hour=0)
    if granularity == "week":
        monday = start.date().toordinal() - start.weekday()
        return (monday - EPOCH.date().toordinal()) * 86_400
    if granularity == "month":
        start = start.replace(day=1)
    return int((start - EPOCH).total_seconds())


def next_period(start: int, granularity: str) -> int:
    """The start of the period after the one that starts then."""
    longest = {"hour": 3_600, "day": 86_400, "week": 604_800, "month": 31 * 86_400}[granularity]
    return period_of(start + longest, granularity)


def visitors_of(clicks: Iterable[Click]) -> int:
    return len({click.visitor for click in clicks if click.visitor != NO_VISITOR})


def counts_of(values: Iterable[str]) -> list[tuple[str, int]]:
    """Values by how often they come, then by name."""
    return sorted(Counter(values).items(), key=lambda item: (-item[1], item[0]))


def stats_of(short_code: str, clicks: Sequence[Click], start: int, end: int) -> Stats:
    chosen = [click for click in clicks if click.at >= start and (not end or click.at < end)]
    countries = counts_of(click.country for click in chosen)
    countries.sort(key=lambda item: (-item[1], country_name(item[0])))
    referrers = counts_of(click.referrer for click in chosen)
    named = [item for item in referrers if item[0] != "other"][:NAMED_MAX]
    rest = len(chosen) - sum(n for _, n in named)
    devices = Counter(str(click.device) for click in chosen)
    return Stats(
        short_code=short_code,
        total_clicks=len(chosen),
        unique_visitors=visitors_of(chosen),
        countries=[CountryCount(code, country_name(code), n, 100 * n / len(chosen)) for code, n in countries],
        referrers=[
            ReferrerCount(name, n, 100 * n / len(chosen)) for name, n in [*named, *([("other", rest)] if rest else [])]
        ],
        devices=DeviceCounts(devices["mobile"], devices["desktop"], devices["tablet"], devices["other"]),
    )


def series_of(
    clicks: Sequence[Click], start: int, end: int, granularity: str, *, created_at: int, now: int
) -> list[TimePoint]:
    if start:
        period = period_of(start, granularity)
    else:
        period = period_of(min([created_at, *(click.at for click in clicks)]), granularity)
    stop = end or next_period(period_of(now, granularity), granularity)
    if start >= stop:
        return []
    chosen = [click for click in clicks if start <= click.at < stop]
    points = []
    while period < stop:
        after = next_period(period, granularity)
        inside = [click for click in chosen if period <= click.at < after]
        points.append(TimePoint(period, len(inside), visitors_of(inside)))
        period = after
    return points


def geo_of(clicks: Sequence[Click], limit: int) -> GeoStats:
    countries = sorted(Counter(click.country for click in clicks).items(), key=lambda i: (-i[1], country_name(i[0])))
    cities = Counter((click.city, click.country) for click in clicks if click.city)
    ranked = sorted(cities.items(), key=lambda item: (item[0][0] == "other", -item[1], item[0]))
    return GeoStats(
        countries=[
            CountryCount(code, country_name(code), n, 100 * n / len(clicks)) for code, n in countries[: limit or 10]
        ],
        cities=[CityCount(city, code, n, 100 * n / len(clicks)) for (city, code), n in ranked[: limit or 10]],
    )


class NaiveClicks:
    """A `ClickStore` and `StatsReader` on one list. Bots count only when told so."""

    def __init__(self, *, count_bots: bool = True) -> None:
        self.clicks: list[Click] = []
        self.count_bots = count_bots

    def append(self, tx: Tx, clicks: Sequence[Click]) -> list[int]:
        first = len(self.clicks) + 1
        self.clicks += clicks
        return list(range(first, first + len(clicks)))

    def is_counted(self, click: Click) -> bool:
        return self.count_bots or not click.bot

    def counted(self, link_id: int) -> list[Click]:
        return [click for click in self.clicks if click.ref.id == link_id and self.is_counted(click)]

    async def tally(self, link_id: int, within: TimeRange) -> Tally:
        stats = stats_of("", self.counted(link_id), within.start, within.end)
        return Tally(
            unique_visitors=stats.unique_visitors,
            devices=stats.devices,
            countries={count.country_code: count.click_count for count in stats.countries},
            referrers={count.referrer: count.click_count for count in stats.referrers if count.referrer != "other"},
        )

    async def series(self, link_id: int, within: TimeRange, span: Span) -> list[TimePoint]:
        periods: dict[int, list[Click]] = {}
        for click in sorted(self.counted(link_id), key=lambda click: click.at):
            if click.at in within:
                periods.setdefault(period_of(click.at, NAMES[span]), []).append(click)
        return [TimePoint(period, len(clicks), visitors_of(clicks)) for period, clicks in periods.items()]

    async def places(self, link_id: int, *, cities_max: int) -> Places:
        clicks = self.counted(link_id)
        cities = geo_of(clicks, cities_max).cities
        return Places(Counter(click.country for click in clicks), [CityClicks(*count[:3]) for count in cities])

    async def first_hour(self, link_id: int) -> int | None:
        times = [click.at for click in self.counted(link_id)]
        return period_of(min(times), "hour") if times else None
