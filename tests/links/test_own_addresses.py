# ruff: noqa: RUF001 - look-alike characters are what is tested
"""Which destinations are our own short URLs, in all their spellings."""

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shortener import errors
from shortener.links.destination import OwnAddresses, own_addresses, parse_destination
from shortener.links.hosts import canonical
from tests.support.link_builders import some_addresses

OWN = some_addresses("http://localhost:8081", 8081)


def message_of(text: str, own: OwnAddresses = OWN) -> str:
    with pytest.raises(errors.Invalid) as raised:
        parse_destination(text, own)
    assert raised.value.field == "long_url"
    return raised.value.message


OCTETS = st.integers(0, 255)


def spelled(number: int, base: str) -> str:
    return {
        "8": f"0{number:o}",
        "08": f"000{number:o}",
        "10": str(number),
        "16": f"0x{number:x}",
        "X": f"0X0{number:X}",
    }[base]


BASES = st.sampled_from(["8", "08", "10", "16", "X"])


@given(OCTETS, OCTETS, OCTETS, st.lists(BASES, min_size=4, max_size=4), st.integers(1, 4), st.sampled_from(["", "."]))
def test_loopback_in_any_base_and_length_is_ours(
    second: int, third: int, fourth: int, bases: list[str], parts: int, dot: str
) -> None:
    octets = [127, second, third, fourth]
    last = 0
    for octet in octets[parts - 1 :]:
        last = last << 8 | octet
    numbers = [*octets[: parts - 1], last]
    host = ".".join(spelled(number, base) for number, base in zip(numbers, bases, strict=False)) + dot
    assert message_of(f"http://{host}:8081/x") == "long_url must not be one of our own short URLs"
    assert canonical(host) == ipaddress.IPv4Address(bytes(octets))


@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "LocalHost",
        "localhost.",
        "a.b.localhost",
        "a.LOCALHOST.",
        "localhost.localdomain",
        "ip6-loopback",
        "%6cocalhost",
        "%6C%6f%63alhost",
        "ｌocalhost",
        "ⓛocalhost",
        "local\u00adhost",
        "localhost。",
        "127.0.0.1",
        "127.0.0.1.",
        "127.1",
        "127.255.255.254",
        "0x7f.1",
        "0X7F.0.0.1",
        "2130706433",
        "017700000001",
        "0177.0.0.1",
        "0x7f000001",
        "1２7.0.0.1",
        "１２７．０．０．１",
        "%31%32%37.1",
        "0",
        "0.0.0.0",
        "0x",
        "[::1]",
        "[0:0:0:0:0:0:0:1]",
        "[0000:0000:0000:0000:0000:0000:0000:0001]",
        "[::ffff:127.0.0.1]",
        "[::FFFF:7f00:1]",
        "[::ffff:7F01:203]",
        "[::]",
    ],
)
def test_loopback_on_our_ports_is_ours(host: str) -> None:
    own = own_addresses("https://sho.rt", 8081)
    for url in (f"http://{host}:8081/x", f"https://{host}:08081", f"https://{host}/x", f"http://{host}:443?x"):
        assert message_of(url, own) == "long_url must not be one of our own short URLs"
    assert parse_destination(f"http://{host}:8082/", own)
    assert parse_destination(f"http://{host}/", own)


@pytest.mark.parametrize(
    "url",
    [
        "https://sho.rt/abc1234",
        "https://sho.rt",
        "HTTPS://SHO.RT./x",
        "https://sho.rt:443/",
        "https://sho.rt:/",
        "http://sho.rt:443/",
        "http://sho.rt:8081/",
        "https://%73ho.rt/",
        "https://ｓho.rt/",
        "https://sho。rt/",
    ],
)
def test_the_host_of_base_url_is_ours(url: str) -> None:
    assert message_of(url, own_addresses("https://Sho.rt/", 8081)) == "long_url must not be one of our own short URLs"


@pytest.mark.parametrize(
    "url", ["http://sho.rt/x", "https://sho.rt:8082/", "https://www.sho.rt/", "https://sho.rt.example/"]
)
def test_neighbours_of_base_url_are_not_ours(url: str) -> None:
    assert parse_destination(url, own_addresses("https://sho.rt", 8081)) == url


def test_an_address_as_base_url_is_ours_in_any_spelling() -> None:
    own = own_addresses("http://192.0.2.1:8081", 8081)
    for host in ("192.0.2.1", "192.0.513", "0xc0000201", "[::ffff:c000:201]"):
        assert message_of(f"http://{host}:8081/", own) == "long_url must not be one of our own short URLs"


def test_an_international_base_url_is_ours_in_unicode_too() -> None:
    own = own_addresses("http://xn--r8jz45g.jp", 8081)
    assert message_of("http://例え.jp/x", own) == "long_url must not be one of our own short URLs"
    assert message_of("http://%E4%BE%8B%E3%81%88.jp/x", own) == "long_url must not be one of our own short URLs"


def test_short_urls() -> None:
    assert own_addresses("http://localhost:8081", 8081).short_url("abc") == "http://localhost:8081/abc"
    assert own_addresses("https://sho.rt/s/", 8081).short_url("abc") == "https://sho.rt/s/abc"


@pytest.mark.parametrize(
    "base_url",
    [
        "",
        "sho.rt",
        "ftp://sho.rt",
        "http://",
        "http://sho.rt?x",
        "http://sho.rt:65536",
        "http://é/",
        "http://[x]",
        "http://me@sho.rt",
        "http://sho.rt/" + "x" * 187,
    ],
)
def test_a_bad_base_url_is_invalid(base_url: str) -> None:
    with pytest.raises(errors.Invalid) as raised:
        own_addresses(base_url, 8081)
    assert raised.value.field == "base_url"


def embedding(address: str) -> list[str]:
    """IPv6 addresses that lead to an IPv4 address through a translator or a tunnel."""
    number = int(ipaddress.IPv4Address(address))
    high, low = f"{number >> 16:x}", f"{number & 0xFFFF:x}"
    client = f"{number >> 16 ^ 0xFFFF:x}:{number & 0xFFFF ^ 0xFFFF:x}"
    return [
        f"::{address}",
        f"::{high}:{low}",
        f"::ffff:{address}",
        f"::FFFF:{high}:{low}",
        f"::ffff:0:{address}",
        f"64:ff9b::{address}",
        f"0064:FF9B:0:0:0:0:{high}:{low}",
        f"64:ff9b:1::{address}",
        f"64:ff9b:1:abcd::{address}",
        f"64:ff9b:1:{high}:{low.zfill(4)[:2]}:{low.zfill(4)[2:]}00::",
        str(ipaddress.IPv6Address(0x64FF9B0001AB << 72 | number >> 24 << 64 | (number & 0xFFFFFF) << 32)),
        str(ipaddress.IPv6Address(0x64FF9B0001ABCD << 64 | number << 24)),
        f"2002:{high}:{low}::",
        f"2002:{high}:{low}:1:2:3:4:5",
        f"2001::{client}",
        f"2001:0:{high}:{low}:8000:63bf:3fff:fdd2",
        f"2001:0:4136:e378:8000:63bf:{client}",
        f"fe80::5efe:{address}",
        f"2001:db8::200:5efe:{address}",
    ]


@pytest.mark.parametrize("address", ["127.0.0.1", "127.200.3.4"])
@pytest.mark.parametrize("form", range(len(embedding("127.0.0.1"))))
def test_what_leads_to_loopback_through_ipv6_is_ours(form: int, address: str) -> None:
    host = embedding(address)[form]
    assert message_of(f"http://[{host}]:8081/") == "long_url must not be one of our own short URLs"
    assert parse_destination(f"http://[{host}]:8082/", OWN)


@pytest.mark.parametrize("host", embedding("203.0.113.7"))
def test_what_leads_to_the_address_of_base_url_through_ipv6_is_ours(host: str) -> None:
    own = own_addresses("http://203.0.113.7", 8081)
    assert message_of(f"http://[{host}]/", own) == "long_url must not be one of our own short URLs"
    assert parse_destination(f"http://[{host}]/", own_addresses("http://203.0.113.8", 8081))


@pytest.mark.parametrize(
    "host",
    ["2001:db8::7f00:1", "2003:7f00:1::", "64:ff9c::127.0.0.1", "64:ff9b:2::127.0.0.1", "fe80::5eff:127.0.0.1"],
)
def test_other_addresses_that_look_like_it_are_not_ours(host: str) -> None:
    assert parse_destination(f"http://[{host}]:8081/", OWN)
