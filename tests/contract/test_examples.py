"""Every example of the service reference, run by a stock client that was made from the reference's own text."""

import base64
import time
from collections.abc import Iterator
from types import SimpleNamespace

import grpc
import pytest
import zxingcpp
from PIL import Image

from tests.conftest import both_servers
from tests.support.process import Running

pytestmark = both_servers
AGENT = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0 Safari/537.36"


@pytest.fixture(scope="module")
def stubs(pb: SimpleNamespace, server: Running) -> Iterator[SimpleNamespace]:
    with (
        grpc.insecure_channel(server.url) as urls,
        grpc.insecure_channel(server.user) as users,
        grpc.insecure_channel(server.analytics) as analytics,
    ):
        yield SimpleNamespace(
            urls=pb.url_pb2_grpc.URLServiceStub(urls),
            users=pb.user_pb2_grpc.UserServiceStub(users),
            analytics=pb.analytics_pb2_grpc.AnalyticsServiceStub(analytics),
            base=f"http://localhost:{server.redirect.rpartition(':')[2]}",
        )


def refusal(call: object, request: object) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(grpc.RpcError) as caught:
        call(request)  # type: ignore[operator]  # a stub's method
    return caught.value.code(), caught.value.details()


def read_qr(png_base64: str) -> str:
    import io

    [code] = zxingcpp.read_barcodes(Image.open(io.BytesIO(base64.b64decode(png_base64, validate=True))))
    assert code.format == zxingcpp.BarcodeFormat.QRCode
    return code.text


def test_create_url_and_get_url(pb: SimpleNamespace, stubs: SimpleNamespace) -> None:
    before = int(time.time())
    long_url = "https://example.com/very/long/path/to/resource"
    made = stubs.urls.CreateURL(
        pb.url_pb2.CreateURLRequest(long_url=long_url, user_id="1234567890", expires_at=1735689600)
    )
    assert made.short_url == f"{stubs.base}/{made.short_code}"
    assert (made.long_url, made.expires_at) == (long_url, 1735689600)
    assert len(made.short_code) == 7
    assert made.short_code.isalnum()
    assert before <= made.created_at <= time.time()
    assert read_qr(made.qr_code) == made.short_url

    got = stubs.urls.GetURL(pb.url_pb2.GetURLRequest(short_code=made.short_code))
    assert got == pb.url_pb2.GetURLResponse(
        found=True,
        url=pb.url_pb2.URL(
            short_code=made.short_code,
            long_url=long_url,
            clicks=0,
            created_at=made.created_at,
            updated_at=made.created_at,
            is_active=False,  # the document's own expires_at lies in the past: born expired
            expires_at=1735689600,
            short_url=made.short_url,
        ),
    )


def test_list_urls(pb: SimpleNamespace, stubs: SimpleNamespace) -> None:
    codes = [
        stubs.urls.CreateURL(
            pb.url_pb2.CreateURLRequest(long_url=f"https://example.com/path{i}", user_id="lister")
        ).short_code
        for i in range(15)
    ]
    page = stubs.urls.ListURLs(pb.url_pb2.ListURLsRequest(limit=10, offset=0, user_id="lister"))
    assert [link.short_code for link in page.urls] == codes[::-1][:10]
    assert (page.total, page.has_more) == (15, True)
    rest = stubs.urls.ListURLs(pb.url_pb2.ListURLsRequest(limit=10, offset=10, user_id="lister"))
    assert [link.short_code for link in rest.urls] == codes[::-1][10:]
    assert (rest.total, rest.has_more) == (15, False)


def test_delete_url(pb: SimpleNamespace, stubs: SimpleNamespace) -> None:
    made = stubs.urls.CreateURL(pb.url_pb2.CreateURLRequest(long_url="https://example.com/", user_id="d"))
    request = pb.url_pb2.DeleteURLRequest(short_code=made.short_code)
    assert stubs.urls.DeleteURL(request) == pb.url_pb2.DeleteURLResponse(success=True)
    code, details = refusal(stubs.urls.DeleteURL, request)
    assert code is grpc.StatusCode.NOT_FOUND
    assert details


def test_increment_clicks(pb: SimpleNamespace, stubs: SimpleNamespace) -> None:
    made = stubs.urls.CreateURL(pb.url_pb2.CreateURLRequest(long_url="https://example.com/", user_id="i"))
    request = pb.url_pb2.IncrementClicksRequest(short_code=made.short_code)
    assert [stubs.urls.IncrementClicks(request).clicks for _ in range(3)] == [1, 2, 3]
    assert stubs.urls.GetURL(pb.url_pb2.GetURLRequest(short_code=made.short_code)).url.clicks == 3


def test_create_custom_url(pb: SimpleNamespace, stubs: SimpleNamespace) -> None:
    request = pb.url_pb2.CreateCustomURLRequest(
        alias="my-custom-link", long_url="https://example.com/path", expires_at=1735689600, user_id="1234567890"
    )
    made = stubs.urls.CreateCustomURL(request)
    assert (made.short_code, made.short_url) == ("my-custom-link", f"{stubs.base}/my-custom-link")
    assert (made.long_url, made.expires_at) == ("https://example.com/path", 1735689600)
    assert read_qr(made.qr_code) == made.short_url
    assert refusal(stubs.urls.CreateCustomURL, request)[0] is grpc.StatusCode.ALREADY_EXISTS


@pytest.mark.parametrize(
    ("method", "message", "field"),
    [
        ("CreateURL", "CreateURLRequest", "long_url"),
        ("GetURL", "GetURLRequest", "short_code"),
        ("ListURLs", "ListURLsRequest", "user_id"),
        ("DeleteURL", "DeleteURLRequest", "short_code"),
        ("IncrementClicks", "IncrementClicksRequest", "short_code"),
        ("CreateCustomURL", "CreateCustomURLRequest", "alias"),
    ],
)
def test_a_missing_field_is_named(
    pb: SimpleNamespace, stubs: SimpleNamespace, method: str, message: str, field: str
) -> None:
    answer = refusal(getattr(stubs.urls, method), getattr(pb.url_pb2, message)())
    assert answer == (grpc.StatusCode.INVALID_ARGUMENT, f"{field} is required")


def test_unknown_codes_are_not_found(pb: SimpleNamespace, stubs: SimpleNamespace) -> None:
    for method, message in (
        ("GetURL", "GetURLRequest"),
        ("DeleteURL", "DeleteURLRequest"),
        ("IncrementClicks", "IncrementClicksRequest"),
    ):
        request = getattr(pb.url_pb2, message)(short_code="nothere")
        assert refusal(getattr(stubs.urls, method), request)[0] is grpc.StatusCode.NOT_FOUND


def test_the_users_flow(pb: SimpleNamespace, stubs: SimpleNamespace) -> None:
    user = pb.user_pb2
    registered = stubs.users.Register(
        user.RegisterRequest(email="user@example.com", password="securePassword123", name="John Doe")
    )
    assert (registered.email, registered.name) == ("user@example.com", "John Doe")
    assert int(registered.user_id) > 0
    before = int(time.time())
    login = stubs.users.Login(user.LoginRequest(email="user@example.com", password="securePassword123"))
    assert (login.user_id, login.email, login.name) == (registered.user_id, "user@example.com", "John Doe")
    assert before + 604_800 <= login.expires_at <= time.time() + 604_800

    profile = stubs.users.GetProfile(user.GetProfileRequest(token=login.token))
    assert profile.user == user.User(
        id=registered.user_id,
        email="user@example.com",
        name="John Doe",
        created_at=registered.created_at,
        updated_at=registered.created_at,
    )
    updated = stubs.users.UpdateProfile(user.UpdateProfileRequest(token=registered.token, name="Jane Doe"))
    assert (updated.user.name, updated.user.email) == ("Jane Doe", "user@example.com")

    assert stubs.users.ValidateToken(user.ValidateTokenRequest(token=login.token)) == user.ValidateTokenResponse(
        valid=True, user_id=registered.user_id, expires_at=login.expires_at
    )
    forged = login.token[:-4] + "AAAA"
    assert stubs.users.ValidateToken(user.ValidateTokenRequest(token=forged)) == user.ValidateTokenResponse()


def test_the_users_errors(pb: SimpleNamespace, stubs: SimpleNamespace) -> None:
    user = pb.user_pb2
    person = user.RegisterRequest(email="taken@example.com", password="securePassword123", name="A B")
    stubs.users.Register(person)
    status = grpc.StatusCode
    assert refusal(stubs.users.Register, person)[0] is status.ALREADY_EXISTS
    short = user.RegisterRequest(email="x@example.com", password="12345", name="A B")
    assert refusal(stubs.users.Register, short)[0] is status.INVALID_ARGUMENT
    unknown = refusal(stubs.users.Login, user.LoginRequest(email="no@example.com", password="securePassword123"))
    wrong = refusal(stubs.users.Login, user.LoginRequest(email="taken@example.com", password="wrong-password"))
    assert unknown == wrong
    assert unknown[0] is status.UNAUTHENTICATED
    assert refusal(stubs.users.GetProfile, user.GetProfileRequest(token="x"))[0] is status.UNAUTHENTICATED
    for method, message in (
        ("GetProfile", "GetProfileRequest"),
        ("UpdateProfile", "UpdateProfileRequest"),
        ("ValidateToken", "ValidateTokenRequest"),
    ):
        answer = refusal(getattr(stubs.users, method), getattr(user, message)())
        assert answer == (status.INVALID_ARGUMENT, "token is required")


def test_the_analytics_flow(pb: SimpleNamespace, stubs: SimpleNamespace) -> None:
    analytics = pb.analytics_pb2
    made = stubs.urls.CreateURL(pb.url_pb2.CreateURLRequest(long_url="https://example.com/", user_id="a"))
    tracked = stubs.analytics.TrackClick(
        analytics.TrackClickRequest(
            short_code=made.short_code,
            ip_address="192.168.1.1",
            user_agent=AGENT,
            referer="https://google.com",
            timestamp=1704153600,
        )
    )
    assert tracked.success
    assert tracked.click_id.removeprefix("evt_").isdecimal()

    stats = stubs.analytics.GetStats(analytics.GetStatsRequest(short_code=made.short_code))
    unknown = analytics.CountryStat(country_code="ZZ", country_name="Unknown", click_count=1, percentage=100)
    assert stats == analytics.GetStatsResponse(
        short_code=made.short_code,
        total_clicks=1,
        unique_visitors=1,
        countries=[unknown],
        referrers=[analytics.RefererStat(referer="https://google.com", click_count=1, percentage=100)],
        device_stats=analytics.DeviceStats(desktop=1),
    )
    series = stubs.analytics.GetTimeSeries(
        analytics.GetTimeSeriesRequest(
            short_code=made.short_code, start_time=1704067200, end_time=1704240000, granularity="day"
        )
    )
    assert list(series.points) == [
        analytics.TimeSeriesPoint(timestamp=1704067200),
        analytics.TimeSeriesPoint(timestamp=1704153600, clicks=1, unique_visitors=1),
    ]
    geo = stubs.analytics.GetGeoStats(analytics.GetGeoStatsRequest(short_code=made.short_code))
    assert geo == analytics.GetGeoStatsResponse(countries=[unknown])


def test_the_services_share_the_url_port(pb: SimpleNamespace, server: Running) -> None:
    with grpc.insecure_channel(server.url) as channel:
        users = pb.user_pb2_grpc.UserServiceStub(channel)
        analytics = pb.analytics_pb2_grpc.AnalyticsServiceStub(channel)
        assert not users.ValidateToken(pb.user_pb2.ValidateTokenRequest(token="x")).valid
        missing = refusal(analytics.GetStats, pb.analytics_pb2.GetStatsRequest(short_code="nothere"))
        assert missing[0] is grpc.StatusCode.NOT_FOUND
