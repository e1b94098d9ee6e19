"""The codec against google.protobuf, both ways, and what else it promises."""

import math
import time
from typing import Any

import betterproto
import pytest
from google.protobuf.message import DecodeError
from grpclib import GRPCError
from grpclib.const import Status
from hypothesis import given, settings
from hypothesis import strategies as st

from shortener.gen import analytics, url, user
from shortener.rpc import codec, protowire
from shortener.rpc.descriptors import message_class
from shortener.rpc.fields import UNSET, Field, fields_of
from tests.rpc.oracle import ALL, Everything, as_google, google_class

_EDGES = [
    0,
    1,
    63,
    64,
    127,
    128,
    16383,
    16384,
    2**21 - 1,
    2**21,
    2**28 - 1,
    2**28,
    2**31 - 1,
    2**35 - 1,
    2**35,
    2**63 - 1,
]


def _integers(low: int, high: int) -> st.SearchStrategy[int]:
    edges = [sign * edge + off for edge in _EDGES for sign in (1, -1) for off in (-1, 0, 1)]
    return st.one_of(st.integers(low, high), st.sampled_from([low, high, *(e for e in edges if low <= e <= high)]))


_TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=150)
_VALUES: dict[str, st.SearchStrategy[Any]] = {
    "int32": _integers(-(2**31), 2**31 - 1),
    "sint32": _integers(-(2**31), 2**31 - 1),
    "sfixed32": _integers(-(2**31), 2**31 - 1),
    "int64": _integers(-(2**63), 2**63 - 1),
    "sint64": _integers(-(2**63), 2**63 - 1),
    "sfixed64": _integers(-(2**63), 2**63 - 1),
    "uint32": _integers(0, 2**32 - 1),
    "fixed32": _integers(0, 2**32 - 1),
    "uint64": _integers(0, 2**64 - 1),
    "fixed64": _integers(0, 2**64 - 1),
    "bool": st.booleans(),
    "float": st.floats(width=32),
    "double": st.floats(),
    "string": _TEXT,
    "bytes": st.binary(max_size=150),
}


def _values(field: Field, depth: int) -> st.SearchStrategy[Any]:
    one = messages(field.message, depth - 1) if field.message else _VALUES[field.kind]
    if field.repeated and field.kind in ("float", "double"):
        one = one.filter(lambda value: not math.isnan(value))  # lists with NaN never compare equal
    return st.lists(one, max_size=4) if field.repeated else one


@st.composite
def messages(draw: st.DrawFn, cls: type[betterproto.Message], depth: int = 2) -> betterproto.Message:
    """Draw a message with some of its fields set."""
    fields = [field for field in fields_of(cls) if depth or not field.message]
    chosen = draw(st.lists(st.sampled_from(fields), unique=True)) if fields else []
    return codec.build(cls, **{field.name: draw(_values(field, depth)) for field in chosen})


def outcome(cls: type[betterproto.Message], data: bytes) -> bytes | None:
    """Return the canonical form of what we read, or None for an error."""
    try:
        return codec.encode(codec.decode(cls, data))
    except GRPCError as error:
        return None if (error.status, error.message) == (Status.INVALID_ARGUMENT, "malformed request") else b"?"


def google_outcome(cls: type[betterproto.Message], data: bytes) -> bytes | None:
    try:
        message = google_class(cls).FromString(data)
    except DecodeError:
        return None
    message.DiscardUnknownFields()
    return bytes(message.SerializeToString(deterministic=True))


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_messages_are_encoded_as_google_does_and_come_back(data: st.DataObject) -> None:
    cls = data.draw(st.sampled_from([*ALL, Everything, Everything, Everything]))
    message = data.draw(messages(cls))
    wire = codec.encode(message)
    assert wire == as_google(message).SerializeToString(deterministic=True)
    decoded = codec.decode(cls, wire)
    assert decoded == message
    assert codec.encode(decoded) == wire


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_betterproto_itself_agrees_about_built_messages(data: st.DataObject) -> None:
    cls = data.draw(st.sampled_from(ALL))
    message = data.draw(messages(cls))
    by_constructor = cls(
        **{f.name: vars(message)[f.name] for f in fields_of(cls) if vars(message)[f.name] is not UNSET}
    )
    assert message == by_constructor
    assert message.to_dict() == by_constructor.to_dict()
    assert codec.encode(by_constructor) == codec.encode(message)


_TAGS = st.builds(
    lambda number, wire_type: protowire.varint(number << 3 | wire_type),
    st.one_of(st.integers(0, 20), st.sampled_from([101, 104, 112, 114, 116, 2000, 2**29 - 1])),
    st.integers(0, 7),
)
_NUMBERS = st.integers(0, 2**64 - 1).map(protowire.varint)
_OVERLONG = st.builds(
    lambda value, zeros: (
        protowire.varint(value)[:-1] + bytes([protowire.varint(value)[-1] | 128]) + b"\x80" * zeros + b"\0"
    ),
    st.integers(0, 200),
    st.integers(0, 9),
)
_CHUNKS = st.one_of(
    _TAGS, _NUMBERS, _OVERLONG, st.binary(max_size=9), st.sampled_from([b"\x0a\x00", b"\x4b\x4c", b"\x82\x01"])
)
_WIRE = st.lists(_CHUNKS, max_size=14).map(b"".join)


@settings(max_examples=1500, deadline=None)
@given(st.sampled_from([Everything, url.CreateUrlRequest, url.GetUrlResponse, analytics.GetStatsResponse]), _WIRE)
def test_random_wire_bytes_are_judged_as_google_does(cls: type[betterproto.Message], data: bytes) -> None:
    assert outcome(cls, data) == google_outcome(cls, data)


@settings(max_examples=500, deadline=None)
@given(st.data())
def test_mutated_messages_are_judged_as_google_does(data: st.DataObject) -> None:
    cls = data.draw(st.sampled_from([Everything, url.GetUrlResponse, url.ListUrLsResponse, analytics.GetStatsResponse]))
    wire = bytearray(codec.encode(data.draw(messages(cls))))
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(wire)))
        wire[at : at + data.draw(st.integers(0, 2))] = data.draw(st.one_of(st.binary(max_size=3), _CHUNKS))
    assert outcome(cls, bytes(wire)) == google_outcome(cls, bytes(wire))


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_concatenated_messages_merge_as_google_does(data: st.DataObject) -> None:
    cls = data.draw(st.sampled_from([Everything, url.GetUrlResponse, analytics.GetStatsResponse]))
    wire = b"".join(codec.encode(data.draw(messages(cls))) for _ in range(3))
    assert outcome(cls, wire) == google_outcome(cls, wire)


@settings(max_examples=300, deadline=None)
@given(
    st.lists(
        st.sampled_from(
            [
                b"\x48\x05",
                b"\x4a\x00",
                b"\x4a\x03abc",
                b"\x4d1234",
                b"\x4912345678",
                b"\xc8\x01\x05",
                b"\xc8\x80\x80\x80\x00\x05",
                b"\x8a\x80\x00\x01x",
                b"\x0a\x01y",
                b"\x08\x05",
                b"\x4b\x4c",
                b"\x4b\x48\x05\x4c",
                b"\x4a\x81\x80\x00z",
                b"\x48" + b"\xff" * 9 + b"\x01",
            ]
        ),
        max_size=60,
    ),
    st.integers(0, 5),
)
def test_long_runs_of_unknown_fields_are_skipped_as_google_does(parts: list[bytes], cut: int) -> None:
    data = b"".join(parts)
    data = data[: len(data) - cut] if cut else data
    assert outcome(url.GetUrlRequest, data) == google_outcome(url.GetUrlRequest, data)
    inside = b"\xa3\x06" + data + b"\xa4\x06"
    assert outcome(url.GetUrlRequest, inside) == google_outcome(url.GetUrlRequest, inside)


@pytest.mark.parametrize(
    "data",
    [
        b"\x0a\x10abc",  # a string of 16 bytes, of which three are here
        b"\x0a\x02\xff\xfe",  # not UTF-8
        b"\x0a\x03\xed\xa0\x80",  # a surrogate
        b"\x00\x05",  # field number 0
        b"\x0c",  # the end of a group that never began
        b"\x0b",  # a group that never ends
        b"\x0b\x14",  # a group ended by another's end
        b"\x0e\x00",  # wire type 6
        b"\x0f\x00",  # wire type 7
        b"\x0a",  # a tag alone
        b"\x48\x80",  # a varint cut short
        b"\x48" + b"\xff" * 10 + b"\x01",  # a varint of eleven bytes
        b"\x4d123",  # fixed32 of three bytes
        b"\xff\xff\xff\xff\x7f\x00",  # a tag of more than 32 bits
        b"\x0a\x80\x80\x80\x80\x80\x00",  # a length of six bytes
        b"\xa3\x06" * 101 + b"\xa4\x06" * 101,  # groups nested too deep
    ],
)
def test_malformed_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(GRPCError) as raised:
        codec.decode(url.GetUrlRequest, data)
    assert (raised.value.status, raised.value.message) == (Status.INVALID_ARGUMENT, "malformed request")
    assert google_outcome(url.GetUrlRequest, data) is None


@pytest.mark.parametrize("data", [b"\x08\x05", b"\x0d1234", b"\x0912345678", b"\x0b\x0c"])
def test_wrong_wire_type_is_an_unknown_field(data: bytes) -> None:
    assert codec.decode(url.GetUrlRequest, data) == url.GetUrlRequest(short_code="")


@pytest.mark.parametrize(("depth", "accepted"), [(100, True), (101, False), (5000, False)])
def test_messages_nest_a_hundred_deep(depth: int, accepted: bool) -> None:
    data = b""
    for _ in range(depth):
        data = b"\x82\x01" + protowire.varint(len(data)) + data
    assert (outcome(Everything, data) is not None) is accepted
    assert outcome(Everything, data) == google_outcome(Everything, data)


def test_an_int32_keeps_the_low_half_of_a_longer_varint() -> None:
    data = b"\x08" + protowire.varint(2**63 + 2**31 + 5)
    assert codec.decode(url.ListUrLsRequest, data).limit == -(2**31) + 5


@pytest.mark.parametrize(
    ("cls", "fields"),
    [
        (url.ListUrLsRequest, {"limit": 2**31}),
        (url.ListUrLsRequest, {"limit": -(2**31) - 1}),
        (url.CreateUrlRequest, {"expires_at": 2**63}),
        (Everything, {"a_uint32": -1}),
        (Everything, {"a_sint32": 2**31}),
        (Everything, {"int64s": [1, 2**63]}),
        (url.CreateUrlRequest, {"long_url": "\ud800"}),
    ],
)
def test_values_out_of_range_are_not_written(cls: type[betterproto.Message], fields: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"out of range|surrogates"):
        codec.encode(codec.build(cls, **fields))


@pytest.mark.parametrize(
    ("field", "value"), [("long_url", 5), ("expires_at", "5"), ("expires_at", 1.5), ("long_url", b"x")]
)
def test_values_of_another_type_are_not_written(field: str, value: Any) -> None:
    with pytest.raises((TypeError, AttributeError)):
        codec.encode(codec.build(url.CreateUrlRequest, **{field: value}))


def test_floats_keep_their_sign_and_nan() -> None:
    for value in (-0.0, math.inf, -math.inf, 1e300):
        wire = codec.encode(codec.build(analytics.CountryStat, percentage=value))
        assert wire == google_class(analytics.CountryStat)(percentage=value).SerializeToString()
    nan = codec.decode(analytics.CountryStat, codec.encode(codec.build(analytics.CountryStat, percentage=math.nan)))
    assert math.isnan(nan.percentage)
    signalling = codec.decode(analytics.CountryStat, b"\x25\x01\x00\x80\x7f")
    assert math.isnan(codec.decode(analytics.CountryStat, codec.encode(signalling)).percentage)
    negative_zero = codec.decode(analytics.CountryStat, b"\x25\x00\x00\x00\x80").percentage
    assert math.copysign(1.0, negative_zero) == -1.0


def test_a_built_message_is_a_normal_one() -> None:
    link = codec.build(url.Url, short_code="abc", clicks=3)
    assert link == url.Url(short_code="abc", clicks=3)
    assert (link.short_code, link.long_url, link.clicks, link.is_active) == ("abc", "", 3, False)
    assert bytes(link) == codec.encode(link)
    assert link.to_dict() == {"shortCode": "abc", "clicks": "3"}
    link.long_url = "https://example.com"
    assert codec.decode(url.Url, codec.encode(link)).long_url == "https://example.com"
    assert codec.build(url.ListUrLsResponse).urls == []
    assert codec.build(url.ListUrLsResponse).urls is not codec.build(url.ListUrLsResponse).urls
    assert codec.build(url.GetUrlResponse).url == url.Url()
    with pytest.raises(TypeError):
        codec.build(url.Url, nonsense=1)


def test_a_message_that_was_read_from_an_unset_field_is_not_sent() -> None:
    answer = codec.build(url.GetUrlResponse, found=True)
    assert answer.url.clicks == 0
    assert codec.encode(answer) == b"\x10\x01"
    assert codec.encode(codec.build(url.GetUrlResponse, url=codec.build(url.Url))) == b"\x0a\x00"
    assert codec.encode(url.GetUrlResponse(url=url.Url(long_url="x"), found=True)) == b"\x0a\x03\x12\x01x\x10\x01"


@pytest.mark.parametrize(
    "piece",
    [b"\x48\x05", b"\x4a\x00", b"\x08\x05", b"\x0a\x00", b"\x4b\x4c", b"\xc8\x80\x80\x80\x00\x05", b"\x48\x05\x0a\x00"],
)
def test_hostile_bytes_take_linear_time(piece: bytes) -> None:
    def cost(size: int) -> float:
        data = piece * (size // len(piece))
        best = math.inf
        for _ in range(5):
            start = time.process_time()
            codec.decode(url.GetUrlRequest, data)
            best = min(best, time.process_time() - start)
        return best

    assert cost(1 << 18) < 24 * max(
        cost(1 << 15), 0.0002
    )  # eight times the bytes; quadratic would be 64 times the time


def test_what_the_codec_does_not_know_is_refused_at_once() -> None:
    from dataclasses import dataclass

    @dataclass(eq=False, repr=False)
    class Choice(betterproto.Message):
        left: int = betterproto.int32_field(1, group="side")

    with pytest.raises(TypeError, match=r"Choice\.left"):
        codec.build(Choice)


def test_every_generated_class_compiles() -> None:
    assert len(ALL) == 51
    for cls in ALL:
        assert codec.decode(cls, codec.encode(codec.build(cls))) == codec.build(cls)


def test_strict_codec_takes_both_kinds_of_messages() -> None:
    kind = message_class("grpc.health.v1.HealthCheckRequest")
    strict = codec.StrictCodec()
    request = user.GetUserRequest(user_id=7)
    assert strict.decode(strict.encode(request, user.GetUserRequest), user.GetUserRequest) == request
    probe = kind(service="url.URLService")
    assert strict.decode(strict.encode(probe, kind), kind) == probe
    with pytest.raises(GRPCError, match="malformed request"):
        strict.decode(b"\x0a\x05", kind)
    with pytest.raises(TypeError):
        strict.encode(probe, user.GetUserRequest)
