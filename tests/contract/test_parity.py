"""REST and gRPC give the same answer to the same request and the same words for the same mistake."""

import base64
import time
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import grpc
import pytest
from google.protobuf.json_format import MessageToDict

from tests.support.clients import Answer, ask, stubs_of
from tests.support.process import Running
from tests.support.waiting import wait_for

NAMES = {
    "NOT_FOUND": 404,
    "PERMISSION_DENIED": 403,
    "INVALID_ARGUMENT": 400,
    "ALREADY_EXISTS": 409,
    "UNAUTHENTICATED": 401,
}
PASSWORD = "secret-of-parity"
Rest = Callable[..., Answer]


@pytest.fixture(scope="module")
def stubs(pb: SimpleNamespace, server: Running) -> Iterator[SimpleNamespace]:
    with stubs_of(pb, server) as made:
        yield made


@pytest.fixture(scope="module")
def account(server: Running) -> dict[str, Any]:
    person = {"email": "parity@example.com", "password": PASSWORD, "name": "Pa Rity"}
    made: dict[str, Any] = ask(server.gateway, "POST", "/api/auth/register", person).json
    return made


@pytest.fixture(scope="module")
def rest(server: Running, account: dict[str, Any]) -> Rest:
    """Ask the gateway as the account's owner."""
    return lambda method, path, body=None: ask(server.gateway, method, path, body, token=account["token"])


@pytest.fixture(scope="module")
def code(server: Running, rest: Rest) -> str:
    """A link with an expiry that was clicked three times, by a redirect each."""
    body = {"long_url": "https://example.com/parity?a=%2f", "expires_at": 1_900_000_000}
    code = str(rest("POST", "/api/urls", body).json["short_code"])
    for agent in ("Mozilla/5.0 (Windows NT 10.0; Win64; x64) Chrome/120.0 Safari/537.36", "curl/8", ""):
        ask(server.redirect, "GET", f"/{code}", Referer="https://news.example/a", User_Agent=agent)
    wait_for(lambda: rest("GET", f"/api/urls/{code}/stats").json["total_clicks"] >= 3)
    return code


def as_json(message: Any) -> Any:
    """A stock message as the gateway writes it: proto names, every field, 64-bit integers as numbers."""
    written = MessageToDict(message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True)
    return _numbers(message, written)


def _numbers(message: Any, written: dict[str, Any]) -> dict[str, Any]:
    for field in message.DESCRIPTOR.fields:
        if field.name not in written:
            continue
        value = getattr(message, field.name)
        if field.message_type is None:
            if field.cpp_type in (field.CPPTYPE_INT64, field.CPPTYPE_UINT64):
                written[field.name] = value
            elif field.cpp_type == field.CPPTYPE_FLOAT:
                written[field.name] = pytest.approx(value)
        elif field.is_repeated:
            written[field.name] = [
                _numbers(each, shown) for each, shown in zip(value, written[field.name], strict=True)
            ]
        else:
            written[field.name] = _numbers(value, written[field.name])
    return written


def test_one_link(pb: SimpleNamespace, stubs: SimpleNamespace, rest: Rest, code: str) -> None:
    told = stubs.urls.GetURL(pb.url_pb2.GetURLRequest(short_code=code))
    assert rest("GET", f"/api/urls/{code}").json == as_json(told)
    assert told.url.clicks == 3


def test_pages_of_links(
    pb: SimpleNamespace, stubs: SimpleNamespace, rest: Rest, code: str, account: dict[str, Any]
) -> None:
    for limit, offset in ((0, 0), (1, 0), (1, 1), (5, 99)):
        request = pb.url_pb2.ListURLsRequest(limit=limit, offset=offset, user_id=account["user_id"])
        told = stubs.urls.ListURLs(request)
        assert rest("GET", f"/api/urls?limit={limit}&offset={offset}").json == as_json(told)
        assert told.total >= 1, code


def test_links_made_by_either_door_are_alike(
    pb: SimpleNamespace, stubs: SimpleNamespace, rest: Rest, account: dict[str, Any]
) -> None:
    body = {"long_url": "https://example.com/alike", "expires_at": 1_900_000_000}
    for route, call, request, alias in (
        ("/api/urls", stubs.urls.CreateURL, pb.url_pb2.CreateURLRequest, ""),
        ("/api/urls/custom", stubs.urls.CreateCustomURL, pb.url_pb2.CreateCustomURLRequest, "alike"),
    ):
        aliases = ({"alias": f"{alias}-1"}, {"alias": f"{alias}-2"}) if alias else ({}, {})
        over_rest = rest("POST", route, body | aliases[0]).json
        over_rpc = as_json(call(request(**body, **aliases[1], user_id=account["user_id"])))
        own = {"short_code", "short_url", "created_at", "qr_code"}
        assert over_rest.keys() == over_rpc.keys()
        assert {key: value for key, value in over_rest.items() if key not in own} == {
            key: value for key, value in over_rpc.items() if key not in own
        }
        for made in (over_rest, over_rpc):
            assert made["short_url"].endswith("/" + made["short_code"])
            image = rest("GET", f"/api/urls/{made['short_code']}/qr")
            assert image.headers["content-type"] == "image/png"
            assert base64.b64decode(made["qr_code"]) == image.body


def test_statistics(pb: SimpleNamespace, stubs: SimpleNamespace, rest: Rest, code: str) -> None:
    analytics = pb.analytics_pb2
    now = int(time.time())
    for start, end in ((0, 0), (now - 7200, now + 7200), (0, 1_600_000_000)):
        request = analytics.GetStatsRequest(short_code=code, start_time=start, end_time=end)
        told = stubs.analytics.GetStats(request)
        assert rest("GET", f"/api/urls/{code}/stats?start_time={start}&end_time={end}").json == as_json(told)
        assert told.total_clicks == (0 if end == 1_600_000_000 else 3)
    for granularity in ("", "hour", "day", "week"):
        span = {"start_time": now - 86_400, "end_time": now + 3600, "granularity": granularity}
        told = stubs.analytics.GetTimeSeries(analytics.GetTimeSeriesRequest(short_code=code, **span))
        query = "&".join(f"{key}={value}" for key, value in span.items())
        assert rest("GET", f"/api/urls/{code}/timeseries?{query}").json == as_json(told)
        assert sum(point.clicks for point in told.points) == 3
    told = stubs.analytics.GetGeoStats(analytics.GetGeoStatsRequest(short_code=code, limit=5))
    assert rest("GET", f"/api/urls/{code}/geo?limit=5").json == as_json(told)


def test_profiles(pb: SimpleNamespace, stubs: SimpleNamespace, rest: Rest, account: dict[str, Any]) -> None:
    told = stubs.users.GetProfile(pb.user_pb2.GetProfileRequest(token=account["token"]))
    assert rest("GET", "/api/auth/profile").json == as_json(told)
    changed = rest("PATCH", "/api/auth/profile", {"name": "Parity Two"}).json
    same = stubs.users.UpdateProfile(pb.user_pb2.UpdateProfileRequest(token=account["token"], name="Parity Two"))
    assert changed == as_json(same)
    assert changed["user"]["name"] == "Parity Two"


def test_log_ins(pb: SimpleNamespace, stubs: SimpleNamespace, server: Running, account: dict[str, Any]) -> None:
    person = {"email": account["email"], "password": PASSWORD}
    over_rest = ask(server.gateway, "POST", "/api/auth/login", person).json
    over_rpc = as_json(stubs.users.Login(pb.user_pb2.LoginRequest(**person)))
    for answer in (over_rest, over_rpc):
        token = stubs.users.ValidateToken(pb.user_pb2.ValidateTokenRequest(token=answer.pop("token")))
        assert (token.valid, token.user_id, token.expires_at) == (True, account["user_id"], answer["expires_at"])
    assert abs(over_rest.pop("expires_at") - over_rpc.pop("expires_at")) <= 1
    assert over_rest == over_rpc


LONG_URL = "https://example.com/"
TAKEN = {"email": "parity@example.com", "password": PASSWORD, "name": "n"}
MISTAKES: list[tuple[str, str, dict[str, Any], str]] = [
    ("POST", "/api/urls", {}, "urls.CreateURL"),
    ("POST", "/api/urls", {"long_url": "ftp://x"}, "urls.CreateURL"),
    ("POST", "/api/urls", {"long_url": LONG_URL, "expires_at": 3600}, "urls.CreateURL"),
    ("POST", "/api/urls/custom", {"long_url": LONG_URL}, "urls.CreateCustomURL"),
    ("POST", "/api/urls/custom", {"long_url": LONG_URL, "alias": "a b"}, "urls.CreateCustomURL"),
    ("POST", "/api/auth/register", {"email": "x"}, "users.Register"),
    ("POST", "/api/auth/register", {"email": "a@example.com", "password": "x", "name": "n"}, "users.Register"),
    ("POST", "/api/auth/register", TAKEN, "users.Register"),
    ("POST", "/api/auth/login", {"email": "parity@example.com", "password": "wrong-one"}, "users.Login"),
    ("GET", "/api/urls/nothere", {}, "urls.GetURL"),
    ("DELETE", "/api/urls/nothere", {}, "urls.DeleteURL"),
    ("GET", "/api/urls/nothere/stats", {}, "analytics.GetStats"),
    ("GET", "/api/urls?limit=-1", {"limit": -1}, "urls.ListURLs"),
    ("GET", "/api/urls?offset=-1", {"offset": -1}, "urls.ListURLs"),
]  # fmt: skip


@pytest.mark.usefixtures("account")
@pytest.mark.parametrize(("method", "path", "values", "rpc"), MISTAKES)
def test_mistakes_are_told_in_the_same_words(
    pb: SimpleNamespace, stubs: SimpleNamespace, rest: Rest, method: str, path: str, values: dict[str, Any], rpc: str
) -> None:
    service, name = rpc.split(".")
    module = {"urls": pb.url_pb2, "users": pb.user_pb2, "analytics": pb.analytics_pb2}[service]
    kind = getattr(module, f"{name}Request")
    in_the_path = {"short_code": "nothere", "user_id": "someone"}
    more = {key: value for key, value in in_the_path.items() if key in kind.DESCRIPTOR.fields_by_name}
    with pytest.raises(grpc.RpcError) as caught:
        getattr(getattr(stubs, service), name)(kind(**(more | values)), timeout=10)
    told = rest(method, path, values if method == "POST" else None)
    assert (told.status, told.json["detail"]) == (NAMES[caught.value.code().name], caught.value.details())


def test_a_body_is_what_the_wire_says(rest: Rest, code: str) -> None:
    """64-bit integers are JSON numbers, and no field is missing although it is zero or empty."""
    body = rest("GET", f"/api/urls/{code}").body
    assert b'"clicks":3' in body.replace(b" ", b"")
    assert rest("GET", "/api/urls?offset=99").json["has_more"] is False


@pytest.mark.parametrize("compression", [grpc.Compression.NoCompression, grpc.Compression.Gzip])
def test_a_message_over_the_limit_is_resource_exhausted(
    pb: SimpleNamespace, server: Running, compression: grpc.Compression
) -> None:
    large = pb.url_pb2.CreateURLRequest(long_url="https://example.com/".ljust(2**20, "a"), user_id="me")
    with grpc.insecure_channel(server.url) as channel, pytest.raises(grpc.RpcError) as caught:
        pb.url_pb2_grpc.URLServiceStub(channel).CreateURL(large, compression=compression)
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
