"""Protobuf messages as bytes and back: google.protobuf (upb) judges and writes them, handlers see generated classes.

A request is read by upb and handed on as a message of its generated betterproto class. betterproto's own parser takes
truncated bytes and values of the wrong type, and needs quadratic time for unknown fields. An answer is a message of
google.protobuf from the start, because betterproto takes a hundred times as long to build and write one.
"""

import functools
from collections.abc import Callable
from typing import Any, TypeVar, cast

import betterproto
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import DecodeError, Message
from grpclib import GRPCError
from grpclib.const import Status
from grpclib.encoding.base import CodecBase

from shortener.rpc.descriptors import descriptor, google_class

M = TypeVar("M", bound=betterproto.Message)

MALFORMED = "malformed request"

_NOT_PLAIN = (FieldDescriptor.CPPTYPE_MESSAGE, FieldDescriptor.CPPTYPE_ENUM)


def builder(cls: type[M]) -> Callable[..., M]:
    """Return the google.protobuf class of answers that `cls` describes; it takes the fields as keywords.

    A message inside is given as a dictionary of its fields, which is faster than a message. To the type checker the
    answer is a `cls`: it has the same fields. A wrong name, type or range raises ValueError or TypeError.
    """
    return cast("Callable[..., M]", google_class(cls))


def build(cls: type[M], **fields: Any) -> M:
    """Return an answer with these fields, see `builder`."""
    return builder(cls)(**fields)


def as_google(message: object) -> Message:
    """Return an answer as google.protobuf's message, whether `builder` made it or it is a generated class's."""
    if isinstance(message, betterproto.Message):
        return google_class(type(message)).FromString(bytes(message))
    return cast("Message", message)


def as_request(cls: type[M], message: Message) -> M:
    """Return a `cls` with the fields of the google.protobuf message of the same name, without unknown ones.

    Raises TypeError for a class with oneofs, enums or messages in it: requests are plain, and a list of messages would
    need a bound of its own, since each takes a microsecond to copy.
    """
    return cast("M", _copier(cls)(message))


@functools.cache
def _copier(cls: type[betterproto.Message]) -> Callable[[Message], betterproto.Message]:
    fields = descriptor(cls).fields
    if any(field.cpp_type in _NOT_PLAIN or field.has_presence for field in fields):
        raise TypeError(f"{cls.__name__} is no plain message")
    singles = tuple(field.name for field in fields if not field.is_repeated)
    lists = tuple(field.name for field in fields if field.is_repeated)
    fast = _with_plain_access(cls)
    state = {"_serialized_on_wire": True, "_unknown_fields": b"", "_group_current": {}}  # betterproto's own

    def copy(message: Message) -> betterproto.Message:
        request = object.__new__(fast)
        values = vars(request)
        values.update(state)
        for name in singles:
            values[name] = getattr(message, name)
        for name in lists:
            values[name] = list(getattr(message, name))
        return request

    return copy


def _with_plain_access(cls: type[betterproto.Message]) -> type[betterproto.Message]:
    """Return `cls` with Python's own attribute access and comparison by content.

    betterproto's looks for fields that were never set at each access, which takes longer than to read the message. A
    message that was read has all its fields.
    """

    def is_equal(self: betterproto.Message, other: object) -> bool:
        return isinstance(other, cls) and bytes(self) == bytes(other)

    names = {"__getattribute__": object.__getattribute__, "__eq__": is_equal, "__hash__": None}
    return type(cls.__name__, (cls,), {**names, "__module__": cls.__module__})


@functools.cache
def decoder(cls: Any) -> Callable[[bytes], Any]:
    """Return the function that reads a message of a generated class, or of a google.protobuf one, from bytes.

    It takes time linear in their number, and raises GRPCError INVALID_ARGUMENT for truncated or malformed bytes, bad
    UTF-8 and nesting beyond 100 levels. A known field with another wire type counts as unknown. In the message every
    field has a value of its own type.
    """
    is_generated = issubclass(cls, betterproto.Message)
    parse = (google_class(cls) if is_generated else cls).FromString
    result = _copier(cls) if is_generated else _same

    def decode(data: bytes) -> Any:
        try:
            message = parse(data)
        except DecodeError:
            raise GRPCError(Status.INVALID_ARGUMENT, MALFORMED) from None
        return result(message)

    return decode


def _same(message: Message) -> Message:
    return message


@functools.cache
def encoder(cls: Any) -> Callable[[Any], bytes]:
    """Return the function that writes answers of a generated class, or of a google.protobuf one.

    It takes what `builder` makes, and also instances of the generated class itself, much more slowly; it raises
    TypeError for anything else.
    """
    google = google_class(cls) if issubclass(cls, betterproto.Message) else cls
    write = google.SerializeToString

    def encode(message: Any) -> bytes:
        if isinstance(message, google):
            return cast("bytes", write(message))
        if isinstance(message, cls):
            return bytes(message)
        raise TypeError(f"expected a {cls.__name__}, not a {type(message).__name__}")

    return encode


class StrictCodec(CodecBase):
    """The codec as grpclib's `Server` takes it.

    Give it `ProtoStatusDetailsCodec()` too: beside a codec of one's own grpclib would drop error details silently.
    """

    __content_subtype__ = "proto"

    def encode(self, message: Any, message_type: Any) -> bytes:
        """Write an answer; raises TypeError for one of another type."""
        return encoder(message_type)(message)

    def decode(self, data: bytes, message_type: Any) -> Any:
        """Read a request; raises GRPCError INVALID_ARGUMENT for malformed bytes."""
        return decoder(message_type)(data)
