"""The use cases of analytics: record a click, and answer statistics."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from shortener import errors
from shortener.analytics.model import CLICKED_AT_MIN, Click
from shortener.analytics.periods import DAY, FOREVER, Span, TimeRange
from shortener.analytics.ports import ClickStore, DescribeClick, StatsReader
from shortener.analytics.stats import (
    POINTS_MAX,
    CityCount,
    CountryCount,
    GeoStats,
    Stats,
    TimePoint,
    fill,
    parse_granularity,
    parse_places_limit,
    parse_range,
    percentage,
    rank_countries,
    rank_referrers,
)
from shortener.clock import Clock
from shortener.idempotency import Answer, Asked, Replays
from shortener.links import LinkDetails, LinkService
from shortener.links.model import unknown_link
from shortener.tx import Transactions, Tx

AHEAD_MAX_SECONDS = DAY
"""How far in the future a click may be: clocks differ."""


@dataclass(kw_only=True)
class AnalyticsService:
    """Clicks in, statistics out. Raw values come in; counts or `errors` go out.

    Statistics are of links that exist, expired ones too; where an `owner_id` is given, of that owner's links alone.
    """

    links: LinkService
    clicks: ClickStore
    reader: StatsReader
    transactions: Transactions
    clock: Clock
    describe: DescribeClick
    country_name: Callable[[str], str]
    replays: Replays

    async def record(
        self,
        short_code: str,
        *,
        address: str,
        user_agent: str,
        referrer: str,
        at: int,
        idempotency_key: str | None = None,
    ) -> int:
        """Record one click and return its id, once it is durable and every later read sees it.

        `at` 0 means now; the past is accepted and counts in its own period. An empty `address` is a click without a
        visitor. With a key that came before for this link, return that click's id and record nothing. Raises
        `errors.Invalid` (`timestamp`, `ip_address`), `errors.NotFound` if unknown or deleted, `errors.Conflict` for a
        key that came with another click, `errors.Exhausted` when too many keys are kept.
        """
        asked = None
        if idempotency_key is not None:
            request = (address, user_agent, referrer, at)
            asked = self.replays.asked("TrackClick", short_code, idempotency_key, request)
            answer = await self.replays.find(asked)
            if answer is not None:
                return _click_id(answer)
        at = _parse_click_time(at, self.clock())
        link = await self.links.details(short_code)
        click = self.describe(link.ref, at=at, address=address, user_agent=user_agent, referrer=referrer)
        return await self.transactions(lambda tx: self._append(tx, click, asked))

    async def stats(self, short_code: str, start: int, end: int, *, owner_id: str | None = None) -> Stats:
        """Return everything about the clicks in [start, end); 0 is unbounded on that side.

        Raises `errors.Invalid` (`start_time`, `end_time`), `errors.NotFound`.
        """
        within = parse_range(start, end)
        link = await self.links.details(short_code, owner_id=owner_id)
        tally = await self.reader.tally(link.id, within)
        total = tally.clicks
        return Stats(
            short_code=link.short_code,
            total_clicks=total,
            unique_visitors=tally.unique_visitors,
            countries=self._ranked(tally.countries, total),
            referrers=rank_referrers(tally.referrers, total),
            devices=tally.devices,
        )

    async def time_series(
        self, short_code: str, start: int, end: int, granularity: str, *, owner_id: str | None = None
    ) -> list[TimePoint]:
        """Return one point for each hour, day, week or month that [start, end) touches, oldest first.

        A side that is 0 is unbounded: the series then runs from the link's creation or its first click, whichever is
        earlier, or up to the end of the period that holds now; of more than 10,000 points it has the last ones. The
        first and the last point count only what lies in the range. Raises `errors.Invalid` (for more than 10,000
        points too where both sides are given), `errors.NotFound`.
        """
        asked, span = parse_range(start, end), parse_granularity(granularity)
        if start and end and len(asked.periods(span)) > POINTS_MAX:
            raise errors.Invalid(f"the range has more than {POINTS_MAX} points", field="granularity")
        link = await self.links.details(short_code, owner_id=owner_id)
        within = await self._bounded(link, asked, span)
        if within.is_empty:
            return []
        return fill(await self.reader.series(link.id, within, span), within, span)

    async def geo_stats(self, short_code: str, limit: int, *, owner_id: str | None = None) -> GeoStats:
        """Return the `limit` countries and the `limit` cities with most clicks over all time; 0 means 10.

        Raises `errors.Invalid` (`limit`), `errors.NotFound`.
        """
        limit = parse_places_limit(limit)
        link = await self.links.details(short_code, owner_id=owner_id)
        places = await self.reader.places(link.id, cities_max=limit)
        total = sum(places.countries.values())
        return GeoStats(
            countries=self._ranked(places.countries, total)[:limit],
            cities=[CityCount(*city, percentage(city.clicks, total)) for city in places.cities],
        )

    def _append(self, tx: Tx, click: Click, asked: Asked | None) -> int:
        """Record the click, its roll-ups and its link's counter, and that it answers this call: all or nothing."""
        if asked is not None and (answer := self.replays.find_in(tx, asked)) is not None:
            return _click_id(answer)  # Another call has been quicker.
        (click_id,) = self.clicks.append(tx, [click])
        if click.ref not in self.links.add_clicks(tx, {click.ref: int(self.clicks.is_counted(click))}):
            raise unknown_link()  # Erased since it was looked up; nothing of the click stays.
        if asked is not None:
            self.replays.keep(tx, asked, (click_id,))
        return click_id

    async def _bounded(self, link: LinkDetails, within: TimeRange, span: Span) -> TimeRange:
        """Return the range with the sides it leaves open decided, `POINTS_MAX` periods at most."""
        start, end = within.start, within.end
        if not start:
            first = await self.reader.first_hour(link.id)
            start = span.floor(link.created_at if first is None else min(link.created_at, first))
        if end == FOREVER:
            end = span.ceil(self.clock() + 1)
        return TimeRange(max(start, span.start(span.number(end - 1) - POINTS_MAX + 1)), end)

    def _ranked(self, counts: Mapping[str, int], total: int) -> list[CountryCount]:
        return rank_countries(counts, {code: self.country_name(code) for code in counts}, total)


def _click_id(answer: Answer) -> int:
    (click_id,) = answer
    assert isinstance(click_id, int)
    return click_id


def _parse_click_time(at: int, now: int) -> int:
    if at < 0 or 0 < at < CLICKED_AT_MIN:
        raise errors.Invalid("timestamp must be 0 or Unix seconds since 2020", field="timestamp")
    if at > now + AHEAD_MAX_SECONDS:
        raise errors.Invalid("timestamp must not be more than a day ahead", field="timestamp")
    return at or now
