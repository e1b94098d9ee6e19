"""Requests are judged as google.protobuf judges them, handlers see the right types, and answers are read by others."""

import math
import time
from typing import Any

import betterproto
import pytest
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import DecodeError
from grpclib import GRPCError
from grpclib.const import Status
from hypothesis import given
from hypothesis import strategies as st

from shortener.gen import analytics, url, user
from shortener.rpc import codec
from shortener.rpc.descriptors import descriptor, google_class, message_class
from tests.support.messages import ANSWERS, REQUESTS, fields_of

TYPES: dict[int, type] = {
    FieldDescriptor.CPPTYPE_STRING: str,
    FieldDescriptor.CPPTYPE_BOOL: bool,
    FieldDescriptor.CPPTYPE_INT32: int,
    FieldDescriptor.CPPTYPE_INT64: int,
}


def outcome(cls: type[betterproto.Message], data: bytes) -> bytes | None:
    """Return the request that handlers see as betterproto writes it, None for malformed bytes."""
    try:
        request = codec.decoder(cls)(data)
    except GRPCError as error:
        return None if (error.status, error.message) == (Status.INVALID_ARGUMENT, "malformed request") else b"?"
    assert isinstance(request, cls)
    for field in descriptor(cls).fields:
        assert type(getattr(request, field.name)) is TYPES[field.cpp_type]
    return bytes(request)


def google_outcome(cls: type[betterproto.Message], data: bytes) -> bytes | None:
    """Return the same by google.protobuf alone."""
    try:
        message = google_class(cls).FromString(data)
    except DecodeError:
        return None
    message.DiscardUnknownFields()
    return bytes(message.SerializeToString(deterministic=True))


@given(st.data())
def test_a_request_written_by_betterproto_is_read(data: st.DataObject) -> None:
    cls = data.draw(st.sampled_from(REQUESTS))
    request = cls(**data.draw(fields_of(descriptor(cls))))
    read = codec.decoder(cls)(bytes(request))
    assert read == request
    assert request == read
    assert (read.to_dict(), repr(read)) == (request.to_dict(), repr(request))


@given(st.data())
def test_an_answer_is_read_by_betterproto_and_comes_back(data: st.DataObject) -> None:
    cls = data.draw(st.sampled_from(ANSWERS))
    wire = codec.encoder(cls)(codec.build(cls, **data.draw(fields_of(descriptor(cls)))))
    theirs = cls().parse(wire)
    assert bytes(theirs) == wire
    assert codec.encoder(cls)(theirs) == wire
    assert codec.as_google(theirs).SerializeToString() == wire


_TAGS = st.builds(lambda number, wire_type: bytes([number << 3 | wire_type]), st.integers(0, 15), st.integers(0, 7))
_CHUNKS = st.one_of(
    _TAGS, st.binary(max_size=9), st.sampled_from([b"\x0a\x00", b"\x4b\x4c", b"\x82\x01", b"\xff" * 9 + b"\x01"])
)


@given(st.sampled_from(REQUESTS), st.lists(_CHUNKS, max_size=14).map(b"".join))
def test_random_bytes_are_judged_as_google_does(cls: type[betterproto.Message], data: bytes) -> None:
    assert outcome(cls, data) == google_outcome(cls, data)


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
        b"\x0a\x05hello" + b"H\x05" * 8 + b"\xc8",  # a tag cut short behind unknown fields
    ],
)
def test_malformed_bytes_are_refused(data: bytes) -> None:
    assert outcome(url.GetUrlRequest, data) is None


@pytest.mark.parametrize(
    ("data", "short_code"),
    [
        (b"H\x05" * 8 + b"J\x14" + b"x" * 20 + b"\x0a\x05hello", "hello"),  # behind unknown fields
        (b"\x0a\x05hello" + b"H\x05" * 8, "hello"),
        (b"\x0a\x05hello" + b"\xa3\x06" * 90 + b"\xa4\x06" * 90, "hello"),  # before nested groups
        (b"\x0a\x01a\x0a\x01b", "b"),  # the last one counts
        (b"\x08\x05", ""),  # a varint,
        (b"\x0d1234", ""),  # four bytes,
        (b"\x0912345678", ""),  # eight bytes,
        (b"\x0b\x0c", ""),  # a group where a text should be: unknown fields
        (b"", ""),
    ],
)
def test_unknown_fields_and_wrong_wire_types_are_passed_over(data: bytes, short_code: str) -> None:
    request = codec.decoder(url.GetUrlRequest)(data)
    assert request == url.GetUrlRequest(short_code=short_code)
    assert bytes(request) == bytes(url.GetUrlRequest(short_code=short_code))  # nothing unknown is kept


def test_an_int32_keeps_the_low_half_of_a_longer_varint() -> None:
    data = b"\x08\x85\x80\x80\x80\x88\x80\x80\x80\x80\x01"  # 2**63 + 2**31 + 5
    assert codec.decoder(url.ListUrLsRequest)(data).limit == -(2**31) + 5


@pytest.mark.parametrize(
    ("cls", "fields"),
    [
        (url.ListUrLsResponse, {"total": 2**31}),
        (url.Url, {"clicks": -(2**63) - 1}),
        (url.Url, {"long_url": "\ud800"}),
        (url.Url, {"long_url": 5}),
        (url.Url, {"clicks": "5"}),
        (url.Url, {"clicks": 1.5}),
        (url.Url, {"nonsense": 1}),
        (url.GetUrlResponse, {"url": {"nonsense": 1}}),
    ],
)
def test_an_answer_that_cannot_be_right_is_not_built(cls: type[betterproto.Message], fields: dict[str, Any]) -> None:
    with pytest.raises((ValueError, TypeError)):
        codec.build(cls, **fields)


def test_an_empty_message_inside_an_answer_is_sent() -> None:
    assert codec.encoder(url.GetUrlResponse)(codec.build(url.GetUrlResponse, url={})) == b"\x0a\x00"
    assert codec.encoder(url.GetUrlResponse)(codec.build(url.GetUrlResponse, found=True)) == b"\x10\x01"


@pytest.mark.parametrize(
    "piece",
    [b"\x48\x05", b"\x4a\x00", b"\x08\x05", b"\x0a\x00", b"\x4b\x4c", b"\xc8\x80\x80\x80\x00\x05", b"\x48\x05\x0a\x00"],
)
def test_hostile_bytes_take_linear_time_and_little(piece: bytes) -> None:
    decode = codec.decoder(url.GetUrlRequest)

    def cost(size: int) -> float:
        data = piece * (size // len(piece))
        best = math.inf
        for _ in range(5):
            start = time.process_time()
            decode(data)
            best = min(best, time.process_time() - start)
        return best

    whole = cost(1 << 18)
    assert whole < 0.02
    assert whole < 24 * max(cost(1 << 15), 0.0002)  # eight times the bytes; quadratic would be 64 times the time


def test_a_class_with_more_than_plain_fields_is_no_request() -> None:
    with pytest.raises(TypeError, match="ListUrLsResponse is no plain message"):
        codec.decoder(url.ListUrLsResponse)


def test_the_codec_for_grpclib_takes_generated_messages_and_googles() -> None:
    strict, kind = codec.StrictCodec(), message_class("grpc.health.v1.HealthCheckRequest")
    request = user.GetUserRequest(user_id=7)
    assert strict.decode(strict.encode(request, user.GetUserRequest), user.GetUserRequest) == request
    probe = kind(service="url.URLService")
    assert strict.decode(strict.encode(probe, kind), kind) == probe
    with pytest.raises(GRPCError, match="malformed request"):
        strict.decode(b"\x0a\x05", kind)


@pytest.mark.parametrize("answer", [codec.build(url.Url), url.Url(), analytics.CityStat(), None, b""])
def test_an_answer_of_another_type_is_not_written(answer: object) -> None:
    with pytest.raises(TypeError, match="expected a GetUrlResponse"):
        codec.encoder(url.GetUrlResponse)(answer)
