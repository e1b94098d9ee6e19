"""Statistics as the messages of `analytics.proto`, the same for RPC and REST. Contains no rule.

Messages with thousands of parts are built in slices, so that other calls are served in between.
"""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

from shortener.analytics.stats import CityCount, CountryCount, DeviceCounts, GeoStats, ReferrerCount, Stats, TimePoint
from shortener.gen import analytics as wire
from shortener.rpc.codec import build

T = TypeVar("T")
Fields = dict[str, Any]
"""The fields of a message inside an answer."""

SLICE = 2_000
"""Parts built in one go: about a millisecond."""


def tracked_message(click_id: int) -> wire.TrackClickResponse:
    """Return the answer to a recorded click."""
    return build(wire.TrackClickResponse, success=True, click_id=f"evt_{click_id}")


async def stats_message(stats: Stats) -> wire.GetStatsResponse:
    """Return the answer of GetStats."""
    return build(
        wire.GetStatsResponse,
        short_code=stats.short_code,
        total_clicks=stats.total_clicks,
        unique_visitors=stats.unique_visitors,
        countries=_countries(stats.countries),
        referrers=await _in_slices(_referrer, stats.referrers),
        device_stats=_devices(stats.devices),
    )


async def series_message(points: Sequence[TimePoint]) -> wire.GetTimeSeriesResponse:
    """Return the answer of GetTimeSeries."""
    return build(wire.GetTimeSeriesResponse, points=await _in_slices(_point, points))


def geo_message(geo: GeoStats) -> wire.GetGeoStatsResponse:
    """Return the answer of GetGeoStats."""
    return build(
        wire.GetGeoStatsResponse, countries=_countries(geo.countries), cities=[_city(count) for count in geo.cities]
    )


async def _in_slices(part: Callable[[T], Fields], values: Sequence[T]) -> list[Fields]:
    parts: list[Fields] = []
    for start in range(0, len(values), SLICE):
        parts += map(part, values[start : start + SLICE])
        if start + SLICE < len(values) or start:
            await asyncio.sleep(0)  # Also after the last slice: encoding comes next, and is as long again.
    return parts


def _countries(counts: Iterable[CountryCount]) -> list[Fields]:
    return [
        {
            "country_code": count.country_code,
            "country_name": count.country_name,
            "click_count": count.clicks,
            "percentage": count.percentage,
        }
        for count in counts
    ]


def _city(count: CityCount) -> Fields:
    return {
        "city": count.city,
        "country_code": count.country_code,
        "click_count": count.clicks,
        "percentage": count.percentage,
    }


def _referrer(count: ReferrerCount) -> Fields:
    return {"referer": count.referrer, "click_count": count.clicks, "percentage": count.percentage}


def _point(value: TimePoint) -> Fields:
    return {"timestamp": value.timestamp, "clicks": value.clicks, "unique_visitors": value.unique_visitors}


def _devices(counts: DeviceCounts) -> Fields:
    return {"mobile": counts.mobile, "desktop": counts.desktop, "tablet": counts.tablet, "other": counts.other}
