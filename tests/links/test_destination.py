# ruff: noqa: RUF001 - look-alike characters are what is tested
import string
import time
from urllib.parse import unquote, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shortener import errors
from shortener.links.destination import LENGTH_MAX, OwnAddresses, own_addresses, parse_destination
from shortener.links.hosts import is_readable
from tests.support.link_builders import some_addresses

OWN = some_addresses("http://localhost:8081", 8081)

# RFC 3986 appendix A, said a second time.
UNRESERVED = string.ascii_letters + string.digits + "-._~"
SUB_DELIMS = "!$&'()*+,;="
TRIPLETS = st.builds("%{}{}".format, st.sampled_from(string.hexdigits), st.sampled_from(string.hexdigits))


def texts(characters: str, max_size: int = 12) -> st.SearchStrategy[str]:
    return st.lists(st.one_of(st.sampled_from(characters), TRIPLETS), max_size=max_size).map("".join)


IPV6 = st.one_of(
    st.ip_addresses(v=6).map(str),
    st.ip_addresses(v=6).map(lambda address: address.exploded.upper()),
    st.ip_addresses(v=4).map("::ffff:{}".format),
)
HOSTS = st.one_of(
    texts(UNRESERVED + SUB_DELIMS).filter(bool).filter(is_readable),
    st.ip_addresses(v=4).map(str),
    IPV6.map("[{}]".format),
    st.just("[v1f.a:b!c]"),
)
PORTS = st.one_of(st.just(""), st.just(":"), st.integers(0, 65_535).map(":{}".format), st.just(":00080"))
PATHS = st.lists(texts(UNRESERVED + SUB_DELIMS + ":@"), max_size=4).map(lambda parts: "".join("/" + p for p in parts))
TAILS = texts(UNRESERVED + SUB_DELIMS + ":@/?")
URLS = st.builds(
    "{}://{}{}{}{}{}".format,
    st.sampled_from(["http", "https", "HTTP", "hTTps"]),
    HOSTS,
    PORTS,
    PATHS,
    st.one_of(st.just(""), TAILS.map("?{}".format)),
    st.one_of(st.just(""), TAILS.map("#{}".format)),
)


def message_of(text: str, own: OwnAddresses = OWN) -> str:
    with pytest.raises(errors.Invalid) as raised:
        parse_destination(text, own)
    assert raised.value.field == "long_url"
    return raised.value.message


def outcome(text: str) -> str | errors.Invalid:
    try:
        return parse_destination(text, OWN)
    except errors.Invalid as error:
        return error


def nowhere() -> OwnAddresses:
    """Addresses that no generated URL hits."""
    return own_addresses("http://a-host-of-our-own.example:1", 1)


@given(URLS)
def test_a_valid_url_is_kept_byte_for_byte(url: str) -> None:
    own = nowhere()
    port = urlsplit(url).netloc.rpartition("]")[2].rpartition(":")[2]
    if port.isdigit() and int(port) == 1:
        return
    assert parse_destination(url, own) == url


@pytest.mark.parametrize(
    "url",
    [
        "http://example.com",
        "https://example.com/very/long/path/to/resource",
        "HTTPS://EXAMPLE.com:443/%7euser/../a//b;c=1/%2F%2f?x=%20&y=+&&z#frag?/!$'()*,",
        "http://example.com./",
        "http://example.com?",
        "http://example.com#",
        "http://[2001:DB8::1]:65535/",
        "http://1.2.3.4.5/",
        "http://256.256.256.256/",
        "http://under_score.example/",
        "http://xn--r8jz45g.jp/",
        "http://xn--/",
        "http://%C3%A9.example/%ff%00",
        "http://example.com:/",
        "http://localhost/",
        "http://localhost:8082/",
        "http://example.com:8081/abc1234",
        "http://notlocalhost:8081/",
        "http://localhost.example:8081/",
        "http://128.0.0.1:8081/",
    ],
)
def test_kept_byte_for_byte(url: str) -> None:
    assert parse_destination(url, OWN) == url


@pytest.mark.parametrize(
    ("url", "kept"),
    [
        ("https://例え.jp/パス?ク=エ#フ", "https://xn--r8jz45g.jp/%E3%83%91%E3%82%B9?%E3%82%AF=%E3%82%A8#%E3%83%95"),
        ("http://BÜCHER.example:8080/%7eä", "http://xn--bcher-kva.example:8080/%7e%C3%A4"),
        ("http://faß.de", "http://xn--fa-hia.de"),
        ("http://Example.COM/é", "http://Example.COM/%C3%A9"),
        ("http://例え。jp/", "http://xn--r8jz45g.jp/"),
        ("http://💩.la/💩", "http://xn--ls8h.la/%F0%9F%92%A9"),
        ("http://ex%61mplé.example/", "http://xn--exampl-gva.example/"),
        ("http://１.２.３.４/", "http://1.2.3.4/"),
        ("http://e\u0301.example/e\u0301", "http://xn--9ca.example/e%CC%81"),
        ("http://a.example/100%?q=%zz&r=50%2", "http://a.example/100%25?q=%25zz&r=50%252"),
        ('http://a.example/"<>^`{|}[]', "http://a.example/%22%3C%3E%5E%60%7B%7C%7D%5B%5D"),
        ("http://a.example/?a[]=1&b={x|y}", "http://a.example/?a%5B%5D=1&b=%7Bx%7Cy%7D"),
        ("http://a.example/#a#b?c", "http://a.example/#a%23b?c"),
        ("http://a.example/?a@b:c/d?e", "http://a.example/?a@b:c/d?e"),
        ("http://a.example/\u200bx", "http://a.example/%E2%80%8Bx"),
    ],
)
def test_what_rfc_3986_does_not_allow_is_encoded(url: str, kept: str) -> None:
    assert parse_destination(url, OWN) == kept
    assert parse_destination(kept, OWN) == kept


@pytest.mark.parametrize(
    "character", [*map(chr, range(0x21)), "\x7f", "\x80", "\x9f", "\xa0", "\u2028", "\u3000", "\\"]
)
def test_controls_blanks_and_backslashes_are_invalid_wherever_they_are(character: str) -> None:
    message = "long_url must not contain blanks, control characters or backslashes"
    for url in ("{}http://a.example/", "http://a.ex{}ample/", "http://a.example/{}x", "http://a.example/{}"):
        assert message_of(url.format(character)) == message


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("", "long_url is required"),
        ("example.com", "long_url must be an absolute http or https URL"),
        ("//example.com/", "long_url must be an absolute http or https URL"),
        ("/path", "long_url must be an absolute http or https URL"),
        ("http:example.com", "long_url must be an absolute http or https URL"),
        ("http:/example.com", "long_url must be an absolute http or https URL"),
        ("ftp://example.com/", "long_url must be an absolute http or https URL"),
        ("javascript://example.com/%0aalert(1)", "long_url must be an absolute http or https URL"),
        ("ｈttp://example.com/", "long_url must be an absolute http or https URL"),
        ("httpſ://example.com/", "long_url must be an absolute http or https URL"),
        ("http://", "long_url must have a host"),
        ("http:///path", "long_url must have a host"),
        ("http://:80/", "long_url must have a host"),
        ("http://?q", "long_url must have a host"),
        ("http://#f", "long_url must have a host"),
        ("http://me@example.com/", "long_url must not contain a user name or password"),
        ("http://me:secret@example.com/", "long_url must not contain a user name or password"),
        ("http://@example.com/", "long_url must not contain a user name or password"),
        ("http://example.com@localhost:8081/", "long_url must not contain a user name or password"),
        ("http://example.com＠evil.example/", "long_url must have a valid host"),
        ("http://example.com／evil/", "long_url must have a valid host"),
        ("http://a℀b/", "long_url must have a valid host"),
        ("http://exa<mple/", "long_url must have a valid host"),
        ("http://exa%mple/", "long_url must have a valid host"),
        ("http://%ffé/", "long_url must have a valid host"),
        ("http://%2fé/", "long_url must have a valid host"),
        ("http://\u00ad/", "long_url must have a valid host"),
        ("http://" + "é" * 64 + ".example/", "long_url must have a valid host"),
        ("http://" + "é." * 200 + "example/", "long_url must have a valid host"),
        ("http://\u0301a.example/", "long_url must have a valid host"),
        ("http://a\u200db.é/", "long_url must have a valid host"),
        ("http://אa.example/", "long_url must have a valid host"),
        ("http://[::1/", "long_url must have a valid host and port"),
        ("http://[]/", "long_url must have a valid host"),
        ("http://[1.2.3.4]/", "long_url must have a valid host"),
        ("http://[::g]/", "long_url must have a valid host"),
        ("http://[fe80::1%25lo]/", "long_url must have a valid host"),
        ("http://[::1]x/", "long_url must have a valid host and port"),
        ("http://a:b/", "long_url must have a valid host and port"),
        ("http://a:８０/", "long_url must have a valid host and port"),
        ("http://a:-1/", "long_url must have a valid host and port"),
        ("http://a:1:2/", "long_url must have a valid host and port"),
        ("http://a:65536/", "long_url has a port over 65535"),
        ("http://é:65536/", "long_url has a port over 65535"),
        ("http://a:" + "9" * 7_000 + "/", "long_url has a port over 65535"),
        ("http://a/" + "x" * 7_992, "long_url must be at most 8000 bytes"),
        ("http://a/" + "é" * 7_000, "long_url must be at most 8000 bytes when percent-encoded"),
        ("http://a/\ud800", "long_url must not contain blanks, control characters or backslashes"),
    ],
)
def test_invalid_destinations(url: str, message: str) -> None:
    assert message_of(url) == message


def test_the_longest_destination() -> None:
    url = "http://a/" + "x" * (LENGTH_MAX - 9)
    assert parse_destination(url, OWN) == url


@given(
    st.one_of(st.text(max_size=40), st.text(max_size=40).map("http://{}".format), st.text().map("http://a/{}".format))
)
def test_whatever_comes_out_is_a_header_safe_url_and_stays_as_it_is(text: str) -> None:
    url = outcome(text)
    if isinstance(url, errors.Invalid):
        assert url.field == "long_url"
        return
    assert url.isascii()
    assert all("!" <= character <= "~" for character in url)
    assert "\\" not in url
    assert parse_destination(url, OWN) == url
    parts = urlsplit(url)
    assert parts.scheme in {"http", "https"}
    assert parts.hostname
    assert parts.username is None


@given(st.text(st.characters(exclude_categories=["Cs", "Cc", "Z"], exclude_characters="\\#%"), max_size=40))
def test_encoding_loses_nothing(path: str) -> None:
    url = parse_destination(f"http://a.example/?{path}", OWN)
    assert unquote(url) == f"http://a.example/?{path}"


@pytest.mark.parametrize(
    "part",
    ["%", "%a", "é", "a:", "[", "1.", "?", "#", "/", "%C3%A9", "\u0307\u0323", "0", "é.", "\u200d", "xn--é.", "@", "]"],
)
def test_long_inputs_take_linear_time(part: str) -> None:
    for start in ("http://", "http://é", "http://a/", "http://a:", "http://[", ""):
        url = (start + part * LENGTH_MAX)[:LENGTH_MAX]
        started = time.process_time()
        outcome(url)
        assert time.process_time() - started < 0.05
