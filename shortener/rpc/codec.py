"""A strict and fast protobuf codec for the generated message classes.

Bytes are judged exactly as google.protobuf does, which betterproto's own parser does not, and at twenty times its
speed. Two differences from google.protobuf, on purpose: unknown fields are checked but not kept (no server answers
with its request), and so are not written either; a signalling NaN of 32 bits comes out as a quiet one.
"""

import asyncio
import functools
from typing import Any, TypeVar, cast

import betterproto
from grpclib import GRPCError
from grpclib.const import Status
from grpclib.encoding.base import CodecBase

from shortener.rpc.codecgen import Builder, Compiled, compile_class
from shortener.rpc.fields import UNSET, fields_of

M = TypeVar("M", bound=betterproto.Message)

MALFORMED = "malformed request"
SLICE = 500
"""Parts of a list encoded in one go by `encode_in_slices`: about a millisecond."""


@functools.cache
def _compiled(cls: type[betterproto.Message]) -> Compiled:
    return compile_class(cls, _compiled)


def encode(message: betterproto.Message) -> bytes:
    """Return the wire format of `message`, byte for byte as google.protobuf writes it.

    Raises ValueError for an integer out of its field's range and for text that has no UTF-8 form, TypeError or
    AttributeError for a value of the wrong type: those are faults of the caller's code.
    """
    return _compiled(type(message)).encode(message)


def has_lists(cls: type[betterproto.Message]) -> bool:
    """Tell whether messages of `cls` hold lists of messages, and so may be long."""
    return any(field.repeated and field.message is not None for field in fields_of(cls))


async def encode_in_slices(message: betterproto.Message) -> bytes:
    """Return what `encode` returns; of long lists only a slice in one go, so that other calls are served in between.

    Fields are written in the order of their numbers, and a list is the sequence of its parts.
    """
    values = object.__getattribute__(message, "__dict__")
    cls = type(message)
    lists = {field.name for field in fields_of(cls) if field.repeated and values[field.name] is not UNSET}
    if not any(len(values[name]) > SLICE for name in lists):
        return encode(message)
    pieces = []
    for field in fields_of(cls):
        value = values[field.name]
        for start in range(0, len(value) if field.name in lists else 1, SLICE):
            part = value[start : start + SLICE] if field.name in lists else value
            pieces.append(encode(build(cls, **{field.name: part})))
            await asyncio.sleep(0)
    return b"".join(pieces)


def decode(cls: type[M], data: bytes) -> M:
    """Return the message of class `cls` in `data`, in time linear in its size.

    Raises GRPCError INVALID_ARGUMENT for truncated or malformed bytes, bad UTF-8 and nesting beyond 100 levels. A
    known field with another wire type counts as unknown. In the message every field has a value of its own type.
    """
    try:
        return cast("M", _compiled(cls).decode(data, 0, len(data), 0, None))
    except (IndexError, ValueError):  # truncated, or malformed, or bad UTF-8
        raise GRPCError(Status.INVALID_ARGUMENT, MALFORMED) from None


def build(cls: type[M], **fields: Any) -> M:
    """Return a new message of class `cls`, twenty times as fast as its constructor.

    Unlike with the constructor, values are not checked here but when the message is encoded. A message built without
    any field still counts as set when it is put into another, as in google.protobuf.
    """
    return cast("M", _compiled(cls).build(**fields))


def builder(cls: type[betterproto.Message]) -> Builder:
    """Return the function behind `build` for one class; it takes the fields as keywords."""
    return _compiled(cls).build


class StrictCodec(CodecBase):
    """The codec as grpclib's `Server` and `Channel` take it.

    Give them `ProtoStatusDetailsCodec()` too: beside a codec of one's own grpclib would drop error details silently.
    """

    __content_subtype__ = "proto"

    def encode(self, message: Any, message_type: Any) -> bytes:
        """Encode a generated message, or a google.protobuf one (health and reflection bring their own)."""
        if not isinstance(message, message_type):
            raise TypeError(f"expected a {message_type.__name__}, not a {type(message).__name__}")
        if isinstance(message, betterproto.Message):
            return encode(message)
        return cast("bytes", message.SerializeToString())

    def decode(self, data: bytes, message_type: Any) -> Any:
        """Decode into either kind of class; raises GRPCError INVALID_ARGUMENT for malformed bytes."""
        if issubclass(message_type, betterproto.Message):
            return decode(message_type, data)
        return _decode_google(data, message_type)


def _decode_google(data: bytes, message_type: Any) -> Any:
    from google.protobuf.message import DecodeError  # noqa: PLC0415 - only health and reflection need google.protobuf

    try:
        return message_type.FromString(data)
    except DecodeError:
        raise GRPCError(Status.INVALID_ARGUMENT, MALFORMED) from None
