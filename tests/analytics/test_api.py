"""Every method of analytics.AnalyticsService, over an RPC channel in memory."""

import struct
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from google.rpc.error_details_pb2 import BadRequest  # type: ignore[import-untyped] # no annotations
from grpclib.client import Channel
from grpclib.const import Status
from grpclib.exceptions import GRPCError

from shortener import errors
from shortener.analytics.api import AnalyticsApi, analytics_operations
from shortener.caller import Caller, Kind
from shortener.gen import analytics as pb
from shortener.rpc.guard import mounted
from tests.support.analytics_services import Analytics
from tests.support.channel import channel_for
from tests.support.click_builders import NOW

TODAY = NOW - 8 * 3600
DAY = 86_400


@pytest.fixture
def analytics() -> Analytics:
    return Analytics()


@pytest.fixture
async def channel(analytics: Analytics) -> AsyncIterator[Channel]:
    async with channel_for([mounted(analytics_operations(analytics.service))]) as channel:
        yield channel


@pytest.fixture
def stub(channel: Channel) -> pb.AnalyticsServiceStub:
    return pb.AnalyticsServiceStub(channel)


async def failure(call: Awaitable[object]) -> GRPCError:
    with pytest.raises(GRPCError) as caught:
        await call
    return caught.value


def as_float(value: float) -> float:
    """The value that arrives in a field of type float."""
    (narrow,) = struct.unpack("<f", struct.pack("<f", value))
    return float(narrow)


def a_track(**changes: object) -> pb.TrackClickRequest:
    return pb.TrackClickRequest(**{"short_code": "abc1234", **changes})  # type: ignore[arg-type] # named by the test


async def test_track_click(stub: pb.AnalyticsServiceStub, analytics: Analytics) -> None:
    request = a_track(
        ip_address="192.168.1.1", user_agent="DE/Bonn", referer="https://google.com", timestamp=1_704_153_600
    )
    assert await stub.track_click(request) == pb.TrackClickResponse(success=True, click_id="evt_1")
    (click,) = analytics.clicks.clicks
    assert (click.at, click.country, click.city, click.referrer) == (1_704_153_600, "DE", "Bonn", "https://google.com")


async def test_a_tracked_click_is_in_the_next_statistics(stub: pb.AnalyticsServiceStub) -> None:
    await stub.track_click(a_track(ip_address="192.0.2.1", user_agent="DE/Bonn", referer="https://a.example"))
    await stub.track_click(a_track(user_agent="AT"))
    await stub.track_click(a_track(user_agent="bot"))
    assert await stub.get_stats(pb.GetStatsRequest(short_code="abc1234")) == pb.GetStatsResponse(
        short_code="abc1234",
        total_clicks=3,
        unique_visitors=1,
        countries=[
            pb.CountryStat(country_code="AT", country_name="Austria", click_count=1, percentage=as_float(100 / 3)),
            pb.CountryStat(country_code="DE", country_name="Germany", click_count=1, percentage=as_float(100 / 3)),
            pb.CountryStat(country_code="bot", country_name="bot", click_count=1, percentage=as_float(100 / 3)),
        ],
        referrers=[
            pb.RefererStat(referer="direct", click_count=2, percentage=as_float(200 / 3)),
            pb.RefererStat(referer="https://a.example", click_count=1, percentage=as_float(100 / 3)),
        ],
        device_stats=pb.DeviceStats(mobile=2, other=1),
    )


async def test_statistics_of_no_clicks(stub: pb.AnalyticsServiceStub) -> None:
    assert await stub.get_stats(pb.GetStatsRequest(short_code="abc1234")) == pb.GetStatsResponse(
        short_code="abc1234", device_stats=pb.DeviceStats()
    )
    assert await stub.get_geo_stats(pb.GetGeoStatsRequest(short_code="abc1234")) == pb.GetGeoStatsResponse()


async def test_ranges_of_statistics(stub: pb.AnalyticsServiceStub, analytics: Analytics) -> None:
    for at in (NOW - 2, NOW - 1, NOW):
        await analytics.click(at=at)
    found = await stub.get_stats(pb.GetStatsRequest(short_code="abc1234", start_time=NOW - 1, end_time=NOW))
    assert found.total_clicks == 1


@pytest.mark.parametrize(
    ("granularity", "timestamps"),
    [
        ("", [TODAY - DAY, TODAY]),
        ("day", [TODAY - DAY, TODAY]),
        ("hour", [TODAY - 2 * 3600, TODAY - 3600, TODAY]),
        ("week", [TODAY - 4 * DAY]),
        ("month", [TODAY - 14 * DAY]),
    ],
)
async def test_time_series(
    stub: pb.AnalyticsServiceStub, analytics: Analytics, granularity: str, timestamps: list[int]
) -> None:
    await analytics.click(at=TODAY, address="192.0.2.1")
    request = pb.GetTimeSeriesRequest("abc1234", TODAY - 7200, TODAY + 1, granularity)
    assert await stub.get_time_series(request) == pb.GetTimeSeriesResponse(
        points=[
            *(pb.TimeSeriesPoint(timestamp) for timestamp in timestamps[:-1]),
            pb.TimeSeriesPoint(timestamps[-1], clicks=1, unique_visitors=1),
        ]
    )


async def test_ten_thousand_points(stub: pb.AnalyticsServiceStub) -> None:
    request = pb.GetTimeSeriesRequest("abc1234", TODAY, TODAY + 10_000 * 3600, "hour")
    points = (await stub.get_time_series(request)).points
    assert (len(points), points[-1].timestamp) == (10_000, TODAY + 9_999 * 3600)


async def test_geo_stats(stub: pb.AnalyticsServiceStub, analytics: Analytics) -> None:
    for place in ("DE/Bonn", "DE/Bonn", "CH", "AT/Wien"):
        await analytics.click(user_agent=place)
    assert await stub.get_geo_stats(pb.GetGeoStatsRequest(short_code="abc1234", limit=2)) == pb.GetGeoStatsResponse(
        countries=[
            pb.CountryStat(country_code="DE", country_name="Germany", click_count=2, percentage=50.0),
            pb.CountryStat(country_code="AT", country_name="Austria", click_count=1, percentage=25.0),
        ],
        cities=[
            pb.CityStat(city="Bonn", country_code="DE", click_count=2, percentage=50.0),
            pb.CityStat(city="Wien", country_code="AT", click_count=1, percentage=25.0),
        ],
    )


async def test_percentages_add_up_on_the_wire(stub: pb.AnalyticsServiceStub, analytics: Analytics) -> None:
    for number in range(700):
        await analytics.click(referrer=f"https://site{number % 333}.example")
    found = await stub.get_stats(pb.GetStatsRequest(short_code="abc1234"))
    assert sum(count.percentage for count in found.referrers) == pytest.approx(100, abs=0.01)


async def test_unknown_codes_are_not_found(stub: pb.AnalyticsServiceStub) -> None:
    for call in (
        stub.track_click(a_track(short_code="nothere")),
        stub.get_stats(pb.GetStatsRequest(short_code="nothere")),
        stub.get_time_series(pb.GetTimeSeriesRequest(short_code="nothere")),
        stub.get_geo_stats(pb.GetGeoStatsRequest(short_code="nothere")),
    ):
        assert (await failure(call)).status is Status.NOT_FOUND


async def test_what_is_invalid_names_its_field(stub: pb.AnalyticsServiceStub) -> None:
    calls: dict[str, Awaitable[object]] = {
        "short_code": stub.track_click(a_track(short_code="")),
        "ip_address": stub.track_click(a_track(ip_address="nonsense")),
        "timestamp": stub.track_click(a_track(timestamp=-1)),
        "start_time": stub.get_stats(pb.GetStatsRequest(short_code="abc1234", start_time=2, end_time=1)),
        "end_time": stub.get_stats(pb.GetStatsRequest(short_code="abc1234", end_time=-1)),
        "granularity": stub.get_time_series(pb.GetTimeSeriesRequest(short_code="abc1234", granularity="year")),
        "limit": stub.get_geo_stats(pb.GetGeoStatsRequest(short_code="abc1234", limit=1001)),
    }
    for field, call in calls.items():
        error = await failure(call)
        assert error.status is Status.INVALID_ARGUMENT
        assert field in (error.message or "")
        (detail,) = error.details
        assert isinstance(detail, BadRequest)
        assert [violation.field for violation in detail.field_violations] == [field]


def test_the_routes_are_those_of_the_contract(analytics: Analytics) -> None:
    assert {
        (route.method, route.path, route.auth, each.slow, route.status, tuple(query.name for query in route.query))
        for each in analytics_operations(analytics.service)
        if (route := each.route)
    } == {
        ("GET", "/api/urls/{short_code}/stats", True, True, 200, ("start_time", "end_time")),
        ("GET", "/api/urls/{short_code}/timeseries", True, True, 200, ("start_time", "end_time", "granularity")),
        ("GET", "/api/urls/{short_code}/geo", True, True, 200, ("limit",)),
    }


async def test_an_account_sees_the_statistics_of_its_own_links_alone(analytics: Analytics) -> None:
    api, owner = AnalyticsApi(analytics.service), Caller(Kind.ACCOUNT, account="1")
    calls: list[Callable[[Caller], Awaitable[object]]] = [
        lambda caller: api.get_stats(pb.GetStatsRequest("abc1234"), caller),
        lambda caller: api.get_time_series(pb.GetTimeSeriesRequest("abc1234"), caller),
        lambda caller: api.get_geo_stats(pb.GetGeoStatsRequest("abc1234"), caller),
    ]
    for call in calls:
        with pytest.raises(errors.NotFound, match="short_code is unknown"):
            await call(Caller(Kind.ACCOUNT, account="2"))
        await call(owner)
