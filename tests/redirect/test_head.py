import pytest
from hypothesis import given
from hypothesis import strategies as st

from shortener.redirect.decision import Visit
from shortener.redirect.head import (
    decoded_path,
    is_plain_line,
    may_become_plain,
    read_fields,
    short_code_at,
    short_code_in,
)


def fields_in(*lines: bytes) -> Visit | None:
    return read_fields(b"".join(line + b"\r\n" for line in lines) + b"\r\n")


def test_fields_that_matter_are_read() -> None:
    fields = fields_in(
        b"host: a.example",
        b"User-Agent:  curl/8 (x)  ",
        b"REFERER: https://b/",
        b"X-Forwarded-For: 1",
        b"x-forwarded-for: 2",
    )
    assert fields == Visit("curl/8 (x)", "https://b/", ("1", "2"))


def test_number_of_fields_is_bounded() -> None:
    lines = [b"X%d: a" % i for i in range(59)]
    assert fields_in(b"Host: a", *lines) is not None
    assert fields_in(b"Host: a", *lines, b"Y: b") is None


def test_length_of_a_field_is_bounded() -> None:
    assert fields_in(b"Host: a", b"X: " + b"a" * 4093) is not None
    assert fields_in(b"Host: a", b"X: " + b"a" * 4094) is None


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (b"GET /abc1234 HTTP/1.1", "abc1234"),
        (b"GET /abc1234?x=1 HTTP/1.1", "abc1234"),
        (b"GET / HTTP/1.1", ""),
        (b"GET /a b HTTP/1.1", "a b"),
        (b"GET /\xe9 HTTP/1.1", "\xe9"),
        (b"GET /" + b"a" * 50 + b" HTTP/1.1", "a" * 50),
        (b"GET /" + b"a" * 51 + b" HTTP/1.1", ""),
        (b"GET /a?b#c HTTP/1.1", ""),
        (b"GET /a?b c HTTP/1.1", ""),
        (b"HEAD /abc1234 HTTP/1.1", ""),
        (b"GET /abc1234 HTTP/1.0", ""),
        (b"GET HTTP/1.1", ""),
        (b"", ""),
    ],
)
def test_short_code_of_a_request_line(line: bytes, expected: str) -> None:
    assert short_code_in(line) == expected


@given(st.binary(max_size=60) | st.binary(max_size=20).map(lambda middle: b"GET /" + middle + b" HTTP/1.1"))
def test_no_bytes_raise(data: bytes) -> None:
    short_code_in(data)
    is_plain_line(data)
    may_become_plain(data)
    read_fields(data)
    read_fields(data + b"\r\n\r\n")


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/my-link_1", "my-link_1"),
        ("/my%2Dlink%5F1", "my-link_1"),
        ("/%6dy%2dlink%5f%31", "my-link_1"),
        ("/my-link_1/", "my-link_1"),
        ("/my-link_1).", "my-link_1"),
        ("/my-link_1%22%29%2E", "my-link_1"),
        ("/my-link_1%E2%80%9D", "my-link_1"),
        ("/my-link_1%20%0A", "my-link_1"),
        ("/my-link_1%", "my-link_1"),
        ("/my-link_1%2F", "my-link_1"),
        ("/my-link_1-_", "my-link_1-_"),
        ("/my-link_1/x", ""),
        ("/my-link_1.html", ""),
        ("/my-link_1%252E", ""),
        ("/my-link_1%zz", ""),
        ("//my-link_1", ""),
        ("/%2Fmy-link_1", ""),
        ("/(my-link_1)", ""),
        ("/ab)", ""),
        ("/" + "a" * 51 + ".", ""),
        ("/", ""),
        ("/...", ""),
    ],
)
def test_short_code_of_a_path(path: str, expected: str) -> None:
    assert short_code_at(decoded_path(path)) == expected


WHOLE = b"GET /abc1234?a HTTP/1.1\r\nHost: a.example\r\nUser-Agent: x\r\n\r\n"


@given(st.integers(0, len(WHOLE) - 1))
def test_every_beginning_of_a_plain_request_may_become_one(size: int) -> None:
    assert may_become_plain(WHOLE[:size])


@pytest.mark.parametrize(
    "start", [b"P", b"GET a", b"GET /a\n", b"GET /a\rb", b"GET /\x00", b"G\x80", b"GET /a HTTP/1.1\r\nA: \x80", b"\r\n"]
)
def test_what_cannot_become_plain_is_not_waited_for(start: bytes) -> None:
    assert not may_become_plain(start)
