"""The operations on statistics, for both wires: messages in and messages out, nothing else."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from shortener.analytics.service import AnalyticsService
from shortener.analytics.stats import (
    GRANULARITIES,
    PLACES_DEFAULT,
    PLACES_MAX,
    POINTS_MAX,
    GeoStats,
    ReferrerCount,
    TimePoint,
)
from shortener.api import IdempotencyKey, Operation, Query, Route
from shortener.caller import Caller
from shortener.errors import Code
from shortener.gen import analytics as pb
from shortener.rpc.codec import build

_SERVICE = "/analytics.AnalyticsService/"
_ERRORS = (Code.INVALID, Code.NOT_FOUND)


T = TypeVar("T")
Fields = dict[str, Any]
"""The fields of a message inside an answer."""

SLICE = 2_000
"""Parts of a long answer that are built in one go, about a millisecond; other calls are served in between."""


class AnalyticsApi:
    """The functions. A caller who is an account sees statistics of its own links alone."""

    def __init__(self, analytics: AnalyticsService) -> None:
        self._analytics = analytics

    async def track_click(
        self, request: pb.TrackClickRequest, _: Caller, key: IdempotencyKey | None = None
    ) -> pb.TrackClickResponse:
        """Record one click."""
        click_id = await self._analytics.record(
            request.short_code,
            address=request.ip_address,
            user_agent=request.user_agent,
            referrer=request.referer,
            at=request.timestamp,
            idempotency_key=key.text if key else None,
        )
        return build(pb.TrackClickResponse, success=True, click_id=f"evt_{click_id}")

    async def get_stats(self, request: pb.GetStatsRequest, caller: Caller) -> pb.GetStatsResponse:
        """Answer totals, countries, referrers and devices."""
        stats = await self._analytics.stats(
            request.short_code, request.start_time, request.end_time, owner_id=caller.account or None
        )
        return build(
            pb.GetStatsResponse,
            short_code=stats.short_code,
            total_clicks=stats.total_clicks,
            unique_visitors=stats.unique_visitors,
            countries=[count._asdict() for count in stats.countries],
            referrers=await _in_slices(_referrer, stats.referrers),
            device_stats=stats.devices._asdict(),
        )

    async def get_time_series(self, request: pb.GetTimeSeriesRequest, caller: Caller) -> pb.GetTimeSeriesResponse:
        """Answer a zero-filled series."""
        points = await self._analytics.time_series(
            request.short_code,
            request.start_time,
            request.end_time,
            request.granularity,
            owner_id=caller.account or None,
        )
        return await series_message(points)

    async def get_geo_stats(self, request: pb.GetGeoStatsRequest, caller: Caller) -> pb.GetGeoStatsResponse:
        """Answer countries and cities over all time."""
        geo = await self._analytics.geo_stats(request.short_code, request.limit, owner_id=caller.account or None)
        return geo_message(geo)


async def series_message(points: Sequence[TimePoint]) -> pb.GetTimeSeriesResponse:
    """Return the answer of GetTimeSeries."""
    return build(pb.GetTimeSeriesResponse, points=await _in_slices(TimePoint._asdict, points))


def geo_message(geo: GeoStats) -> pb.GetGeoStatsResponse:
    """Return the answer of GetGeoStats."""
    countries, cities = ([count._asdict() for count in counts] for counts in (geo.countries, geo.cities))
    return build(pb.GetGeoStatsResponse, countries=countries, cities=cities)


async def _in_slices(part: Callable[[T], Fields], values: Sequence[T]) -> list[Fields]:
    parts: list[Fields] = []
    for start in range(0, len(values), SLICE):
        parts += map(part, values[start : start + SLICE])
        if start + SLICE < len(values) or start:
            await asyncio.sleep(0)  # Also after the last slice: encoding comes next, and is as long again.
    return parts


def _referrer(count: ReferrerCount) -> Fields:
    return {"referer": count.referrer, "click_count": count.click_count, "percentage": count.percentage}


def analytics_operations(analytics: AnalyticsService) -> list[Operation]:
    """Return what can be asked about clicks."""
    api = AnalyticsApi(analytics)
    return [
        Operation(_SERVICE + "TrackClick", api.track_click, takes_key=True),
        Operation(_SERVICE + "GetStats", api.get_stats, _STATS, slow=True),
        Operation(_SERVICE + "GetTimeSeries", api.get_time_series, _TIME_SERIES, slow=True),
        Operation(_SERVICE + "GetGeoStats", api.get_geo_stats, _GEO, slow=True),
    ]


_START = Query("start_time", int, "Unix seconds of the first moment counted; 0 or absent: no bound.", low=0)
_END = Query("end_time", int, "Unix seconds of the first moment not counted; 0 or absent: no bound.", low=0)
_STATS = Route(
    "GET",
    "/api/urls/{short_code}/stats",
    "Clicks, unique visitors, countries, referrers and devices of one of your links.",
    query=(_START, _END),
    errors=_ERRORS,
)
_TIME_SERIES = Route(
    "GET",
    "/api/urls/{short_code}/timeseries",
    "Clicks and unique visitors of one of your links over time.",
    query=(
        _START,
        _END,
        Query(
            "granularity",
            str,
            "Length of the periods, in UTC; weeks start on Monday; absent or empty: day. "
            f"At most {POINTS_MAX:,} points: the last ones where a side is unbounded.",
            choices=(*GRANULARITIES, ""),
        ),
    ),
    errors=_ERRORS,
)
_GEO = Route(
    "GET",
    "/api/urls/{short_code}/geo",
    "Countries and cities of the clicks on one of your links, over all time.",
    query=(
        Query(
            "limit",
            int,
            f"How many countries and cities to list, 1 to {PLACES_MAX:,}; 0 or absent: {PLACES_DEFAULT}.",
            low=0,
            high=PLACES_MAX,
        ),
    ),
    errors=_ERRORS,
)
