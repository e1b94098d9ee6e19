"""Nearly right messages to every method: each gets an answer, none is INTERNAL or UNKNOWN, and memory stays bounded."""

import contextlib
import random
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import betterproto
import grpc
import pytest

from shortener.gen import analytics, url, user
from tests.promises.message_mutator import framed, metadata, mutated
from tests.promises.raw_grpc_client import STREAMS_MAX, RawGrpcClient, block
from tests.support import process

PASSWORD = "correct-horse"
HASHING = ("Register", "Login", "CreateUser")
FOREIGN = {
    "UpdateProfile": ("GetProfile", "ValidateToken"),  # tokens of the one who logs in
    "EraseUser": ("Login", "ExportUser", "ListURLs", "CreateURL", "CreateCustomURL"),  # accounts that others need
}
"""Whose messages are not mixed into a method's."""
MEMORY_MAX = 256 * 1024 * 1024
SERVICES = {
    "url.URLService": ("ListURLs", "CreateURL", "GetURL", "CreateCustomURL", "DeleteURL", "IncrementClicks"),
    "user.UserService": (
        "Register", "Login", "GetProfile", "UpdateProfile", "ValidateToken", "CreateUser", "GetUser", "ListUsers",
        "ExportUser", "EraseUser",
    ),
    "analytics.AnalyticsService": ("TrackClick", "GetStats", "GetTimeSeries", "GetGeoStats"),
}  # fmt: skip
METHODS = [f"/{service}/{method}" for service, methods in SERVICES.items() for method in methods]


@pytest.fixture(scope="module")
def probed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[process.Running]:
    """A server with a small cache, so that what it remembers is at its bound early."""
    data_dir = tmp_path_factory.mktemp("probe") / "data"
    with process.running(data_dir, CACHE_SIZE_MAX=2000) as server:
        yield server


@pytest.fixture(scope="module")
def samples(probed: process.Running, pb: SimpleNamespace) -> dict[str, list[bytes]]:
    """Valid requests of every method, about links and an account that exist."""
    names = ("probe", "other", "gone")
    people = [{"email": f"{name}@example.com", "password": PASSWORD} for name in names]
    with grpc.insecure_channel(probed.url) as channel:
        users = pb.user_pb2_grpc.UserServiceStub(channel)
        [token, other, _] = [users.Register(pb.user_pb2.RegisterRequest(name="P", **person)).token for person in people]
    track = {"ip_address": "203.0.113.7", "user_agent": "Mozilla/5.0", "referer": "https://news.example/"}
    ranges: dict[str, Any] = {"short_code": "probe", "start_time": 1_700_000_000, "end_time": 1_700_360_000}
    requests: dict[str, list[betterproto.Message]] = {
        "ListURLs": [url.ListUrLsRequest(limit=10, offset=1, user_id="probe")],
        "CreateURL": [
            url.CreateUrlRequest(long_url="https://example.com/", user_id="made", expires_at=2_000_000_000),
            url.CreateUrlRequest(long_url="http://[2001:db8::1]:8080/%41?q=1", user_id="made", omit_qr_code=True),
        ],
        "GetURL": [url.GetUrlRequest(short_code="probe")],
        "CreateCustomURL": [
            url.CreateCustomUrlRequest(
                alias="prob", long_url="https://example.com/", user_id="probe", omit_qr_code=True
            )
        ],
        "DeleteURL": [url.DeleteUrlRequest(short_code="prob")],
        "IncrementClicks": [url.IncrementClicksRequest(short_code="probe")],
        "Register": [user.RegisterRequest(email="new@example.com", password=PASSWORD, name="N")],
        "Login": [user.LoginRequest(**people[0])],
        "GetProfile": [user.GetProfileRequest(token=token)],
        "UpdateProfile": [user.UpdateProfileRequest(token=other, name="Q", email="other@example.com")],
        "ValidateToken": [user.ValidateTokenRequest(token=token)],
        "CreateUser": [user.CreateUserRequest(email="new@example.com", username="new", password=PASSWORD)],
        "GetUser": [user.GetUserRequest(user_id=1)],
        "ListUsers": [user.ListUsersRequest(limit=5, offset=1)],
        "ExportUser": [user.ExportUserRequest(email="probe@example.com", with_clicks=True)],
        "EraseUser": [user.EraseUserRequest(email="gone@example.com")],
        "TrackClick": [analytics.TrackClickRequest(short_code="track", timestamp=1_700_000_000, **track)],
        "GetStats": [analytics.GetStatsRequest(**ranges)],
        "GetTimeSeries": [analytics.GetTimeSeriesRequest(granularity="hour", **ranges)],
        "GetGeoStats": [analytics.GetGeoStatsRequest(short_code="probe", limit=5)],
    }
    return {name: [bytes(request) for request in valid] for name, valid in requests.items()}


def memory_of(server: process.Running) -> int:
    """The most that the server has had resident, in bytes."""
    text = Path(f"/proc/{server.process.pid}/status").read_text()
    return int(text.partition("VmHWM:")[2].split()[0]) * 1024


@pytest.fixture(autouse=True)
def links(probed: process.Running, pb: SimpleNamespace) -> None:
    """The links that requests are about; other tests may have deleted them."""
    with grpc.insecure_channel(probed.url) as channel:
        stub = pb.url_pb2_grpc.URLServiceStub(channel)
        for alias in ("probe", "prob", "track"):
            request = pb.url_pb2.CreateCustomURLRequest(alias=alias, long_url="https://example.com/a", user_id="probe")
            with contextlib.suppress(grpc.RpcError):
                stub.CreateCustomURL(request)


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("path", METHODS)
def test_no_message_finds_a_way_to_break_a_method(
    path: str,
    probed: process.Running,
    samples: dict[str, list[bytes]],
    size: Callable[[int, int], int],
    figure: Callable[[str, str], None],
) -> None:
    name = path.rpartition("/")[2]
    valid = samples[name]
    foreign = FOREIGN.get(name, ())
    others = [message for method, messages in samples.items() if method not in foreign for message in messages]
    count = size(60, 2000) if name in HASHING else size(400, 200_000)
    at_once = 30 if name in HASHING else STREAMS_MAX  # fewer than the queue of passwords takes
    with contextlib.closing(RawGrpcClient(probed.url)) as caller:
        _probe(caller, path, valid, others, count, at_once)
    asked = sum(times for key, times in caller.outcomes.items() if key.startswith("status"))
    assert asked > count / 2, caller.outcomes
    assert probed.process.poll() is None
    memory = memory_of(probed)
    assert memory < MEMORY_MAX
    figure(
        "mutated messages over gRPC",
        f"{path}: {count} calls, none INTERNAL or UNKNOWN; {_listed(caller.outcomes)}; "
        f"{caller.connections} connections; server's peak memory {memory / 1e6:.0f} MB",
    )


def _probe(
    caller: RawGrpcClient, path: str, valid: Sequence[bytes], others: Sequence[bytes], count: int, at_once: int
) -> None:
    rng = random.Random(zlib.crc32(path.encode()))
    plain = block(path)
    for ended in caller.run([(plain, framed(random.Random(1), message)) for message in valid]):
        assert ended in ("status 0", "status 6"), "the valid message is not taken"
    for start in range(0, count, at_once):
        calls = []
        for _ in range(min(at_once, count - start)):
            pairs = metadata(rng)
            message = mutated(rng, rng.choice(valid), others)
            gzip = dict(pairs).get("grpc-encoding") == "gzip"  # of several the last one holds
            calls.append((block(path, pairs) if pairs else plain, framed(rng, message, gzip=gzip)))
        ended = caller.run(calls)
        for bad in ("status 2", "status 13", "no status"):
            assert bad not in ended, (bad, calls[ended.index(bad)])


def _listed(outcomes: Counter[str]) -> str:
    return ", ".join(f"{count} {name}" for name, count in outcomes.most_common())


def test_every_method_is_probed(pb: SimpleNamespace) -> None:
    named = {
        f"/{service.full_name}/{method.name}"
        for module in (pb.url_pb2, pb.user_pb2, pb.analytics_pb2)
        for service in module.DESCRIPTOR.services_by_name.values()
        for method in service.methods
    }
    ours = {f"/user.UserService/{name}" for name in ("CreateUser", "GetUser", "ListUsers", "ExportUser", "EraseUser")}
    assert named | ours == set(METHODS)


def test_the_log_tells_of_no_failure(probed: process.Running) -> None:
    assert '"level":"error"' not in probed.log.read_text().replace(" ", "")
