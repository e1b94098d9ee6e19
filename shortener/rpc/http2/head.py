"""Judges a request's header list (RFC 9113 section 8, gRPC over HTTP/2) once; connections keep the verdict."""

import functools
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from grpclib.const import Handler, Status

from shortener.rpc.codec import decoder, encoder
from shortener.rpc.guard import Admits
from shortener.rpc.http2.errors import ErrorCode, ProtocolError
from shortener.rpc.http2.hpack import Field, literal
from shortener.rpc.http2.metadata import (
    Details,
    Value,
    custom_pairs,
    encode_details,
    encode_message,
    parse_timeout,
    typed_details,
)
from shortener.rpc.settings import RpcSettings

CONTENT_TYPE = "application/grpc"
ACCEPT_ENCODING = "identity,gzip"

_NAME = re.compile(r"[!-9;-@\[-~]+").fullmatch  # visible ASCII without upper case and colon (section 8.2.1)
_VALUE = re.compile(r"(?![ \t])[^\x00\r\n]*(?<![ \t])").fullmatch
_CONNECTION_FIELDS = frozenset(("connection", "proxy-connection", "keep-alive", "transfer-encoding", "upgrade"))
_TIMEOUT_MAX = 30 * 86_400.0  # timers need an end; a month is for ever


class Method:
    """A handler with what its cardinality and settings say, looked up once."""

    __slots__ = (
        "admits", "decode", "encode", "func", "is_open", "path", "reply_streams", "request_streams",
        "timeout_seconds",
    )  # fmt: skip

    def __init__(self, path: str, handler: Handler, settings: RpcSettings, admits: Admits | None) -> None:
        self.path = path
        self.admits = admits
        self.is_open = admits is not None and admits(path, None)  # callers need to show nothing, and so get little
        self.func = handler.func
        self.decode = decoder(handler.request_type)
        self.encode = encoder(handler.reply_type)
        self.request_streams: bool = handler.cardinality.client_streaming
        self.reply_streams: bool = handler.cardinality.server_streaming
        streams = self.request_streams or self.reply_streams
        # A watch or a reflection session lives as long as its client wants; only plain calls get a default deadline.
        self.timeout_seconds = None if streams else settings.timeout_seconds(path)


@dataclass(frozen=True, slots=True)
class Head:
    """What a request's headers mean. With a `refusal` (a whole header block) the call is answered with it at once."""

    method: Method | None = None
    timeout_seconds: float | None = None
    pairs: tuple[tuple[str, Value], ...] = ()
    user_agent: str | None = None
    gzip: bool = False
    content_length: int = -1
    refusal: bytes = b""
    admitted: bool = True  # whether the caller has shown what the method asks for


def _malformed(reason: str) -> ProtocolError:
    return ProtocolError(ErrorCode.PROTOCOL_ERROR, reason)


def status_block(status: Status, message: str | None, details: Any, fields: list[Field]) -> bytes:
    """Return the header block of trailers."""
    if details:
        block = _detailed(status.value, message or "", typed_details(details))
    else:
        block = _status(status.value, message)
    return block + b"".join(literal(*field) for field in fields)


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
    return Head(method, timeout, pairs, named.get("user-agent"), gzip, content_length, admitted=admitted)


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
