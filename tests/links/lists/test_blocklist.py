# ruff: noqa: RUF001 - look-alike characters are what is tested
"""The operator's lists: which hosts a file lists, and which destinations they block."""

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shortener.errors import OperatorError
from shortener.links.destination import host_of, own_addresses, parse_destination
from shortener.links.lists.blocklist import codes_in, hosts_in, read_blocklist, read_codes
from tests.links.test_own_addresses import embedding

OWN = own_addresses("http://a-host-of-our-own.example:1", 1)


@pytest.mark.parametrize(
    ("line", "hosts"),
    [
        ("", ()),
        ("   # only a comment", ()),
        ("example.com", ("example.com",)),
        ("  EXAMPLE.com.\r", ("example.com",)),
        ("*.example.com # with all below it", ("example.com",)),
        (".example.com", ("example.com",)),
        ("0.0.0.0 example.com", ("example.com",)),
        ("127.0.0.1\texample.com www.example.com#x", ("example.com", "www.example.com")),
        (":: example.com", ("example.com",)),
        ("::1 example.com", ("example.com",)),
        ("fe80::1%lo0 localhost", ()),
        ("127.0.0.1 localhost localhost.localdomain local", ()),
        ("255.255.255.255 broadcasthost", ()),
        ("0.0.0.0 0.0.0.0", ()),
        ("0.0.0.0 203.0.113.9", ("203.0.113.9",)),
        ("203.0.113.9", ("203.0.113.9",)),
        ("0xcb.0.113.9", ("203.0.113.9",)),
        ("2001:DB8:0::1", ("2001:db8::1",)),
        ("[2001:db8::1]", ("2001:db8::1",)),
        ("0.0.0.0 ::ffff:203.0.113.9", ("203.0.113.9",)),
        ("BÜCHER.example", ("xn--bcher-kva.example",)),
        ("例え。jp", ("xn--r8jz45g.jp",)),
        ("xn--bcher-kva.example", ("xn--bcher-kva.example",)),
        ("under_score.example", ("under_score.example",)),
        ("example.3com", ("example.3com",)),
        ("zip", ("zip",)),
    ],
)
def test_the_hosts_of_a_line(line: str, hosts: tuple[str, ...]) -> None:
    assert hosts_in(line) == hosts


@pytest.mark.parametrize(
    "line",
    [
        "||example.com^",
        "http://example.com/",
        "example.com/path",
        "example.com other.example",
        "<!doctype html>",
        "exa mple.com",
        "example..com",
        ".",
        "*",
        "::x",
        "0.0.0.0 ||example.com",
        "a." * 130 + "com",
        "é" * 70 + ".example",
    ],
)
def test_lines_that_list_no_host(line: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - the reader only counts them
        hosts_in(line)


def verdict(listed: str, url: str) -> bool:
    blocklist = read_blocklist(listed.split("\n"), size_max=100)
    return blocklist.blocks(host_of(parse_destination(url, OWN)))


@pytest.mark.parametrize(
    "url",
    [
        "http://example.com",
        "https://example.com:8443/x?y#z",
        "HTTP://EXAMPLE.COM./",
        "http://a.example.com/",
        "http://a.b.c.example.com./",
        "http://ex%61mple.com/",
        "http://ｅxample。com/",
        "http://" + "a." * 3000 + "example.com/",
        "http://" + "a" * 5000 + ".example.com/",
    ],
)
def test_a_listed_name_blocks_itself_and_all_below_it(url: str) -> None:
    assert verdict("0.0.0.0 example.com", url)


@pytest.mark.parametrize(
    "url",
    [
        "http://notexample.com/",
        "http://example.com.evil.example/",
        "http://com/",
        "http://example.org/example.com",
        "http://example.co/",
        "http://xample.com/",
        "http://" + "a" * 260 + "example.com/",
        "http://[2001:db8::1]/",
    ],
)
def test_neighbours_are_not_blocked(url: str) -> None:
    assert not verdict("0.0.0.0 example.com", url)


@pytest.mark.parametrize("host", ["203.0.113.9", "0xcb.0.113.9", "3405803785", "0313.0.0161.011", "[::ffff:cb00:7109]"])
def test_a_listed_address_blocks_all_its_spellings_and_no_other(host: str) -> None:
    assert verdict("203.0.113.9", f"http://{host}/x")
    assert not verdict("203.0.113.8", f"http://{host}/x")
    assert not verdict("113.9", f"http://{host}/x")


@pytest.mark.parametrize("host", embedding("1.2.3.4"))
def test_a_listed_address_blocks_the_ipv6_addresses_that_lead_to_it(host: str) -> None:
    for listed in ("1.2.3.4", "::ffff:1.2.3.4"):
        listing = read_blocklist([listed], size_max=10)
        assert listing.blocks(host_of(parse_destination(f"http://[{host}]/", OWN)))
    assert not read_blocklist(["1.2.3.5"], size_max=10).blocks(host_of(f"http://[{host}]/"))


@pytest.mark.parametrize("host", ["bücher.example", "b%C3%BCcher.example", "xn--bcher-kva.example", "a.BÜCHER.example"])
def test_international_names_in_each_spelling(host: str) -> None:
    for listed in ("bücher.example", "xn--bcher-kva.example"):
        assert verdict(listed, f"https://{host}/")


LABELS = st.text(string.ascii_lowercase + string.digits + "-_", min_size=1, max_size=4)
NAMES = st.lists(LABELS, min_size=1, max_size=4).map(".".join).filter(lambda name: not name[-1].isdigit())


@given(st.lists(NAMES, max_size=50), st.lists(NAMES, min_size=1, max_size=20))
def test_it_blocks_what_a_plain_set_would(listed: list[str], asked: list[str]) -> None:
    plain = set(listed)
    blocklist = read_blocklist(listed, size_max=100)
    assert len(blocklist) == len(plain)
    for name in [*asked, *listed]:
        labels = name.split(".")
        parents = {".".join(labels[start:]) for start in range(len(labels))}
        assert blocklist.blocks(name) is bool(parents & plain)


def test_a_list_has_an_end() -> None:
    assert len(read_blocklist(["a.example"] * 3, size_max=3)) == 1
    with pytest.raises(OperatorError, match="has more than 2 hosts"):
        read_blocklist(["a.example", "b.example", "c.example"], size_max=2)


def test_what_is_mostly_something_else_is_no_list() -> None:
    page = ["<!doctype html>", "<html>", "hello", "</html>"]
    with pytest.raises(OperatorError, match="is no list of hosts: 3 lines hold none, 1 do"):
        read_blocklist(page, size_max=100)
    assert len(read_blocklist(["||a.example^", "b.example"], size_max=100)) == 1
    assert len(read_blocklist([], size_max=100)) == 0


def test_short_codes() -> None:
    assert codes_in("abc1234 # reported") == ("abc1234",)
    assert codes_in("  # nothing") == ()
    for line in ("ab", "http://sho.rt/abc1234", "a b c", "é" * 5, "x" * 51):
        with pytest.raises(ValueError, match="not a short code"):
            codes_in(line)
    codes = read_codes(["abc1234", "", "My-Alias"], size_max=10)
    assert ("abc1234" in codes, "ABC1234" in codes, "My-Alias" in codes, len(codes)) == (True, False, True, 2)
    with pytest.raises(OperatorError, match="has more than 1 short codes"):
        read_codes(["abc", "abd"], size_max=1)
