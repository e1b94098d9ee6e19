"""Who is trusted over gRPC, and what happens to the others."""

from dataclasses import dataclass, field
from typing import Any

import pytest
from multidict import MultiDict

from shortener import errors
from shortener.accounts.api import account_operations
from shortener.analytics.api import analytics_operations
from shortener.api import Operation, by_path
from shortener.caller import TRUSTED, Caller
from shortener.config.sections import Grpc
from shortener.gen import analytics, url, user
from shortener.limits import Counted
from shortener.links.api import link_operations
from shortener.net.addresses import ClientAddresses
from shortener.privacy.api import privacy_operations
from shortener.rpc.callers import Callers, callers_of
from shortener.rpc.guard import mounted

ADDRESS = "198.51.100.7"
STRANGER = Caller(address=ADDRESS)


@dataclass
class FakePeer:
    address: object

    def addr(self) -> object:
        return self.address


@dataclass
class FakeStream:
    """As much of a call as its handler needs."""

    peer: FakePeer
    metadata: "MultiDict[str]" = field(default_factory=MultiDict)
    sent: list[object] = field(default_factory=list)

    async def recv_message(self) -> str:
        return "request"

    async def send_message(self, message: object) -> None:
        self.sent.append(message)


def a_call(address: object, *forwarded: str) -> FakeStream:
    return FakeStream(FakePeer(address), MultiDict([("x-forwarded-for", hop) for hop in forwarded]))


@pytest.mark.parametrize(
    ("peer", "caller"),
    [
        (("127.0.0.1", 5), TRUSTED),
        (("127.9.9.9", 5), TRUSTED),
        (("::1", 5, 0, 0), TRUSTED),
        (("::ffff:127.0.0.1", 5, 0, 0), TRUSTED),
        (("192.0.2.2", 5), Caller(address="192.0.2.2")),
        (("::ffff:192.0.2.2", 5, 0, 0), Caller(address="::ffff:192.0.2.2")),
        (("2001:db8::1", 5, 0, 0), Caller(address="2001:db8::1")),
        (("0.0.0.0", 5), Caller(address="0.0.0.0")),
        (None, Caller(address="unknown")),
        ("", Caller(address="unknown")),
    ],
)
def test_callers_on_this_machine_are_trusted(peer: object, caller: Caller) -> None:
    stream = a_call(peer, "127.0.0.1")
    assert Callers(ClientAddresses((), memo_max=10))(stream) == caller


def test_a_trusted_proxy_names_the_caller_and_nobody_else_does() -> None:
    callers = Callers(ClientAddresses(("10.0.0.0/8",), memo_max=10))
    assert callers(a_call(("10.0.0.1", 5), "203.0.113.9, 198.51.100.7", "10.0.0.2")) == STRANGER
    # Claimed: no reason to trust it.
    assert callers(a_call(("10.0.0.1", 5), "127.0.0.1")) == Caller(address="127.0.0.1")
    assert callers(a_call(("10.0.0.1", 5))) == Caller(address="10.0.0.1")
    assert callers(a_call(("192.0.2.2", 5), "127.0.0.1")) == Caller(address="192.0.2.2")


@pytest.mark.parametrize(
    ("section", "asks"),
    [
        (Grpc(), False),
        (Grpc(tls_certificate="a.pem", tls_key="a.key"), False),
        (Grpc(service_token="s3cret"), True),
        (Grpc(service_token_file="token"), True),
        (Grpc(tls_certificate="a.pem", tls_key="a.key", tls_client_ca="ca.pem"), True),
    ],
)
def test_whoever_shows_what_is_asked_for_is_trusted(section: Grpc, asks: bool) -> None:
    callers = callers_of(section, ClientAddresses((), memo_max=10))
    assert (callers is None) is asks


class CountedLimits:
    """Notes what it is asked, and refuses on demand."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str | Caller]] = []
        self.over = False

    def admit(self, kind: Counted, caller: Caller) -> None:
        self.asked.append((kind, caller))
        if self.over:
            raise errors.Exhausted("too many", retry_after_seconds=7)

    def miss(self, address: str) -> None:
        self.asked.append(("miss", address))


COUNTED: dict[str, Counted | None] = {
    "/url.URLService/CreateURL": "creates",
    "/url.URLService/CreateCustomURL": "creates",
    "/user.UserService/Register": "registrations",
    "/user.UserService/CreateUser": "registrations",
    "/user.UserService/UpdateProfile": "registrations",
    "/user.UserService/Login": None,
}
"""What the methods count as; all others count misses."""


def operations() -> dict[str, Operation]:
    """Every operation over gRPC; their functions are not to be called, so they stand on nothing."""
    nothing: Any = None
    return by_path(
        [
            *account_operations(nothing),
            *privacy_operations(nothing, nothing, nothing, exports_max=1),
            *link_operations(nothing),
            *analytics_operations(nothing),
        ]
    )


def test_every_method_of_the_protos_is_an_operation_with_its_messages() -> None:
    bases = (url.UrlServiceBase, user.UserServiceBase, analytics.AnalyticsServiceBase)
    generated = {path: handler for base in bases for path, handler in base().__mapping__().items()}
    mapped = mounted([*operations().values()]).__mapping__()
    assert {path: handler._replace(func=None) for path, handler in mapped.items()} == {
        path: handler._replace(func=None) for path, handler in generated.items()
    }


class Calls:
    """A function that does what it is told, mounted under a limit."""

    def __init__(self, counted: Counted | None) -> None:
        self.limits: Any = CountedLimits()
        self.failure: Exception | None = None
        self.callers: list[Caller] = []
        operation = Operation("/test.Things/Do", self.function, limit=counted)
        mapped = mounted([operation], caller_of=Callers(ClientAddresses((), memo_max=10)), limits=self.limits)
        self.call = mapped.__mapping__()["/test.Things/Do"].func

    async def function(self, request: str, caller: Caller) -> str:
        self.callers.append(caller)
        if self.failure is not None:
            raise self.failure
        return request


def test_each_method_counts_as_what_it_is() -> None:
    found = {path: operation.limit for path, operation in operations().items()}
    assert found == dict.fromkeys(found, "misses") | COUNTED


@pytest.mark.parametrize("counted", ["creates", "registrations", "misses"])
async def test_limits_hold_strangers_alone(counted: Counted) -> None:
    calls = Calls(counted)
    await calls.call(a_call(("127.0.0.1", 5)))
    assert (calls.limits.asked, calls.callers) == ([], [TRUSTED])
    await calls.call(a_call((ADDRESS, 5)))
    assert (calls.limits.asked, calls.callers) == ([(counted, STRANGER)], [TRUSTED, STRANGER])
    calls.limits.over = True
    await calls.call(a_call(("127.0.0.1", 5)))
    with pytest.raises(errors.Exhausted):
        await calls.call(a_call((ADDRESS, 5)))
    assert calls.callers == [TRUSTED, STRANGER, TRUSTED]


async def test_what_has_limits_of_its_own_is_not_counted() -> None:
    calls = Calls(None)
    calls.limits.over = True
    calls.failure = errors.NotFound("no")
    with pytest.raises(errors.NotFound):
        await calls.call(a_call((ADDRESS, 5)))
    assert (calls.limits.asked, calls.callers) == ([], [STRANGER])


async def test_what_is_not_found_is_a_miss_and_nothing_else() -> None:
    calls = Calls("misses")
    for failure in (errors.NotFound("no"), errors.Gone("no"), errors.Invalid("no"), RuntimeError("no")):
        calls.failure = failure
        for address in (ADDRESS, "127.0.0.1"):
            with pytest.raises(type(failure)):
                await calls.call(a_call((address, 5)))
    assert calls.limits.asked == [("misses", STRANGER), ("miss", ADDRESS), *[("misses", STRANGER)] * 3]
