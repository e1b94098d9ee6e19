"""Who is trusted over gRPC, and what happens to the others."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest
from grpclib.const import Cardinality, Handler
from multidict import MultiDict

from shortener import errors
from shortener.gen import analytics, url, user
from shortener.limits import Kind
from shortener.net.addresses import ClientAddresses
from shortener.rpc.callers import KINDS, Callers, limited, trusted

ADDRESS = "198.51.100.7"


@dataclass
class FakePeer:
    address: object

    def addr(self) -> object:
        return self.address


@dataclass
class FakeStream:
    """As much of a call as the limits look at."""

    peer: FakePeer
    metadata: "MultiDict[str]" = field(default_factory=MultiDict)


def a_call(address: object, *forwarded: str) -> FakeStream:
    return FakeStream(FakePeer(address), MultiDict([("x-forwarded-for", hop) for hop in forwarded]))


@pytest.mark.parametrize(
    ("peer", "caller"),
    [
        (("127.0.0.1", 5), ""),
        (("127.9.9.9", 5), ""),
        (("::1", 5, 0, 0), ""),
        (("::ffff:127.0.0.1", 5, 0, 0), ""),
        (("192.0.2.2", 5), "192.0.2.2"),
        (("::ffff:192.0.2.2", 5, 0, 0), "::ffff:192.0.2.2"),
        (("2001:db8::1", 5, 0, 0), "2001:db8::1"),
        (("0.0.0.0", 5), "0.0.0.0"),
        (None, "unknown"),
        ("", "unknown"),
    ],
)
def test_callers_on_this_machine_are_trusted(peer: object, caller: str) -> None:
    stream = a_call(peer, "127.0.0.1")
    assert Callers(ClientAddresses((), memo_max=10))(stream) == caller
    assert trusted(stream) == ""


def test_a_trusted_proxy_names_the_caller_and_nobody_else_does() -> None:
    callers = Callers(ClientAddresses(("10.0.0.0/8",), memo_max=10))
    assert callers(a_call(("10.0.0.1", 5), "203.0.113.9, 198.51.100.7", "10.0.0.2")) == ADDRESS
    assert callers(a_call(("10.0.0.1", 5), "127.0.0.1")) == "127.0.0.1"  # claimed: no reason to trust it
    assert callers(a_call(("10.0.0.1", 5))) == "10.0.0.1"
    assert callers(a_call(("192.0.2.2", 5), "127.0.0.1")) == "192.0.2.2"


class CountedLimits:
    """Notes what it is asked, and refuses on demand."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, ...]] = []
        self.over = False

    def admit(self, kind: Kind, address: str, account_id: str = "") -> None:
        self._ask("admit", kind, address, account_id)

    def check_misses(self, address: str) -> None:
        self._ask("check", address)

    def miss(self, address: str) -> None:
        self.asked.append(("miss", address))

    def _ask(self, *question: str) -> None:
        self.asked.append(question)
        if self.over:
            raise errors.Exhausted("too many", retry_after_seconds=7)


class OneMethod:
    """A service of one method, which does what it is told."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.calls = 0
        self.failure: Exception | None = None

    def __mapping__(self) -> Mapping[str, Handler]:
        return {self.path: Handler(self._run, Cardinality.UNARY_UNARY, object, object)}

    async def _run(self, stream: Any) -> None:
        self.calls += 1
        if self.failure is not None:
            raise self.failure


def paths() -> list[str]:
    bases = (url.UrlServiceBase, user.UserServiceBase, analytics.AnalyticsServiceBase)
    return [path for base in bases for path in base().__mapping__()]


def test_the_table_names_methods_that_exist() -> None:
    assert set(KINDS) - set(paths()) == set()


@pytest.mark.parametrize("path", paths())
async def test_each_method_counts_as_what_it_is(path: str) -> None:
    service, limits = OneMethod(path), CountedLimits()
    [wrapped] = limited([service], caller=Callers(ClientAddresses((), memo_max=10)), limits=limits)
    call = wrapped.__mapping__()[path].func
    await call(a_call(("127.0.0.1", 5)))
    assert limits.asked == []
    await call(a_call((ADDRESS, 5)))
    kind = KINDS.get(path)
    counted: list[tuple[str, ...]] = [("admit", kind, ADDRESS, "")] if kind else [("check", ADDRESS)]
    assert limits.asked == ([] if path == "/user.UserService/Login" else counted)
    limits.asked.clear()
    limits.over = True
    service.calls = 0
    await call(a_call(("127.0.0.1", 5)))
    assert service.calls == 1
    if path != "/user.UserService/Login":
        with pytest.raises(errors.Exhausted):
            await call(a_call((ADDRESS, 5)))
        assert (service.calls, limits.asked) == (1, counted)


async def test_what_is_not_found_is_a_miss_and_nothing_else() -> None:
    service, limits = OneMethod("/url.URLService/GetURL"), CountedLimits()
    [wrapped] = limited([service], caller=Callers(ClientAddresses((), memo_max=10)), limits=limits)
    call = wrapped.__mapping__()["/url.URLService/GetURL"].func
    for failure in (errors.NotFound("no"), errors.Gone("no"), errors.Invalid("no"), RuntimeError("no")):
        service.failure = failure
        with pytest.raises(type(failure)):
            await call(a_call((ADDRESS, 5)))
        with pytest.raises(type(failure)):
            await call(a_call(("127.0.0.1", 5)))
    assert limits.asked == [("check", ADDRESS), ("miss", ADDRESS), *[("check", ADDRESS)] * 3]
