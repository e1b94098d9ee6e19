"""Visitors: normalised addresses, keyed digests, and the key file."""

import ipaddress
import stat
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shortener import errors
from shortener.analytics.clients.visitors import Visitors, open_visitors, parse_address, visitor_digest
from shortener.errors import OperatorError
from shortener.net.addresses import find_address
from tests.support.fakes import FakeClock

DAY = 86_400
ADDRESS = IPv4Address("192.0.2.1")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", None),
        ("192.0.2.1", IPv4Address("192.0.2.1")),
        ("::ffff:192.0.2.1", IPv4Address("192.0.2.1")),
        ("::FFFF:c000:0201", IPv4Address("192.0.2.1")),
        ("2001:DB8:0:0:0:0:0:1", IPv6Address("2001:db8::1")),
        ("2001:db8::1", IPv6Address("2001:db8::1")),
        ("fe80::1%eth0", IPv6Address("fe80::1")),
        ("::1", IPv6Address("::1")),
    ],
)
def test_an_address_is_one_value_in_every_spelling(text: str, expected: object) -> None:
    found = parse_address(text)

    assert found == expected
    assert getattr(found, "scope_id", None) is None


@pytest.mark.parametrize(
    "text",
    [
        "localhost",
        "192.0.2",
        "192.0.2.256",
        "192.0.2.01",
        "0x7f.0.0.1",
        "3232235777",
        " 192.0.2.1",
        "192.0.2.1 ",
        "192.0.2.1:80",
        "192.0.2.1%eth0",
        "192.0.2.0/24",
        "[::1]",
        ":",
        ":::",
        "1::2::3",
        "2001:db8::g",
        "fe80::1%",
        "::ffff:192.0.2.999",
        "١٩٢.0.2.1",
        "192.0.2.1\x00",
        "\udc80",
        "unix:",
        "1" * 10_000,
        ":" * 10_000,
        "fe80::1%" + "z" * 200,
    ],
)
def test_text_that_is_no_address_is_invalid_and_no_visitor(text: str) -> None:
    with pytest.raises(errors.Invalid) as caught:
        parse_address(text)

    assert caught.value.field == "ip_address"
    assert find_address(text) is None


@given(st.ip_addresses(v=6))
def test_every_ipv6_spelling_gives_one_digest(address: IPv6Address) -> None:
    spellings = {str(address), address.exploded, address.exploded.upper(), f"{address}%1"}

    assert len({visitor_digest(b"k" * 32, found) for text in spellings if (found := find_address(text))}) == 1


@given(st.ip_addresses(v=4))
def test_ipv4_in_ipv6_is_the_same_visitor(address: IPv4Address) -> None:
    assert find_address(f"::ffff:{address}") == find_address(str(address)) == address


@given(st.text(max_size=60))
def test_find_address_agrees_with_ipaddress(text: str) -> None:
    try:
        expected: object = ipaddress.ip_address(text)
    except ValueError:
        expected = None
    if isinstance(expected, IPv6Address):
        expected = expected.ipv4_mapped or IPv6Address(int(expected))

    assert find_address(text) == expected


def visitors(path: Path, clock: FakeClock, rotation: str = "never") -> Visitors:
    return open_visitors(path / "visitor.key", rotation=rotation, clock=clock)  # type: ignore[arg-type] # as configured


def test_a_digest_is_16_bytes_and_needs_the_key(tmp_path: Path) -> None:
    clock = FakeClock()
    one = visitors(tmp_path, clock).identify(ADDRESS, clock.now)
    (tmp_path / "visitor.key").unlink()
    other = visitors(tmp_path, clock).identify(ADDRESS, clock.now)

    assert len(one) == len(other) == 16
    assert one != other


def test_the_key_is_made_once_and_private(tmp_path: Path) -> None:
    clock = FakeClock()
    one = visitors(tmp_path, clock).identify(ADDRESS, clock.now)
    clock.tick(1000 * DAY)

    assert visitors(tmp_path, clock).identify(ADDRESS, clock.now) == one
    assert stat.S_IMODE((tmp_path / "visitor.key").stat().st_mode) == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["visitor.key"]


def test_a_key_that_others_may_read_is_made_private(tmp_path: Path) -> None:
    visitors(tmp_path, FakeClock())
    (tmp_path / "visitor.key").chmod(0o644)

    visitors(tmp_path, FakeClock())

    assert stat.S_IMODE((tmp_path / "visitor.key").stat().st_mode) == 0o600


def test_daily_rotation_forgets_the_key_at_midnight(tmp_path: Path) -> None:
    clock = FakeClock(20_000 * DAY + DAY - 1)
    open_today = visitors(tmp_path, clock, "daily")
    kept = (tmp_path / "visitor.key").read_bytes()
    evening = open_today.identify(ADDRESS, clock.now)
    restarted = visitors(tmp_path, clock, "daily").identify(ADDRESS, clock.now)
    clock.tick(1)

    tomorrow = open_today.identify(ADDRESS, clock.now)

    assert evening == restarted
    assert tomorrow != evening
    assert tomorrow == open_today.identify(ADDRESS, clock.now + DAY - 1)
    assert tomorrow == visitors(tmp_path, clock, "daily").identify(ADDRESS, clock.now)
    assert kept.split()[2] not in (tmp_path / "visitor.key").read_bytes()


def test_a_key_of_yesterday_is_replaced_at_start(tmp_path: Path) -> None:
    clock = FakeClock(20_000 * DAY)
    yesterday = visitors(tmp_path, clock, "daily").identify(ADDRESS, clock.now)
    clock.tick(DAY)

    assert visitors(tmp_path, clock, "daily").identify(ADDRESS, clock.now) != yesterday


def test_turning_rotation_on_makes_a_new_key(tmp_path: Path) -> None:
    clock = FakeClock()
    before = visitors(tmp_path, clock).identify(ADDRESS, clock.now)

    assert visitors(tmp_path, clock, "daily").identify(ADDRESS, clock.now) != before


def test_a_key_that_cannot_be_kept_still_rotates(tmp_path: Path) -> None:
    clock = FakeClock()
    (tmp_path / "keys").mkdir()
    known = visitors(tmp_path / "keys", clock, "daily")
    today = known.identify(ADDRESS, clock.now)
    (tmp_path / "keys" / "visitor.key").unlink()
    (tmp_path / "keys").rmdir()

    tomorrow = known.identify(ADDRESS, clock.now + DAY)

    assert tomorrow != today
    assert tomorrow == known.identify(ADDRESS, clock.now + DAY)


@pytest.mark.parametrize("content", [b"", b"garbage", b"never 0 abcd\n", b"never x " + b"ab" * 32, b"\xff\xfe never"])
def test_a_damaged_key_is_left_to_the_operator(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "visitor.key").write_bytes(content)

    with pytest.raises(OperatorError, match=r"cannot use visitor key .*visitor\.key"):
        visitors(tmp_path, FakeClock())

    assert (tmp_path / "visitor.key").read_bytes() == content


def test_a_directory_that_is_missing_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(OperatorError, match=r"cannot use visitor key .*: No such file or directory$"):
        visitors(tmp_path / "missing", FakeClock())
