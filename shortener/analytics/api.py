"""The operations on statistics, for both wires: messages in and messages out, nothing else."""

from shortener.analytics import wire
from shortener.analytics.service import AnalyticsService
from shortener.analytics.stats import GRANULARITIES, PLACES_DEFAULT, PLACES_MAX, POINTS_MAX
from shortener.api import IdempotencyKey, Operation, Query, Route
from shortener.caller import Caller
from shortener.errors import Code
from shortener.gen import analytics as pb

_SERVICE = "/analytics.AnalyticsService/"
_ERRORS = (Code.INVALID, Code.NOT_FOUND)


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
        return wire.tracked_message(click_id)

    async def get_stats(self, request: pb.GetStatsRequest, caller: Caller) -> pb.GetStatsResponse:
        """Answer totals, countries, referrers and devices."""
        stats = await self._analytics.stats(
            request.short_code, request.start_time, request.end_time, owner_id=caller.owner
        )
        return await wire.stats_message(stats)

    async def get_time_series(self, request: pb.GetTimeSeriesRequest, caller: Caller) -> pb.GetTimeSeriesResponse:
        """Answer a zero-filled series."""
        points = await self._analytics.time_series(
            request.short_code, request.start_time, request.end_time, request.granularity, owner_id=caller.owner
        )
        return await wire.series_message(points)

    async def get_geo_stats(self, request: pb.GetGeoStatsRequest, caller: Caller) -> pb.GetGeoStatsResponse:
        """Answer countries and cities over all time."""
        geo = await self._analytics.geo_stats(request.short_code, request.limit, owner_id=caller.owner)
        return wire.geo_message(geo)


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
