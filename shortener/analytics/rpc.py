"""AnalyticsRpc: `analytics.AnalyticsService` over gRPC. Message in, message out; no rule, no status code."""

from grpclib.const import Handler

from shortener.analytics import wire
from shortener.analytics.service import AnalyticsService
from shortener.gen.analytics import (
    AnalyticsServiceBase,
    GetGeoStatsRequest,
    GetGeoStatsResponse,
    GetStatsRequest,
    GetStatsResponse,
    GetTimeSeriesRequest,
    GetTimeSeriesResponse,
    TrackClickRequest,
    TrackClickResponse,
)
from shortener.rpc.idempotency import keyed

TRACK_CLICK = "/analytics.AnalyticsService/TrackClick"


class AnalyticsRpc(AnalyticsServiceBase):
    """The four methods of the contract. They raise `errors` alone; callers are trusted services and see every link."""

    def __init__(self, analytics: AnalyticsService) -> None:
        self._analytics = analytics

    async def track_click(
        self, track_click_request: TrackClickRequest, *, idempotency_key: str | None = None
    ) -> TrackClickResponse:
        """Record one click."""
        request = track_click_request
        click_id = await self._analytics.record(
            request.short_code,
            address=request.ip_address,
            user_agent=request.user_agent,
            referrer=request.referer,
            at=request.timestamp,
            idempotency_key=idempotency_key,
        )
        return wire.tracked_message(click_id)

    async def get_stats(self, get_stats_request: GetStatsRequest) -> GetStatsResponse:
        """Answer totals, countries, referrers and devices."""
        request = get_stats_request
        return await wire.stats_message(
            await self._analytics.stats(request.short_code, request.start_time, request.end_time)
        )

    async def get_time_series(self, get_time_series_request: GetTimeSeriesRequest) -> GetTimeSeriesResponse:
        """Answer a zero-filled series."""
        request = get_time_series_request
        points = await self._analytics.time_series(
            request.short_code, request.start_time, request.end_time, request.granularity
        )
        return await wire.series_message(points)

    async def get_geo_stats(self, get_geo_stats_request: GetGeoStatsRequest) -> GetGeoStatsResponse:
        """Answer countries and cities over all time."""
        request = get_geo_stats_request
        return wire.geo_message(await self._analytics.geo_stats(request.short_code, request.limit))

    def __mapping__(self) -> dict[str, Handler]:
        """Return the methods by path; TrackClick is not the generated one, because it takes idempotency keys."""
        mapping = super().__mapping__()
        mapping[TRACK_CLICK] = mapping[TRACK_CLICK]._replace(func=keyed(self.track_click))
        return mapping
