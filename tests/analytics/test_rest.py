"""The routes of statistics, called as the gateway calls them."""

from collections.abc import Mapping

import pytest

from shortener import errors
from shortener.analytics.rest import routes
from shortener.analytics.rpc import AnalyticsRpc
from shortener.errors import Code
from shortener.gen import analytics as pb
from shortener.rest.auth import Principal
from shortener.rest.routes import Call, Route
from tests.analytics.builders import NOW
from tests.analytics.subjects import Analytics

OWNER, STRANGER = Principal("1"), Principal("2")
PATHS = [f"/api/urls/{{short_code}}/{name}" for name in ("stats", "timeseries", "geo")]
DAY = 86_400


@pytest.fixture
async def analytics() -> Analytics:
    analytics = Analytics()
    for at, address, place, referrer in [
        (NOW - DAY, "192.0.2.1", "DE/Bonn", "https://a.example"),
        (NOW - 1, "192.0.2.1", "AT", ""),
        (NOW, "", "bot", ""),
    ]:
        await analytics.click(at, address, place, referrer)
    return analytics


@pytest.fixture
def by_path(analytics: Analytics) -> dict[str, Route]:
    return {route.path: route for route in routes(analytics.service)}


def a_call(
    route: Route,
    query: Mapping[str, str | int] | None = None,
    *,
    principal: Principal | None = OWNER,
    short_code: str = "abc1234",
) -> Call:
    """Return a call as the gateway makes it: every declared parameter is there."""
    defaults = {parameter.name: parameter.kind() for parameter in route.query}
    assert query is None or query.keys() <= defaults.keys()
    return Call(principal=principal, path={"short_code": short_code}, query={**defaults, **(query or {})})


def test_the_routes_are_those_of_the_contract(by_path: dict[str, Route]) -> None:
    assert {
        path: (route.method, route.auth, route.slow, route.status, route.reply, [query.name for query in route.query])
        for path, route in by_path.items()
    } == {
        PATHS[0]: ("GET", True, True, 200, pb.GetStatsResponse, ["start_time", "end_time"]),
        PATHS[1]: ("GET", True, True, 200, pb.GetTimeSeriesResponse, ["start_time", "end_time", "granularity"]),
        PATHS[2]: ("GET", True, True, 200, pb.GetGeoStatsResponse, ["limit"]),
    }
    assert all(route.errors == (Code.INVALID, Code.NOT_FOUND) for route in by_path.values())


@pytest.mark.parametrize("bounds", [{}, {"start_time": NOW - 1}, {"end_time": NOW}, {"start_time": 1, "end_time": 2}])
async def test_stats_are_those_of_the_rpc(
    by_path: dict[str, Route], analytics: Analytics, bounds: dict[str, int]
) -> None:
    route = by_path[PATHS[0]]
    reply = await route.handler(a_call(route, bounds))
    request = pb.GetStatsRequest(short_code="abc1234", **bounds)
    assert reply.message == await AnalyticsRpc(analytics.service).get_stats(request)


@pytest.mark.parametrize("granularity", ["", "hour", "day", "week"])
async def test_a_series_is_that_of_the_rpc(by_path: dict[str, Route], analytics: Analytics, granularity: str) -> None:
    route = by_path[PATHS[1]]
    reply = await route.handler(
        a_call(route, {"start_time": NOW - 2 * DAY, "end_time": NOW + 1, "granularity": granularity})
    )
    request = pb.GetTimeSeriesRequest("abc1234", NOW - 2 * DAY, NOW + 1, granularity)
    assert reply.message == await AnalyticsRpc(analytics.service).get_time_series(request)


@pytest.mark.parametrize("limit", [0, 1, 1000])
async def test_geo_stats_are_those_of_the_rpc(by_path: dict[str, Route], analytics: Analytics, limit: int) -> None:
    route = by_path[PATHS[2]]
    reply = await route.handler(a_call(route, {"limit": limit}))
    request = pb.GetGeoStatsRequest(short_code="abc1234", limit=limit)
    assert reply.message == await AnalyticsRpc(analytics.service).get_geo_stats(request)


@pytest.mark.parametrize("path", PATHS)
async def test_someone_elses_link_is_not_found(by_path: dict[str, Route], path: str) -> None:
    route = by_path[path]
    with pytest.raises(errors.NotFound) as strangers:
        await route.handler(a_call(route, principal=STRANGER))
    with pytest.raises(errors.NotFound) as unknown:
        await route.handler(a_call(route, short_code="nothere"))
    assert strangers.value.message == unknown.value.message


@pytest.mark.parametrize("path", PATHS)
async def test_nobody_is_unauthenticated(by_path: dict[str, Route], path: str) -> None:
    route = by_path[path]
    with pytest.raises(errors.Unauthenticated):
        await route.handler(a_call(route, principal=None))


@pytest.mark.parametrize(
    ("path", "query", "field"),
    [
        (PATHS[0], {"start_time": -1}, "start_time"),
        (PATHS[0], {"end_time": 1 << 63}, "end_time"),
        (PATHS[1], {"granularity": "year"}, "granularity"),
        (PATHS[1], {"start_time": 1, "end_time": 1 << 62}, "granularity"),
        (PATHS[2], {"limit": 1001}, "limit"),
        (PATHS[2], {"limit": -1}, "limit"),
    ],
)
async def test_what_is_invalid_names_its_field(
    by_path: dict[str, Route], path: str, query: dict[str, int | str], field: str
) -> None:
    route = by_path[path]
    with pytest.raises(errors.Invalid) as caught:
        await route.handler(a_call(route, query))
    assert caught.value.field == field
