"""The receiving half of a connection's calls: DATA frames, windows and what is held of unfinished messages."""

from typing import TYPE_CHECKING

from grpclib import GRPCError
from grpclib.const import Status

from shortener.rpc.http2 import frames
from shortener.rpc.http2.errors import ErrorCode, ProtocolError, StreamError
from shortener.rpc.http2.messages import PREFIX, Assembler, malformed
from shortener.rpc.http2.shared import Shared
from shortener.rpc.http2.stream import Stream

if TYPE_CHECKING:
    from shortener.rpc.http2.calls import Calls

_SMALL = 256
_ONE_MESSAGE = "the method takes one message"


class Intake:
    """Takes DATA for one connection.

    The connection's window is given back as bytes arrive; a stream's is, for a plain call, while its message is
    incomplete, and for a streaming one when its handler takes the message. What is held in between is bounded on the
    connection and on the whole server: the call that goes beyond is answered RESOURCE_EXHAUSTED.
    """

    __slots__ = ("_calls", "_held", "_shared", "_size_max", "_uncredited", "window")

    def __init__(self, calls: "Calls", shared: Shared) -> None:
        self._calls = calls
        self._shared = shared
        self._size_max = shared.settings.message_size_max
        self.window = max(shared.limits.window_size, frames.WINDOW_DEFAULT)
        self._uncredited = 0
        self._held = 0

    def data(self, flags: int, stream_id: int, payload: bytes, length: int) -> None:
        """Take a DATA frame of `length` bytes, padding included."""
        self._uncredited += length
        if self._uncredited > self.window:
            raise ProtocolError(ErrorCode.FLOW_CONTROL_ERROR, "more DATA than the connection's window")
        if self._uncredited >= self.window >> 1:
            self._calls.outbox.write(frames.window_update(0, self._uncredited))
            self._uncredited = 0
        stream = self._calls.streams.get(stream_id)
        if stream is None:
            self._late(stream_id)
            return
        size = len(payload)
        if (
            flags & frames.END_STREAM
            and not stream.received
            and not stream.received_end
            and size >= PREFIX
            and not payload[0]
            and int.from_bytes(payload[1:PREFIX], "big") == size - PREFIX
            and size - PREFIX <= self._size_max
            and stream.inbox is None
            and stream.content_length in (-1, size)
        ):
            stream.received_end = True
            stream.request = payload
            self._calls.start(stream)
            return
        self._pieces(stream, flags, payload, length)

    def _late(self, stream_id: int) -> None:
        """Take DATA for a stream that is gone."""
        if stream_id > self._calls.last_id:
            raise ProtocolError(ErrorCode.PROTOCOL_ERROR, "DATA on an idle stream")
        self._calls.budget.charge()
        if not self._calls.ignored(stream_id):
            raise StreamError(stream_id, ErrorCode.STREAM_CLOSED, "DATA on a closed stream")

    def _pieces(self, stream: Stream, flags: int, payload: bytes, length: int) -> None:
        """Take DATA that is not a plain call's whole request."""
        if stream.received_end:
            raise StreamError(stream.id, ErrorCode.STREAM_CLOSED, "DATA after END_STREAM")
        stream.receive_window -= length
        if stream.receive_window < 0:
            raise StreamError(stream.id, ErrorCode.FLOW_CONTROL_ERROR, "more DATA than the stream's window")
        stream.received += len(payload)
        if 0 <= stream.content_length < stream.received:
            raise StreamError(stream.id, ErrorCode.PROTOCOL_ERROR, "more DATA than content-length")
        if stream.assembler is None:
            stream.assembler = Assembler(size_max=self._size_max, gzip=stream.gzip)
        try:
            messages = self._assemble(stream, stream.assembler, payload)
        except GRPCError as error:
            stream.fail(error)
            return
        if not messages and len(payload) < _SMALL and not flags & frames.END_STREAM:
            self._calls.budget.charge()
        stream.uncredited += length
        self._credit(stream)
        if messages:
            self._calls.budget.refund(1)
            stream.wake()
        if flags & frames.END_STREAM:
            self.end(stream)

    def _assemble(self, stream: Stream, assembler: Assembler, payload: bytes) -> list[bytes]:
        """Put a payload's bytes where they belong; raises GRPCError for what cannot be taken."""
        before = len(assembler)
        messages: list[bytes] = []
        try:
            messages = assembler.feed(payload)
        finally:
            self._hold(stream, len(assembler) - before + sum(map(len, messages)) + PREFIX * len(messages))
        if stream.inbox is not None:
            stream.inbox.extend(messages)
        elif len(messages) + (stream.request is not None) > 1:
            raise GRPCError(Status.UNIMPLEMENTED, _ONE_MESSAGE)
        elif messages:
            stream.request = bytes(PREFIX) + messages[0]
        if self._held > self._shared.limits.receive_max or self._shared.held.size > self._shared.limits.held_max:
            raise GRPCError(Status.RESOURCE_EXHAUSTED, "too much is being received")
        return messages

    def _hold(self, stream: Stream, size: int) -> None:
        stream.held += size
        self._held += size
        self._shared.held.size += size

    def end(self, stream: Stream) -> None:
        """Take END_STREAM: a plain call can start, a streaming one sees its last message."""
        if 0 <= stream.content_length != stream.received:
            raise StreamError(stream.id, ErrorCode.PROTOCOL_ERROR, "less DATA than content-length")
        stream.received_end = True
        if stream.assembler is not None and len(stream.assembler):
            stream.fail(malformed())
        elif stream.inbox is not None:
            if stream.started:
                stream.wake()
            else:
                self._calls.start(stream)
        elif stream.request is None:
            stream.fail(malformed())
        else:
            self._calls.start(stream)

    def consumed(self, stream: Stream, size: int) -> None:
        """Take that a streaming handler has a message of `size` bytes: the client may send more."""
        self._hold(stream, -size)
        self._calls.budget.refund(1)
        if not stream.over:
            self._credit(stream)

    def _credit(self, stream: Stream) -> None:
        """Give the stream's window back, unless its handler is behind with its messages."""
        if stream.uncredited >= self.window >> 1 and not stream.received_end and not stream.inbox:
            self._calls.outbox.write(frames.window_update(stream.id, stream.uncredited))
            stream.receive_window += stream.uncredited
            stream.uncredited = 0

    def drop(self, stream: Stream) -> None:
        """Let go of what a finished stream still holds."""
        self._hold(stream, -stream.held)
        stream.assembler = None
        if stream.inbox is not None:
            stream.inbox.clear()
