"""The REST side of analytics: statistics of the caller's own links. Contains no rule."""

from shortener.analytics import wire
from shortener.analytics.service import AnalyticsService
from shortener.analytics.stats import GRANULARITIES, PLACES_DEFAULT, PLACES_MAX, POINTS_MAX
from shortener.errors import Code
from shortener.gen.analytics import GetGeoStatsResponse, GetStatsResponse, GetTimeSeriesResponse
from shortener.rest.routes import Call, Query, Reply, Route

START = Query("start_time", int, "Unix seconds of the first moment counted; 0 or absent: no bound.", low=0)
END = Query("end_time", int, "Unix seconds of the first moment not counted; 0 or absent: no bound.", low=0)
GRANULARITY = Query(
    "granularity",
    str,
    f"Length of the periods, in UTC; weeks start on Monday; absent or empty: day. At most {POINTS_MAX:,} points:"
    " the last ones where a side is unbounded.",
    choices=(*GRANULARITIES, ""),
)
LIMIT = Query(
    "limit",
    int,
    f"How many countries and cities to list, 1 to {PLACES_MAX:,}; 0 or absent: {PLACES_DEFAULT}.",
    low=0,
    high=PLACES_MAX,
)

_ERRORS = (Code.INVALID, Code.NOT_FOUND)


def routes(analytics: AnalyticsService) -> list[Route]:
    """Return the routes of statistics. Someone else's link is `errors.NotFound`."""

    async def stats(call: Call) -> Reply:
        found = await analytics.stats(
            call.path["short_code"], call.number("start_time"), call.number("end_time"), owner_id=call.caller_id()
        )
        return Reply(await wire.stats_message(found))

    async def time_series(call: Call) -> Reply:
        points = await analytics.time_series(
            call.path["short_code"],
            call.number("start_time"),
            call.number("end_time"),
            call.text("granularity"),
            owner_id=call.caller_id(),
        )
        return Reply(await wire.series_message(points))

    async def geo_stats(call: Call) -> Reply:
        found = await analytics.geo_stats(call.path["short_code"], call.number("limit"), owner_id=call.caller_id())
        return Reply(wire.geo_message(found))

    return [
        Route(
            "GET",
            "/api/urls/{short_code}/stats",
            stats,
            "Clicks, unique visitors, countries, referrers and devices of one of your links.",
            query=(START, END),
            reply=GetStatsResponse,
            errors=_ERRORS,
            slow=True,
        ),
        Route(
            "GET",
            "/api/urls/{short_code}/timeseries",
            time_series,
            "Clicks and unique visitors of one of your links over time.",
            query=(START, END, GRANULARITY),
            reply=GetTimeSeriesResponse,
            errors=_ERRORS,
            slow=True,
        ),
        Route(
            "GET",
            "/api/urls/{short_code}/geo",
            geo_stats,
            "Countries and cities of the clicks on one of your links, over all time.",
            query=(LIMIT,),
            reply=GetGeoStatsResponse,
            errors=_ERRORS,
            slow=True,
        ),
    ]
