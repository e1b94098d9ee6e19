"""What is counted as what, and by which key."""

import pytest

from shortener import errors
from shortener.caller import TRUSTED, Caller, Kind
from shortener.config import sections
from shortener.limits import Counted, RateLimits, address_key
from tests.support.fakes import FakeTimer

OFF = {"creates_per_minute": 0, "registrations_per_minute": 0, "misses_per_minute": 0}


@pytest.mark.parametrize(
    ("address", "key"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:0db8:0001:0002::/64"),
        ("2001:db8:1:2::", "2001:0db8:0001:0002::/64"),
        ("2001:db8:1:3::", "2001:0db8:0001:0003::/64"),
        ("fe80::1%eth0", "fe80:0000:0000:0000::/64"),
        ("::1", "0000:0000:0000:0000::/64"),
        ("unknown", "unknown"),
        ("", ""),
        ("x" * 1000, "x" * 64),
        (":" * 1000, ":" * 64),
    ],
)
def test_an_address_is_limited_by_what_one_subscriber_has(address: str, key: str) -> None:
    assert address_key(address) == key


def limits(**keys: int) -> tuple[RateLimits, FakeTimer]:
    timer = FakeTimer()
    return RateLimits(sections.Limits(**OFF | keys, keys_max=100), timer), timer


def at(address: str, account: str = "") -> Caller:
    return Caller(Kind.ACCOUNT if account else Kind.ANYONE, account=account, address=address)


def admitted(under: RateLimits, counted: Counted, address: str, account: str = "") -> bool:
    try:
        under.admit(counted, at(address, account))
    except errors.Exhausted:
        return False
    return True


def test_creates_count_by_address_and_by_account() -> None:
    under, timer = limits(creates_per_minute=2, creates_burst=2)
    assert [admitted(under, "creates", "192.0.2.1", "1") for _ in range(3)] == [True, True, False]
    assert not admitted(under, "creates", "192.0.2.2", "1")  # the account
    assert not admitted(under, "creates", "192.0.2.1", "2")  # the address
    assert admitted(under, "creates", "192.0.2.2", "2")
    assert admitted(under, "creates", "192.0.2.2")  # nobody proven: the address alone
    assert not admitted(under, "creates", "192.0.2.2")
    with pytest.raises(errors.Exhausted) as refusal:
        under.admit("creates", at("192.0.2.1", "1"))
    assert refusal.value.retry_after_seconds == 30
    timer.tick(30)
    assert admitted(under, "creates", "192.0.2.1", "1")
    refused = {name: limiter.refused for name, limiter in under.limiters.items()}
    assert refused == {"creates_by_address": 4, "creates_by_account": 1, "registrations": 0, "misses": 0}


def test_registrations_count_by_address() -> None:
    under, _ = limits(registrations_per_minute=2, registrations_burst=1)
    assert admitted(under, "registrations", "2001:db8::1", "1")
    assert not admitted(under, "registrations", "2001:db8::2", "2")
    assert admitted(under, "registrations", "2001:db8:0:1::1", "2")


def test_misses_are_counted_after_the_fact() -> None:
    under, timer = limits(misses_per_minute=60, misses_burst=2)
    for _ in range(10):
        under.check_misses("192.0.2.1")  # asking costs nothing
    for _ in range(2):
        under.miss("192.0.2.1")
    assert (under.are_too_many("192.0.2.1"), under.are_too_many("192.0.2.2")) == (True, False)
    with pytest.raises(errors.Exhausted) as refusal:
        under.check_misses("192.0.2.1")
    assert refusal.value.retry_after_seconds == 1
    under.check_misses("192.0.2.2")
    under.miss("192.0.2.1")  # it was under way when the limit was reached, and has to be waited for as well
    timer.tick(1)
    assert under.are_too_many("192.0.2.1")
    timer.tick(1)
    under.check_misses("192.0.2.1")


def test_misses_are_refused_but_not_counted_beforehand() -> None:
    under, _ = limits(misses_per_minute=60, misses_burst=1)
    assert [admitted(under, "misses", "192.0.2.1") for _ in range(3)] == [True] * 3
    under.miss("192.0.2.1")
    assert not admitted(under, "misses", "192.0.2.1")


def test_trusted_callers_are_not_counted() -> None:
    under, _ = limits(creates_per_minute=1, creates_burst=1, registrations_per_minute=1, registrations_burst=1)
    kinds: list[Counted] = ["creates", "registrations", "misses"]
    for kind in kinds:
        for _ in range(3):
            under.admit(kind, TRUSTED)
    assert all(not len(limiter) for limiter in under.limiters.values())
