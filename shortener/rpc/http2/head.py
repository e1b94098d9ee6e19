"""What headers mean (RFC 9113 section 8, gRPC over HTTP/2): requests, statuses, and metadata both ways.

A request's header list is judged once; connections keep the verdict for equal blocks.
"""

import base64
import binascii
import functools
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NewType, cast

from google.protobuf.message import Message
from google.rpc import status_pb2  # type: ignore[import-untyped] # ships no annotations
from grpclib.const import Handler, Status
from multidict import MultiDict

from shortener.config.sections import Grpc
from shortener.rpc.codec import decoder, encoder
from shortener.rpc.guard import Admits
from shortener.rpc.http2.errors import ErrorCode, ProtocolError
from shortener.rpc.http2.hpack import Field, literal

Value = str | bytes
Metadata = NewType("Metadata", "MultiDict[Value]")
Details = tuple[tuple[str, bytes], ...]

CONTENT_TYPE = "application/grpc"
ACCEPT_ENCODING = "identity,gzip"

_NAME = re.compile(r"[!-9;-@\[-~]+").fullmatch  # visible ASCII without upper case and colon (section 8.2.1)
_VALUE = re.compile(r"(?![ \t])[^\x00\r\n]*(?<![ \t])").fullmatch
_CONNECTION_FIELDS = frozenset(("connection", "proxy-connection", "keep-alive", "transfer-encoding", "upgrade"))
_UNIT_SECONDS = {"H": 3600.0, "M": 60.0, "S": 1.0, "m": 1e-3, "u": 1e-6, "n": 1e-9}
_TIMEOUT = re.compile(r"([0-9]{1,8})([HMSmun])").fullmatch
_UNSAFE = re.compile(rb"[^ -$&-~]")
_OURS = frozenset(("te", "content-type", "user-agent", "content-length", "trailer", "host"))
_STATISTICS = frozenset(f"/analytics.AnalyticsService/{name}" for name in ("GetStats", "GetTimeSeries", "GetGeoStats"))
_TIMEOUT_MAX = 30 * 86_400.0  # timers need an end; a month is for ever


def parse_timeout(text: str) -> float:
    """Return the seconds that a grpc-timeout value stands for; ValueError unless it is 1 to 8 digits and a unit."""
    match = _TIMEOUT(text)
    if match is None:
        raise ValueError("malformed grpc-timeout")
    return int(match[1]) * _UNIT_SECONDS[match[2]]


def encode_message(text: str) -> str:
    """Return `text` percent-coded as grpc-message wants it; lone surrogates become question marks."""
    return _UNSAFE.sub(lambda match: b"%%%02X" % match[0][0], text.encode("utf-8", "replace")).decode("ascii")


def decode_binary(text: str) -> bytes:
    """Return the bytes of a -bin value, padded or not; ValueError when it is not base64."""
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except binascii.Error as error:
        raise ValueError("malformed base64") from error


def encode_binary(value: bytes) -> str:
    """Return base64 without padding, as -bin values are sent."""
    return base64.b64encode(value).rstrip(b"=").decode("ascii")


def custom_pairs(fields: Iterable[Field]) -> list[tuple[str, Value]]:
    """Return what the caller added to a request: neither pseudo-headers nor HTTP's and gRPC's own fields.

    A -bin value may hold several, separated by commas. Raises ValueError for bad base64.
    """
    pairs: list[tuple[str, Value]] = []
    for name, value in fields:
        if name.startswith((":", "grpc-")) or name in _OURS:
            continue
        if name.endswith("-bin"):
            pairs += [(name, decode_binary(part.strip())) for part in value.split(",")]
        else:
            pairs.append((name, value))
    return pairs


def typed_details(details: Collection[Any]) -> Details:
    """Return the type and the bytes of google.protobuf messages."""
    messages = cast("Collection[Message]", details)
    return tuple((message.DESCRIPTOR.full_name, message.SerializeToString()) for message in messages)


def encode_details(status: int, message: str, details: Details) -> str:
    """Return grpc-status-details-bin: a google.rpc.Status around messages of these types and bytes."""
    whole = status_pb2.Status(code=status, message=message)
    for name, value in details:
        whole.details.add(type_url=f"type.googleapis.com/{name}", value=value)
    return encode_binary(whole.SerializeToString())


class Method:
    """A handler with what its cardinality and the configuration say, looked up once."""

    __slots__ = (
        "admits", "decode", "encode", "func", "is_open", "path", "reply_streams", "request_streams",
        "timeout_seconds",
    )  # fmt: skip

    def __init__(self, path: str, handler: Handler, grpc: Grpc, admits: Admits | None) -> None:
        self.path = path
        self.admits = admits
        self.is_open = admits is not None and admits(path, None)  # callers need to show nothing, and so get little
        self.func = handler.func
        self.decode = decoder(handler.request_type)
        self.encode = encoder(handler.reply_type)
        self.request_streams: bool = handler.cardinality.client_streaming
        self.reply_streams: bool = handler.cardinality.server_streaming
        streams = self.request_streams or self.reply_streams
        default = grpc.statistics_timeout_seconds if path in _STATISTICS else grpc.timeout_seconds
        # A watch or a reflection session lives as long as its client wants; only plain calls get a default deadline.
        self.timeout_seconds = None if streams else default


@dataclass(frozen=True, slots=True)
class Head:
    """What a request's headers mean. With a `refusal` (a whole header block) the call is answered with it at once."""

    method: Method | None = None
    timeout_seconds: float | None = None
    pairs: tuple[tuple[str, Value], ...] = ()
    gzip: bool = False
    content_length: int = -1
    refusal: bytes = b""
    admitted: bool = True  # whether the caller has shown what the method asks for


def _malformed(reason: str) -> ProtocolError:
    return ProtocolError(ErrorCode.PROTOCOL_ERROR, reason)


def status_block(status: Status, message: str | None, details: Any) -> bytes:
    """Return the header block of trailers."""
    if details:
        return _detailed(status.value, message or "", typed_details(details))
    return _status(status.value, message)


def _status(status: int, message: str | None) -> bytes:
    block = literal("grpc-status", str(status))
    return block + literal("grpc-message", encode_message(message)) if message else block


@functools.lru_cache(256)  # under overload most calls are refused alike: 20 µs each
def _detailed(status: int, message: str, details: Details) -> bytes:
    return _status(status, message) + literal("grpc-status-details-bin", encode_details(status, message, details))


def trailers_only(status: Status, message: str, *fields: Field, http_status: str = "200") -> bytes:
    """Return the header block of an answer that is nothing but a status."""
    block = literal(":status", http_status) if http_status != "200" else b"\x88"
    block += literal("content-type", CONTENT_TYPE)
    block += literal("grpc-status", str(status.value)) + literal("grpc-message", encode_message(message))
    return block + b"".join(literal(*field) for field in fields)


PLAIN = b"\x88" + literal("content-type", CONTENT_TYPE)
"""How an answer that is only trailers begins."""

MALFORMED = trailers_only(Status.INTERNAL, "malformed request headers", http_status="400")
"""The answer to a malformed request, before its stream is reset."""

TOO_LARGE = Head(refusal=trailers_only(Status.RESOURCE_EXHAUSTED, "metadata too large"))


def check_fields(fields: list[Field], *, trailers: bool = False) -> dict[str, str]:
    """Check names, values and order, and return the pseudo-headers (none is allowed in trailers).

    Raises ProtocolError PROTOCOL_ERROR for a malformed message; the caller makes it a stream error.
    """
    pseudo: dict[str, str] = {}
    regular = trailers
    for name, value in fields:
        if name.startswith(":"):
            if regular or name not in (":method", ":scheme", ":path", ":authority") or name in pseudo:
                raise _malformed("misplaced, unknown or repeated pseudo-header")
            pseudo[name] = value
        else:
            regular = True
            if not _NAME(name):
                raise _malformed("invalid field name")
            if name in _CONNECTION_FIELDS or (name == "te" and value != "trailers"):
                raise _malformed("connection-specific field")
        if not _VALUE(value):
            raise _malformed("invalid field value")
    return pseudo


def read_head(fields: list[Field], methods: Mapping[str, Method]) -> Head:
    """Return the verdict on a request's fields; raises ProtocolError for a malformed request."""
    pseudo = check_fields(fields)
    if not (pseudo.get(":method") and pseudo.get(":scheme") and pseudo.get(":path")):
        raise _malformed("a mandatory pseudo-header is missing")
    content_length = _content_length(fields)
    named = dict(fields)
    refusal = _refusal(pseudo, named)
    method = methods.get(pseudo[":path"])
    if refusal or method is None:
        refusal = refusal or trailers_only(Status.UNIMPLEMENTED, "unknown method")
        return Head(refusal=refusal, content_length=content_length)
    try:
        timeouts = [parse_timeout(value) for name, value in fields if name == "grpc-timeout"]
        pairs = tuple(custom_pairs(fields))
    except ValueError as error:
        return Head(refusal=trailers_only(Status.INVALID_ARGUMENT, str(error)), content_length=content_length)
    timeout = min(*timeouts, _TIMEOUT_MAX) if timeouts else method.timeout_seconds
    gzip = named.get("grpc-encoding") == "gzip"
    admitted = method.admits is None or method.admits(method.path, dict(reversed(pairs)).get("authorization"))
    return Head(method, timeout, pairs, gzip, content_length, admitted=admitted)


def _content_length(fields: list[Field]) -> int:
    """Return what content-length promises, or -1; unequal or odd values make the request malformed."""
    values = {value for name, value in fields if name == "content-length"}
    if not values:
        return -1
    value = values.pop()
    if values or not value.isascii() or not value.isdigit() or len(value) > 15:
        raise _malformed("bad content-length")
    return int(value)


def _refusal(pseudo: Mapping[str, str], named: Mapping[str, str]) -> bytes:
    """Return the answer for what is HTTP but not gRPC, or not gRPC that we speak; empty when all is well."""
    if pseudo[":method"] != "POST":
        return trailers_only(Status.INTERNAL, "method must be POST", ("allow", "POST"), http_status="405")
    base = named.get("content-type", "").partition(";")[0].strip().lower()
    if base not in (CONTENT_TYPE, CONTENT_TYPE + "+proto"):
        return trailers_only(Status.UNKNOWN, "content-type must be application/grpc", http_status="415")
    if "te" not in named:
        return trailers_only(Status.INTERNAL, "te: trailers is missing", http_status="400")
    encoding = named.get("grpc-encoding", "identity")
    if encoding not in ("identity", "gzip"):
        return trailers_only(Status.UNIMPLEMENTED, "unknown grpc-encoding", ("grpc-accept-encoding", ACCEPT_ENCODING))
    return b""
