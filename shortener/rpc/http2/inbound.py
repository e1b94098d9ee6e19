"""The receiving half of a connection's calls: DATA frames, windows and what is held of unfinished messages."""

from time import monotonic
from typing import TYPE_CHECKING

from grpclib import GRPCError
from grpclib.const import Status

from shortener.rpc.http2 import frames
from shortener.rpc.http2.errors import ErrorCode, ProtocolError, StreamError
from shortener.rpc.http2.messages import PREFIX, Assembler, inflate, malformed
from shortener.rpc.http2.shared import Shared
from shortener.rpc.http2.stream import Stream

if TYPE_CHECKING:
    from shortener.rpc.http2.calls import Calls

_SMALL = 256
_REFUSED_COST = 4
_INFLATED_SHIFT = 12  # inflating costs a unit of the budget for each 4 KiB that come out of it beyond what went in
_OPEN_RECEIVE_MAX = 4096  # bytes of unfinished requests by callers who need not show anything, on one connection


def _one_message() -> GRPCError:
    return GRPCError(Status.UNIMPLEMENTED, "the method takes one message")


def _too_much() -> GRPCError:
    return GRPCError(Status.RESOURCE_EXHAUSTED, "too much is being received")


class Intake:
    """Takes DATA for one connection.

    The connection's window is given back as bytes arrive; a stream's is, for a plain call, while its message is
    incomplete, and for a streaming one when its handler takes the message. What is `held` in between is bounded: a
    call that goes beyond its connection's share is answered RESOURCE_EXHAUSTED, and when the whole server holds too
    much, so is one of the connection that holds most.
    """

    __slots__ = ("_calls", "_shared", "_size_max", "_uncredited", "held", "window")

    def __init__(self, calls: "Calls", shared: Shared) -> None:
        self._calls = calls
        self._shared = shared
        self._size_max = shared.settings.message_size_max
        self.window = max(shared.limits.window_size, frames.WINDOW_DEFAULT)
        self._uncredited = 0
        self.held = 0

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
        if not stream.keeps_bytes:
            self._calls.budget.charge()
            stream.received_end = bool(flags & frames.END_STREAM)
            return
        try:
            messages = self._assemble(stream, payload)
        except GRPCError as error:
            self._calls.budget.charge(_REFUSED_COST)
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

    def _assemble(self, stream: Stream, payload: bytes) -> int:
        """Put a payload's bytes where they belong, and return how many messages they complete.

        Raises GRPCError for what cannot be taken, ProtocolError when the budget does not suffice for inflating.
        """
        assembler = stream.assembler
        if assembler is None:
            assembler = stream.assembler = Assembler(size_max=self._size_max, gzip=stream.gzip)
        begins = not len(assembler)
        assembler.feed(payload)
        self._hold(stream, len(payload))
        count = 0
        while (found := assembler.next()) is not None:
            message, compressed = found
            if stream.request is not None:
                raise _one_message()
            if compressed:
                message = self._inflated(stream, message)
            if stream.inbox is None:
                stream.request = bytes(PREFIX) + message
            else:
                stream.inbox.append(message)
            count += 1
        self._keep_to_share(stream)
        if begins or count:
            stream.message_since = monotonic()
        return count

    def _inflated(self, stream: Stream, packed: bytes) -> bytes:
        try:
            message = inflate(packed, self._size_max)
        except GRPCError:
            self._calls.budget.charge(self._size_max >> _INFLATED_SHIFT)
            raise
        more = len(message) - len(packed)
        self._hold(stream, more)
        self._keep_to_share(stream)
        self._calls.budget.charge(max(0, more >> _INFLATED_SHIFT))
        return message

    def _hold(self, stream: Stream, size: int) -> None:
        stream.held += size
        self.held += size
        received = self._shared.received
        received.size += size
        if not self.held:
            received.receivers.pop(self, None)
        elif self.held == size:
            received.receivers[self] = None

    def _keep_to_share(self, stream: Stream) -> None:
        """Raise GRPCError when a call has brought its connection above its share, or all of them above theirs."""
        if self.held > self._shared.limits.receive_max:
            raise _too_much()
        if stream.method.is_open:
            held = sum(stream.held for stream in self._calls.streams.values() if stream.method.is_open)
            if held > _OPEN_RECEIVE_MAX:
                raise _too_much()
        self._shared.received.refuse_largest()
        if not stream.keeps_bytes:  # it was the one
            raise _too_much()

    def refuse_largest(self) -> None:
        """Refuse the call that holds most of its request; see `shared.Receiver`."""
        max(self._calls.streams.values(), key=lambda stream: stream.held).fail(_too_much())

    def end(self, stream: Stream) -> None:
        """Take END_STREAM: a plain call can start, a streaming one sees its last message."""
        if 0 <= stream.content_length != stream.received:
            raise StreamError(stream.id, ErrorCode.PROTOCOL_ERROR, "less DATA than content-length")
        stream.received_end = True
        if (stream.assembler is not None and len(stream.assembler)) or (
            stream.inbox is None and stream.request is None and stream.keeps_bytes
        ):
            self._calls.budget.charge(_REFUSED_COST)
            stream.fail(malformed())
        elif stream.started:
            stream.wake()
        else:
            self._calls.start(stream)

    def consumed(self, stream: Stream, size: int) -> None:
        """Take that a streaming handler has a message of `size` bytes: the client may send more."""
        self._hold(stream, -size)
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
        stream.request = None
        if stream.inbox is not None:
            stream.inbox.clear()
