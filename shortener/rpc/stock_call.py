"""One call over grpclib: judging its headers, bounding its messages, giving it a deadline, answering it always."""

import asyncio
import logging
import re
import zlib
from collections.abc import Mapping
from contextlib import nullcontext
from typing import Any, cast

from grpclib import GRPCError
from grpclib.const import Cardinality, Handler, Status
from grpclib.encoding.proto import ProtoStatusDetailsCodec
from grpclib.events import _DispatchServerEvents
from grpclib.exceptions import ProtocolError, StreamTerminatedError
from grpclib.metadata import Deadline, decode_metadata
from grpclib.protocol import Connection
from grpclib.protocol import Stream as WireStream
from grpclib.server import Stream
from grpclib.utils import DeadlineWrapper
from h2.exceptions import H2Error

from shortener.rpc.codec import MALFORMED, StrictCodec
from shortener.rpc.settings import RpcSettings

log = logging.getLogger(__name__)

Headers = list[tuple[str, str]]

ACCEPT_ENCODING = ("grpc-accept-encoding", "identity,gzip")
TIMEOUT_MAX_SECONDS = 86_400.0
"""A deadline further away than a day is one in a day: timers have limits."""

WAITING_MAX = 1 << 20
"""Bytes of answers that one connection may keep waiting, unless there is only one answer."""

_STREAMING = frozenset({Cardinality.STREAM_STREAM, Cardinality.UNARY_STREAM, Cardinality.STREAM_UNARY})
_is_text = re.compile(r"[ -~]*").fullmatch


class Refusal(Exception):  # noqa: N818 - a decision, not a fault of ours
    """Headers that are answered without running a method: HTTP status, gRPC status, message."""

    def __init__(self, http: int, status: Status, message: str) -> None:
        super().__init__(message)
        self.http = http
        self.status = status
        self.message = message


class BoundedConnection(Connection):
    """A connection that knows how many bytes of answers wait for the caller to read."""

    waiting = 0


class Call(Stream[Any, Any]):
    """grpclib's server stream with bounded, possibly compressed requests and bounded waiting answers."""

    def __init__(self, stream: WireStream, path: str, handler: Handler, settings: RpcSettings, **rest: Any) -> None:
        super().__init__(
            stream,
            path,
            handler.cardinality,
            handler.request_type,
            handler.reply_type,
            codec=StrictCodec(),
            status_details_codec=ProtoStatusDetailsCodec(),
            dispatch=_DispatchServerEvents(),
            **rest,
        )
        self._settings = settings

    async def recv_message(self) -> Any:
        """Return the next request, or None behind the last one of a stream.

        Raises GRPCError: RESOURCE_EXHAUSTED for a message over the limit, INVALID_ARGUMENT for one that is cut
        short, malformed, or missing although the method takes exactly one.
        """
        try:
            prefix = await self._stream.recv_data(5)
            if not prefix:
                if self._cardinality.client_streaming:
                    return None
                raise GRPCError(Status.INVALID_ARGUMENT, MALFORMED)
            size = int.from_bytes(prefix[1:], "big")
            if size > self._settings.message_size_max:
                raise self._too_large()
            data = await self._stream.recv_data(size)
        except AssertionError:  # how grpclib's buffer says that the stream ended inside a message
            raise GRPCError(Status.INVALID_ARGUMENT, MALFORMED) from None
        if len(data) != size or prefix[0] > 1:
            raise GRPCError(Status.INVALID_ARGUMENT, MALFORMED)
        return self._codec.decode(self._decompressed(data) if prefix[0] else data, self._recv_type)

    def _too_large(self) -> GRPCError:
        limit = self._settings.message_size_max
        return GRPCError(Status.RESOURCE_EXHAUSTED, f"request message larger than {limit} bytes")

    def _decompressed(self, data: bytes) -> bytes:
        if self.encoding != "gzip":
            raise GRPCError(Status.INTERNAL, "compressed message without grpc-encoding")
        limit = self._settings.message_size_max
        inflater = zlib.decompressobj(wbits=31)
        try:
            message = inflater.decompress(data, limit + 1)
        except zlib.error:
            raise GRPCError(Status.INVALID_ARGUMENT, MALFORMED) from None
        if len(message) > limit:
            raise self._too_large()
        if not inflater.eof or inflater.unused_data:
            raise GRPCError(Status.INVALID_ARGUMENT, MALFORMED)
        return message

    encoding = "identity"
    """What the request's grpc-encoding said."""

    async def send_initial_metadata(self, *, metadata: Any = None) -> None:
        """Send the response's headers, which name the encodings that requests may have."""
        if metadata:
            await super().send_initial_metadata(metadata=metadata)
            return
        await self._stream.send_headers([(":status", "200"), ("content-type", self._content_type), ACCEPT_ENCODING])
        self._send_initial_metadata_done = True

    async def send_message(self, message: Any) -> None:
        """Send an answer. Raises GRPCError RESOURCE_EXHAUSTED when too much already waits for this caller to read."""
        if self._send_message_done and not self._cardinality.server_streaming:
            raise ProtocolError("the message was already sent")
        data = self._codec.encode(message, self._send_type)
        connection = cast("BoundedConnection", self._stream.connection)
        if connection.waiting and connection.waiting + len(data) > WAITING_MAX:
            raise GRPCError(Status.RESOURCE_EXHAUSTED, "too many answers wait to be read")
        if not self._send_initial_metadata_done:
            await self.send_initial_metadata()
        connection.waiting += len(data)
        try:
            await self._stream.send_data(b"\0" + len(data).to_bytes(4, "big") + data)
        finally:
            connection.waiting -= len(data)
        self._send_message_done = True


async def serve(mapping: Mapping[str, Handler], settings: RpcSettings, stream: WireStream, headers: Headers) -> None:
    """Answer one request. Raises nothing but CancelledError."""
    try:
        try:
            await _serve(mapping, settings, stream, headers)
        except Refusal as refusal:
            await _refuse(stream, refusal)
    except (H2Error, StreamTerminatedError, ConnectionError):
        log.debug("the caller left before its answer", exc_info=True)
    except Exception:
        if not stream.connection.is_closing():  # grpclib drops its transport under calls that still write
            log.exception("call not answered")
            if stream.closable:
                stream.reset_nowait()


async def _refuse(stream: WireStream, refusal: Refusal) -> None:
    pairs = [(":status", str(refusal.http))]
    if refusal.http == 200:
        pairs.append(("content-type", "application/grpc"))
    pairs += [("grpc-status", str(refusal.status.value)), ("grpc-message", refusal.message), ACCEPT_ENCODING]
    await stream.send_headers(pairs, end_stream=True)
    if stream.closable:
        stream.reset_nowait()


def _judge(mapping: Mapping[str, Handler], headers: Headers) -> tuple[str, Handler, dict[str, str]]:
    """Return path, handler and headers by name of a request that is well-formed; raises `Refusal` else."""
    named = dict(headers)
    if ":method" not in named or ":path" not in named:
        raise Refusal(400, Status.INTERNAL, "malformed request headers")
    if named[":method"] != "POST":
        raise Refusal(405, Status.INTERNAL, "method must be POST")
    base, _, subtype = named.get("content-type", "").partition(";")[0].strip().partition("+")
    if base != "application/grpc" or subtype not in ("", "proto"):
        raise Refusal(415, Status.UNKNOWN, "content-type must be application/grpc")
    if named.get("te") != "trailers":
        raise Refusal(400, Status.INTERNAL, "te: trailers is missing")
    handler = mapping.get(named[":path"])
    if handler is None:
        raise Refusal(200, Status.UNIMPLEMENTED, "unknown service or method")
    if named.get("grpc-encoding", "identity") not in ("identity", "gzip"):
        raise Refusal(200, Status.UNIMPLEMENTED, "unknown grpc-encoding")
    if not all(_is_text(value) for _, value in headers):
        raise Refusal(200, Status.INVALID_ARGUMENT, "malformed metadata")
    return named[":path"], handler, named


def _deadline(headers: Headers, path: str, handler: Handler, settings: RpcSettings) -> Deadline | None:
    """Return when the call must end; None only for streams without a deadline, which live as long as they like."""
    try:
        deadline = Deadline.from_headers(headers)
    except ValueError:
        raise Refusal(200, Status.INVALID_ARGUMENT, "malformed grpc-timeout") from None
    if deadline is None:
        return None if handler.cardinality in _STREAMING else Deadline.from_timeout(settings.timeout_seconds(path))
    return min(deadline, Deadline.from_timeout(TIMEOUT_MAX_SECONDS))


async def _serve(mapping: Mapping[str, Handler], settings: RpcSettings, stream: WireStream, headers: Headers) -> None:
    path, handler, named = _judge(mapping, headers)
    deadline = _deadline(headers, path, handler, settings)
    try:
        metadata = decode_metadata(headers)
    except ValueError:
        raise Refusal(200, Status.INVALID_ARGUMENT, "malformed metadata") from None
    call = Call(stream, path, handler, settings, deadline=deadline, user_agent=named.get("user-agent"))
    call.metadata = metadata
    call.encoding = named.get("grpc-encoding", "identity")
    async with call:
        await _run(handler, call, stream)


async def _run(handler: Handler, call: Call, stream: WireStream) -> None:
    """Run the method until it ends, its deadline passes, the caller resets the stream, or the server closes."""
    limit = DeadlineWrapper()
    stream.wrapper = limit
    deadline = nullcontext() if call.deadline is None else limit.start(call.deadline)
    try:
        with deadline, limit:
            await handler.func(call)
    except TimeoutError:
        raise GRPCError(Status.DEADLINE_EXCEEDED, "deadline exceeded") from None
    except asyncio.CancelledError:  # neither deadline nor reset: those come out of the wrapper as other errors
        raise GRPCError(Status.UNAVAILABLE, "the server is stopping") from None
