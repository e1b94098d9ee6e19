"""The contract's rules about links and about errors, at their borders, by stock clients over both gRPC servers."""

from collections import Counter
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from google.protobuf.message import DecodeError

from tests.conftest import both_servers
from tests.support.clients import call_over_h2, refusal, status, stubs_of
from tests.support.process import Running

pytestmark = both_servers
GET_URL = "/url.URLService/GetURL"
CREATE_URL = "/url.URLService/CreateURL"


@pytest.fixture(scope="module")
def stubs(pb: SimpleNamespace, server: Running) -> Iterator[SimpleNamespace]:
    with stubs_of(pb, server) as made:
        yield made


@pytest.fixture
def create(pb: SimpleNamespace, stubs: SimpleNamespace) -> Any:
    def call(long_url: str = "https://example.com/", *, user_id: str = "me", expires_at: int = 0) -> str:
        request = pb.url_pb2.CreateURLRequest(long_url=long_url, user_id=user_id, expires_at=expires_at)
        return status(stubs.urls.CreateURL, request)

    return call


@pytest.fixture
def take(pb: SimpleNamespace, stubs: SimpleNamespace) -> Any:
    def call(alias: str, *, user_id: str = "me", long_url: str = "https://example.com/", expires_at: int = 0) -> str:
        request = pb.url_pb2.CreateCustomURLRequest(
            alias=alias, long_url=long_url, user_id=user_id, expires_at=expires_at
        )
        return status(stubs.urls.CreateCustomURL, request)

    return call


def of_length(size: int) -> str:
    return "https://example.com/".ljust(size, "a")


def test_borders_of_what_a_link_is_made_of(create: Any) -> None:
    good, bad = "OK", "INVALID_ARGUMENT"
    assert [create(of_length(8_000)), create(of_length(8_001))] == [good, bad]
    assert [create("http://example.com:65535/"), create("http://example.com:65536/")] == [good, bad]
    owners = ["", "a", "a" * 64, "a" * 65, "a b", "\x7f", "~!", "é"]
    assert [create(user_id=owner) for owner in owners] == [bad, good, good, bad, bad, bad, good, bad]
    moments = [-1, 0, 3_600, 1_577_836_799, 1_577_836_800, 253_402_300_799, 253_402_300_800, 1_704_153_600_000]
    assert [create(expires_at=moment) for moment in moments] == [bad, good, bad, bad, good, good, bad, bad]


def test_our_own_short_urls_are_refused_in_every_spelling(create: Any, server: Running) -> None:
    port = server.redirect.rpartition(":")[2]
    hosts = [
        "localhost", "LocalHost.", "loc%61lhost", "a.localhost", "127.0.0.1", "127.1", "2130706433", "0x7f.1",
        "0177.0.0.1", "127.255.0.9", "0", "[::1]", "[0:0::1]", "[::]", "[::ffff:127.0.0.1]", "[::FFFF:7f00:1]",
        "\u24dbocalhost", "127\u30020\u30020\u30021",
    ]  # fmt: skip
    found = {host: create(f"http://{host}:{port}/abc") for host in hosts}
    assert found == dict.fromkeys(hosts, "INVALID_ARGUMENT")
    assert create("http://127.0.0.1/abc") == "OK"


def test_aliases_at_their_borders(take: Any) -> None:
    good, bad = "OK", "INVALID_ARGUMENT"
    tried = {
        "ab": bad, "abc": good, "ABC": good, "abc\n": bad, "a.c": bad, "_-_": good, "\u0661\u0662\u0663": bad,
        "a" * 50: good, "a" * 51: bad, "api": bad, "API": bad, "Healthz": bad, "robots": bad,
    }  # fmt: skip
    assert {alias: take(alias) for alias in tried} == tried


def test_a_taken_alias_comes_with_three_that_are_free(pb: SimpleNamespace, stubs: SimpleNamespace, take: Any) -> None:
    for alias in ("taken", "taken-2", "b" * 50, "---"):
        assert take(alias) == "OK"
    for alias in ("taken", "b" * 50, "---"):
        request = pb.url_pb2.CreateCustomURLRequest(alias=alias, long_url="https://example.com/", user_id="you")
        code, message, [info] = refusal(stubs.urls.CreateCustomURL, request)
        assert (code, message, info.metadata["field"]) == ("ALREADY_EXISTS", "alias is already taken", "alias")
        offered = [info.metadata[f"suggestion_{number}"] for number in (1, 2, 3)]
        assert [take(suggestion) for suggestion in offered] == ["OK"] * 3


def test_one_of_many_who_want_an_alias_at_once_gets_it(pb: SimpleNamespace, stubs: SimpleNamespace) -> None:
    calls = [
        stubs.urls.CreateCustomURL.future(
            pb.url_pb2.CreateCustomURLRequest(alias="wanted", long_url="https://example.com/", user_id=f"u{number}")
        )
        for number in range(40)
    ]
    assert Counter(call.code().name for call in calls) == {"OK": 1, "ALREADY_EXISTS": 39}


def test_pages_at_their_borders(pb: SimpleNamespace, stubs: SimpleNamespace, create: Any) -> None:
    for number in range(21):
        assert create(f"https://example.com/{number}", user_id="pages") == "OK"

    def page(limit: int = 0, offset: int = 0) -> tuple[int, int, bool]:
        request = pb.url_pb2.ListURLsRequest(user_id="pages", limit=limit, offset=offset)
        found = stubs.urls.ListURLs(request)
        return len(found.urls), found.total, found.has_more

    assert [page(), page(limit=21), page(limit=2**31 - 1), page(offset=1)] == [
        (20, 21, True),
        (21, 21, False),
        (21, 21, False),
        (20, 21, False),
    ]
    assert page(limit=5, offset=2**31 - 1) == (0, 21, False)
    for wrong in ({"limit": -1}, {"offset": -1}):
        request = pb.url_pb2.ListURLsRequest(user_id="pages", **wrong)
        code, message, [detail] = refusal(stubs.urls.ListURLs, request)
        assert (code, message.partition(" ")[0]) == ("INVALID_ARGUMENT", next(iter(wrong)))
        assert detail.field_violations[0].field == next(iter(wrong))


def test_an_unknown_code_is_answered_with_found_false_and_then_not_found(pb: SimpleNamespace, server: Running) -> None:
    heard = call_over_h2(server.url, GET_URL, pb.url_pb2.GetURLRequest(short_code="nothere").SerializeToString())
    assert heard.events == ["ResponseReceived", "DataReceived", "TrailersReceived", "StreamEnded"]
    assert (heard.data, heard.headers["grpc-status"]) == (b"\0\0\0\0\0", "5")


def test_bytes_that_google_protobuf_refuses_are_a_malformed_request(
    pb: SimpleNamespace, stubs: SimpleNamespace
) -> None:
    request = pb.url_pb2.CreateURLRequest(long_url="https://example.com/", user_id="me")
    call = stubs.channel.unary_unary(
        CREATE_URL, request_serializer=bytes, response_deserializer=pb.url_pb2.CreateURLResponse.FromString
    )
    tails = [
        b"\x0a\x05ab", b"\x0a\x02\xff\xfe", b"\x0a\x03\xed\xa0\x80", b"\x07", b"\x0b", b"\x0c", b"\x7b\x74", b"\0\1",
        b"\xff" * 11, b"\x78", b"\xfa\x3f\x03abc", b"\x78\x05", b"\x7b\x7c", b"\x08\x05", b"\x7d\0\0\0\0",
    ]  # fmt: skip
    for tail in tails:
        try:
            type(request).FromString(request.SerializeToString() + tail)
        except DecodeError:
            expected: tuple[str, str] | str = ("INVALID_ARGUMENT", "malformed request")
        else:
            expected = "OK"
        whole = request.SerializeToString() + tail
        assert (status(call, whole) if expected == "OK" else refusal(call, whole)[:2]) == expected, tail


def test_unknown_methods_and_passed_deadlines(pb: SimpleNamespace, stubs: SimpleNamespace, server: Running) -> None:
    for path in ("/url.URLService/Nothing", "/nothing.Nothing/Nothing"):
        call = stubs.channel.unary_unary(path, request_serializer=bytes, response_deserializer=bytes)
        assert status(call, b"") == "UNIMPLEMENTED"
    login = pb.user_pb2.LoginRequest(email="me@example.com", password="secret-1").SerializeToString()
    late = call_over_h2(server.url, "/user.UserService/Login", login, ("grpc-timeout", "1m"))
    assert late.headers["grpc-status"] == "4"
