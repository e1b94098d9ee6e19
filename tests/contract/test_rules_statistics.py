"""The contract's rules about clicks and statistics at their borders, and that nothing private is kept."""

import contextlib
import ipaddress
import time
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import grpc
import pytest

from tests.support.clients import ask, refusal, status, stubs_of
from tests.support.process import Running

BAD, GOOD = "INVALID_ARGUMENT", "OK"
HOUR, DAY, WEEK = 3_600, 86_400, 604_800
SINCE = 1_577_836_800  # 2020-01-01
MOMENT = 1_600_002_000  # 2020-09-13, a whole hour
MONTH = MOMENT - 12 * DAY - 13 * HOUR


@pytest.fixture(scope="module")
def stubs(pb: SimpleNamespace, server: Running) -> Iterator[SimpleNamespace]:
    with stubs_of(pb, server) as made:
        yield made


@pytest.fixture
def code(pb: SimpleNamespace, stubs: SimpleNamespace) -> str:
    """A new link's short code."""
    request = pb.url_pb2.CreateURLRequest(long_url="https://example.com/?canary-query", user_id="me")
    return str(stubs.urls.CreateURL(request).short_code)


@pytest.fixture
def click(pb: SimpleNamespace, stubs: SimpleNamespace, code: str) -> Any:
    def call(**values: object) -> str:
        return status(stubs.analytics.TrackClick, pb.analytics_pb2.TrackClickRequest(short_code=code, **values))

    return call


@pytest.fixture
def series(pb: SimpleNamespace, stubs: SimpleNamespace, code: str) -> Any:
    def call(**values: object) -> list[tuple[int, int, int]] | str:
        request = pb.analytics_pb2.GetTimeSeriesRequest(short_code=code, **values)
        try:
            answer = stubs.analytics.GetTimeSeries(request)
        except grpc.RpcError as error:
            return str(error.code().name)
        return [(point.timestamp, point.clicks, point.unique_visitors) for point in answer.points]

    return call


def test_borders_of_a_click(click: Any) -> None:
    now = int(time.time())
    times = [-1, 1, 60, SINCE - 1, now + DAY + 60, now * 1_000, 2**63 - 1]
    assert {click(timestamp=moment) for moment in times} == {BAD}
    assert {click(timestamp=moment) for moment in (0, SINCE, now + DAY - 60)} == {GOOD}
    addresses = ["", "::1", "fe80::1%eth0", "1.2.3", "01.2.3.4", " 1.2.3.4", "1.2.3.4:80", "[::1]", "x"]
    assert [click(ip_address=address) for address in addresses] == [GOOD] * 3 + [BAD] * 6
    assert click(user_agent="x" * 100_000, referer="\0" * 100_000) == GOOD


def test_visitors_are_addresses_in_whatever_spelling(
    pb: SimpleNamespace, stubs: SimpleNamespace, code: str, click: Any
) -> None:
    spellings = ["192.0.2.1", "::ffff:192.0.2.1", "::FFFF:c000:0201", "2001:db8::1", "2001:0DB8:0::0001", ""]
    assert {click(ip_address=spelling) for spelling in spellings} == {GOOD}
    stats = stubs.analytics.GetStats(pb.analytics_pb2.GetStatsRequest(short_code=code))
    assert (stats.total_clicks, stats.unique_visitors) == (6, 2)


def test_ranges_are_half_open(pb: SimpleNamespace, stubs: SimpleNamespace, code: str, click: Any) -> None:
    for moment in (MOMENT, MOMENT + 10, MOMENT + HOUR):
        click(timestamp=moment, ip_address="192.0.2.1")

    def total(start: int, end: int) -> int | str:
        request = pb.analytics_pb2.GetStatsRequest(short_code=code, start_time=start, end_time=end)
        try:
            return int(stubs.analytics.GetStats(request).total_clicks)
        except grpc.RpcError as error:
            return str(error.code().name)

    asked = {
        (0, 0): 3, (MOMENT, MOMENT + 10): 1, (MOMENT, MOMENT + 11): 2, (MOMENT + 1, 0): 2, (0, MOMENT): 0,
        (0, MOMENT + 1): 1, (5, 5): 0, (6, 5): BAD, (-1, 0): BAD, (0, -1): BAD, (1, 2**63 - 1): 3,
    }  # fmt: skip
    assert {bounds: total(*bounds) for bounds in asked} == asked


def test_series_at_their_borders(click: Any, series: Any) -> None:
    for moment in (MOMENT, MOMENT + 10, MOMENT + HOUR):
        click(timestamp=moment, ip_address="192.0.2.1")
    assert series(start_time=MOMENT + 1, end_time=MOMENT + HOUR + 1, granularity="hour") == [
        (MOMENT, 1, 1),
        (MOMENT + HOUR, 1, 1),
    ]
    assert series(start_time=1, end_time=5 * DAY, granularity="week") == [(-3 * DAY, 0, 0), (4 * DAY, 0, 0)]
    assert series(start_time=5, end_time=5) == []
    assert len(series(start_time=HOUR, end_time=HOUR * 10_001, granularity="hour")) == 10_000
    assert series(start_time=HOUR, end_time=HOUR * 10_001 + 1, granularity="hour") == BAD
    assert [series(granularity=text) for text in ("Day", "year", "h")] == [BAD] * 3
    assert series(start_time=MOMENT, end_time=MOMENT + 1, granularity="month") == [(MONTH, 1, 1)]
    hours = series(granularity="hour")
    assert (len(hours), hours[-1][0]) == (10_000, int(time.time()) // HOUR * HOUR)
    assert len(series(start_time=MOMENT, granularity="hour")) == 10_000
    whole = series(granularity="week")
    assert sum(point[1] for point in whole) == 3
    assert whole[0] == (MOMENT - (MOMENT - 4 * DAY) % WEEK, 3, 1)
    assert whole[-1][0] <= time.time() < whole[-1][0] + WEEK


def test_shares_add_up_and_are_sorted(pb: SimpleNamespace, stubs: SimpleNamespace, code: str, click: Any) -> None:
    referrers = [
        "https://B.example/x?y", "https://b.example", "", "nonsense", "http://a.example:81/", "https://u:p@c.example/",
        "android-app://d.example/",
    ]  # fmt: skip
    for number, referrer in enumerate(referrers):
        click(referer=referrer, ip_address=f"{8 + 20 * number}.8.8.8")
    stats = stubs.analytics.GetStats(pb.analytics_pb2.GetStatsRequest(short_code=code))
    assert [(item.referer, item.click_count) for item in stats.referrers] == [
        ("direct", 2),
        ("https://b.example", 2),
        ("android-app://d.example", 1),
        ("http://a.example:81", 1),
        ("https://c.example", 1),
    ]
    for shares in (stats.referrers, stats.countries):
        assert sum(share.percentage for share in shares) == pytest.approx(100, abs=0.01)
    ranked = [(-item.click_count, item.country_name) for item in stats.countries]
    assert ranked == sorted(ranked)
    geo = stubs.analytics.GetGeoStats(pb.analytics_pb2.GetGeoStatsRequest(short_code=code, limit=1))
    assert list(geo.countries) == list(stats.countries)[:1]
    limits = [
        status(stubs.analytics.GetGeoStats, pb.analytics_pb2.GetGeoStatsRequest(short_code=code, limit=limit))
        for limit in (-1, 0, 1_000, 1_001)
    ]
    assert limits == [BAD, GOOD, GOOD, BAD]


def test_no_clicks_give_empty_lists(pb: SimpleNamespace, stubs: SimpleNamespace, code: str) -> None:
    analytics = pb.analytics_pb2
    stats = stubs.analytics.GetStats(analytics.GetStatsRequest(short_code=code))
    assert stats == analytics.GetStatsResponse(short_code=code, device_stats=analytics.DeviceStats())
    geo = stubs.analytics.GetGeoStats(analytics.GetGeoStatsRequest(short_code=code))
    assert geo == analytics.GetGeoStatsResponse()


def test_nothing_private_reaches_the_disk_or_the_log(
    pb: SimpleNamespace, stubs: SimpleNamespace, server: Running, code: str, click: Any
) -> None:
    addresses = ["198.51.100.77", "2001:db8:dead:beef::77"]
    for address in addresses:
        click(ip_address=address, referer="https://canary-user@example.com/canary-path?canary-path")
        click(ip_address=f"{address}x")
    user = pb.user_pb2
    person = user.RegisterRequest(email="canary@example.com", password="canary-password", name="C")
    token = stubs.users.Register(person).token
    refusal(stubs.users.Register, person)
    refusal(stubs.users.Login, user.LoginRequest(email="canary@example.com", password="canary-password-2"))
    refusal(stubs.users.GetProfile, user.GetProfileRequest(token=token + "x"))
    ask(server.redirect, "GET", f"/{code}?canary-path", Referer="https://example.com/canary-path")
    ask(server.gateway, "GET", "/api/urls?canary-path", token=token)
    ask(server.gateway, "POST", "/api/auth/login", {"email": "canary@example.com", "password": "canary-password-3"})
    words = ["canary-path", "canary-user", "canary-password", token.rpartition(".")[2], *addresses]
    secrets = [word.encode() for word in words] + [ipaddress.ip_address(address).packed for address in addresses]
    data_dir = server.log.parent / "data"
    files = [path for path in data_dir.rglob("*") if path.is_file() and path.suffix != ".mmdb"]
    assert {"shortener.db", "shortener.db-wal"} <= {path.name for path in files}
    assert any(path.suffix == ".journal" for path in files)
    for path in (*files, server.log):
        with contextlib.suppress(FileNotFoundError):  # a journal file that is done with
            kept = path.read_bytes()
            assert [secret for secret in secrets if secret in kept] == [], path
    logged = server.log.read_bytes()
    assert [word for word in (b"canary-query", b"canary@", b"127.0.0.1", b"Traceback") if word in unready(logged)] == []


def unready(log: bytes) -> bytes:
    """The log without the line that tells where the server listens."""
    return b"\n".join(line for line in log.splitlines() if b'"ready"' not in line)
