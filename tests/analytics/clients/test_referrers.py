"""Referrers: origins of what was sent, and nothing else."""

import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shortener.analytics.clients.referrers import HEADER_MAX, parse_referrer
from shortener.analytics.model import REFERRER_MAX


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("https://news.example/path?secret=1#part", "https://news.example"),
        ("HTTPS://News.Example", "https://news.example"),
        ("http://news.example:8080/", "http://news.example:8080"),
        ("https://news.example:443/", "https://news.example:443"),
        ("https://news.example:/", "https://news.example"),
        ("https://user:pass@news.example/", "https://news.example"),
        ("https://user@evil.example@news.example/", "https://news.example"),
        ("https://news.example?query", "https://news.example"),
        ("https://news.example#part", "https://news.example"),
        ("https://news.example\\@other.example", "https://news.example"),
        ("https://[2001:DB8::1]:8443/x", "https://[2001:db8::1]:8443"),
        ("http://192.0.2.1/", "http://192.0.2.1"),
        ("http://localhost:3000/", "http://localhost:3000"),
        ("android-app://com.Example.Mail/", "android-app://com.example.mail"),
        ("chrome-extension://abcdef/page.html", "chrome-extension://abcdef"),
        ("https://bücher.example/lesen", "https://xn--bcher-kva.example"),
        ("  https://news.example  ", "https://news.example"),
        ("https://news.example/a b\r\nc", "https://news.example"),
        ("https://my_host.example/", "https://my_host.example"),
        ("https://" + "u" * 600 + "@news.example/", "https://news.example"),
    ],
)
def test_the_origin_is_kept(text: str, expected: str) -> None:
    assert parse_referrer(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "direct",
        "news.example",
        "/path",
        "//news.example/",
        "https://",
        "https:///path",
        "https:news.example",
        "about:client",
        "data:text/html,x",
        "mailto:a@b.example",
        "file:///etc/passwd",
        "1http://x",
        "https://a b/",
        "https://a\tb/",
        "https://a\nb/",
        "https://a\x00b/",
        "https://:80/",
        "https://x:99999/",
        "https://x:-1/",
        "https://x:8a/",
        "https://x:" + "1" * 500,
        "https://[::1",
        "https://::1/",
        "https://<script>/",
        "https://\udc80.example/",
        "https://xn--\u0000/",
        "https://" + "a" * 300 + "/",
        "https://" + "u" * 2000 + "@news.example/",
        "https://" + "u" * 1010 + "@news.example/",
        "\u200bhttps://x/",
        "https://ü" + "ü" * 400,
    ],
)
def test_garbage_is_direct(text: str) -> None:
    assert parse_referrer(text) == "direct"


@given(
    st.one_of(
        st.text(), st.from_regex(r"[a-z]{1,6}://[^/]{0,40}(/.*)?"), st.binary().map(lambda b: b.decode("latin-1"))
    )
)
def test_anything_gives_a_plain_origin_or_direct(text: str) -> None:
    origin = parse_referrer(text)

    assert origin == "direct" or re.fullmatch(
        r"[a-z][a-z0-9+.-]*://([a-z0-9._~%-]+|\[[0-9a-f:.]+\])(:[0-9]{1,5})?", origin
    )
    assert len(origin) <= REFERRER_MAX
    assert parse_referrer(origin) == origin


@pytest.mark.parametrize("filler", ["a", "@", ":", "a.", "%", "ü", "://", "[", " ", "xn--"])
def test_long_headers_cost_little(filler: str) -> None:
    text = "https://" + filler * 200_000
    started = time.process_time()

    parse_referrer(text)

    assert time.process_time() - started < 0.05
    assert len(text) > HEADER_MAX
