"""Limits touch nobody who is trusted, hold everyone else, say rightly when to come back, and lock no owner out."""

import socket
import time
import tracemalloc
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import grpc
import pytest
from google.rpc import error_details_pb2

from shortener.limits import Limiter, Rate
from tests.support import process
from tests.support.clients import Answer, ask, refusal
from tests.support.process import Running

Size = Callable[[int, int], int]
Figure = Callable[[str, str], None]

TOKEN = "a-service-token-of-some-length"
LIMITS = {
    "LIMITS_CREATES_PER_MINUTE": 10,
    "LIMITS_CREATES_BURST": 3,
    "LIMITS_REGISTRATIONS_PER_MINUTE": 10,
    "LIMITS_REGISTRATIONS_BURST": 3,
    "LIMITS_LOGIN_FAILURES_PER_MINUTE": 2,
    "LIMITS_LOGIN_FAILURES_BURST": 3,
    "LIMITS_MISSES_PER_MINUTE": 10,
    "LIMITS_MISSES_BURST": 3,
}
"""Three at once, and a wait of six seconds for one more; half a minute for a password."""
WAITS = range(1, 7)

OPEN = {"GRPC_HOST": "0.0.0.0", "ANALYTICS_TRUSTED_PROXIES": "127.0.0.1", **LIMITS}
PASSWORD = "the right password"


def outer_address() -> str:
    """An address of this machine that is not loopback; nothing is sent to find it."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("203.0.113.1", 9))
        except OSError:
            pytest.skip("this machine has no address but loopback")
        return str(probe.getsockname()[0])


@pytest.fixture(scope="module")
def exposed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A server whose gRPC anyone may call, with limits that are soon reached."""
    data_dir: Path = tmp_path_factory.mktemp("exposed") / "data"
    with process.running(data_dir, GRPC_ALLOW_INSECURE="true", **OPEN) as running:
        yield running


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A server that asks gRPC callers for a token, with the same limits."""
    with process.running(tmp_path_factory.mktemp("token") / "data", GRPC_SERVICE_TOKEN=TOKEN, **OPEN) as running:
        yield running


class Caller:
    """The methods that have limits, called from one address."""

    def __init__(self, pb: SimpleNamespace, server: Running, host: str, *metadata: tuple[str, str]) -> None:
        self.channel = grpc.insecure_channel(f"{host}:{server.url.rpartition(':')[2]}")
        self._pb = pb
        self._metadata = metadata
        self._urls = pb.url_pb2_grpc.URLServiceStub(self.channel)
        self._users = pb.user_pb2_grpc.UserServiceStub(self.channel)
        self._analytics = pb.analytics_pb2_grpc.AnalyticsServiceStub(self.channel)

    def create(self) -> str:
        request = self._pb.url_pb2.CreateURLRequest(long_url="https://example.com/", user_id="u")
        return self._status(self._urls.CreateURL, request)

    def look_up(self, code: str = "unknown") -> str:
        return self._status(self._urls.GetURL, self._pb.url_pb2.GetURLRequest(short_code=code))

    def stats(self, code: str = "unknown") -> str:
        return self._status(self._analytics.GetStats, self._pb.analytics_pb2.GetStatsRequest(short_code=code))

    def log_in(self, email: str = "nobody@example.com") -> str:
        return self._status(self._users.Login, self._pb.user_pb2.LoginRequest(email=email, password="wrong one"))

    def refused_look_up(self) -> int:
        """Return the seconds to wait that a refusal tells."""
        request = self._pb.url_pb2.GetURLRequest(short_code="unknown")
        status, _, [detail] = refusal(self._urls.GetURL, request)
        assert (status, type(detail)) == ("RESOURCE_EXHAUSTED", error_details_pb2.RetryInfo)
        return int(detail.retry_delay.seconds)

    def _status(self, call: Callable[..., object], request: object) -> str:
        try:
            call(request, timeout=10, metadata=self._metadata)
        except grpc.RpcError as error:
            return str(error.code().name)
        return "OK"


def never_limited(caller: Caller, calls: int) -> None:
    with caller.channel:
        asked = {
            "create": Counter(caller.create() for _ in range(calls)),
            "look up": Counter(caller.look_up() for _ in range(calls)),
            "stats": Counter(caller.stats() for _ in range(calls)),
            "log in": Counter(caller.log_in() for _ in range(8)),
        }
    assert asked == {
        "create": {"OK": calls},
        "look up": {"NOT_FOUND": calls},
        "stats": {"NOT_FOUND": calls},
        "log in": {"UNAUTHENTICATED": 8},
    }


def test_loopback_callers_are_never_limited(exposed: Running, pb: SimpleNamespace, size: Size, figure: Figure) -> None:
    calls = size(100, 5000)
    never_limited(Caller(pb, exposed, "127.0.0.1"), calls)
    figure("limits never touch callers over loopback", f"{calls} creates and {2 * calls} misses under limits of 3")


def test_holders_of_the_service_token_are_never_limited(
    running: Running, pb: SimpleNamespace, size: Size, figure: Figure
) -> None:
    calls = size(100, 5000)
    never_limited(Caller(pb, running, outer_address(), ("authorization", f"Bearer {TOKEN}")), calls)
    figure("limits never touch holders of the token", f"{calls} creates and {2 * calls} misses under limits of 3")


def test_callers_from_elsewhere_are_limited_and_told_when_to_come_back(
    exposed: Running, pb: SimpleNamespace, size: Size
) -> None:
    caller = Caller(pb, exposed, outer_address())
    with caller.channel:
        assert [caller.create() for _ in range(4)] == ["OK"] * 3 + ["RESOURCE_EXHAUSTED"]
        assert [caller.log_in() for _ in range(4)] == ["UNAUTHENTICATED"] * 3 + ["RESOURCE_EXHAUSTED"]
        assert [caller.look_up(), caller.stats(), caller.look_up()] == ["NOT_FOUND"] * 3
        assert [caller.look_up(), caller.stats()] == ["RESOURCE_EXHAUSTED"] * 2
        seconds = caller.refused_look_up()
        assert seconds in WAITS
        if size(0, 1):
            time.sleep(seconds)  # as told
            assert [caller.look_up(), caller.look_up()] == ["NOT_FOUND", "RESOURCE_EXHAUSTED"]


def post(server: Running, path: str, body: dict[str, object], *, at: str, token: str = "") -> Answer:
    return ask(server.gateway, "POST", path, body, token=token, X_Forwarded_For=at)


def signed_up(server: Running, name: str, at: str) -> str:
    person = {"email": f"{name}@example.com", "password": PASSWORD, "name": name}
    answer = post(server, "/api/auth/register", person, at=at)
    assert answer.status == 201
    return str(answer.json["token"])


def refused(answer: Answer) -> int:
    """Check a refusal over HTTP and return the seconds to wait."""
    assert (answer.status, answer.headers["content-type"]) == (429, "application/problem+json")
    assert answer.json["type"] == "/problems/exhausted"
    return int(answer.headers["retry-after"])


def test_creates_over_rest_are_limited_by_address_and_by_account(running: Running) -> None:
    link: dict[str, object] = {"long_url": "https://example.com/"}
    one, other = (signed_up(running, name, "192.0.2.1") for name in ("one", "other"))

    def create(at: str, token: str) -> Answer:
        return post(running, "/api/urls", link, at=at, token=token)

    assert [create("192.0.2.1", one).status for _ in range(3)] == [201] * 3
    assert refused(create("192.0.2.1", other)) in WAITS  # the address
    seconds = refused(create("192.0.2.2", one))  # the account
    assert create("192.0.2.2", other).status == 201
    time.sleep(seconds)  # as told
    assert create("192.0.2.1", one).status == 201


def test_registrations_over_rest_are_limited_by_address(running: Running) -> None:
    for number in range(3):
        signed_up(running, f"new{number}", f"2001:db8::{number}")
    person = {"email": "new3@example.com", "password": PASSWORD, "name": "new"}
    assert refused(post(running, "/api/auth/register", person, at="2001:db8::3")) in WAITS
    signed_up(running, "new3", "2001:db8:0:1::3")


def test_misses_are_limited_and_links_in_memory_redirect_all_the_same(running: Running) -> None:
    token = signed_up(running, "owner-of-links", "192.0.2.3")
    link: dict[str, object] = {"long_url": "https://example.com/", "alias": "a-link-in-memory"}
    assert post(running, "/api/urls/custom", link, at="192.0.2.3", token=token).status == 201

    def follow(code: str, at: str = "192.0.2.3", method: str = "GET") -> Answer:
        return ask(running.redirect, method, f"/{code}", X_Forwarded_For=at, Accept="application/problem+json")

    assert [follow(f"unknown{number}").status for number in range(3)] == [404] * 3
    assert refused(follow("unknown")) in WAITS
    assert refused(follow("unknown")) in WAITS
    assert [follow("a-link-in-memory").status for _ in range(5)] == [302] * 5
    assert follow("unknown", at="192.0.2.4").status == 404
    told = ask(running.gateway, "GET", "/metrics").body.decode()
    assert 'shortener_limit_refusals_total{limit="misses"} 2.0' in told
    assert 'shortener_redirect_refusals_total{reason="limited"} 2.0' in told


def test_an_owner_is_never_locked_out(running: Running, size: Size, figure: Figure) -> None:
    """Attackers use up all their guesses at one account, from many addresses; then the owner comes from a new one."""
    signed_up(running, "victim", "192.0.2.5")

    def log_in(password: str, at: str, name: str = "victim") -> Answer:
        return post(running, "/api/auth/login", {"email": f"{name}@example.com", "password": password}, at=at)

    addresses = size(6, 500)
    guesses = 0
    for number in range(addresses):
        at = f"10.1.{number >> 8}.{number & 255}"
        while (answer := log_in("a guess", at)).status == 401:
            guesses += 1
        assert 1 <= refused(answer) <= 90
        assert refused(log_in(PASSWORD, at)) <= 90  # what is refused is not looked at
    assert guesses <= 2 * addresses
    assert log_in(PASSWORD, "192.0.2.6").status == 200
    assert [log_in("a slip", "192.0.2.6").status for _ in range(3)] == [401] * 3
    assert [log_in("a guess", "192.0.2.7", "nobody").status for _ in range(4)] == [401] * 3 + [429]
    figure(
        "an owner is never locked out",
        f"{guesses} guesses from {addresses} addresses until all were refused; the owner's first login succeeded",
    )


def test_memory_is_bounded(size: Size, figure: Figure) -> None:
    keys, kept = size(50_000, 1_000_000), 20_000
    limiter = Limiter(Rate(60, 60), keys_max=kept)
    tracemalloc.start()
    try:
        for number in range(keys):
            limiter.take(f"2001:0db8:{number:x}::/64")
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(limiter) == kept
    assert most < 400 * kept
    figure("the memory of limits is bounded", f"{keys} addresses: {kept} kept, {most / 1e6:.1f} MB at most")
