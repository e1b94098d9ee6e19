"""The receiving half of a connection: its budget, DATA frames, windows, and what is held of unfinished messages."""

from collections.abc import Mapping
from time import monotonic

from grpclib import GRPCError
from grpclib.const import Status

from shortener.rpc.http2 import frames
from shortener.rpc.http2.errors import ErrorCode, ProtocolError, StreamError
from shortener.rpc.http2.messages import PREFIX, Assembler, inflate, malformed
from shortener.rpc.http2.outbound import Outbound, Pool
from shortener.rpc.http2.stream import Stream

_SMALL = 256
_INFLATED_SHIFT = 12  # inflating costs a unit of the budget for each 4 KiB that come out of it beyond what went in
_OPEN_RECEIVE_MAX = 4096  # bytes of unfinished requests by callers who need not show anything, on one connection


def _too_much() -> GRPCError:
    return GRPCError(Status.RESOURCE_EXHAUSTED, "too much is being received")


class Budget:
    """A connection's budget of work that answers no call. It holds `most` units, and `refill` come back each second.

    A frame that does no work (PING, SETTINGS, PRIORITY, RST_STREAM, WINDOW_UPDATE, CONTINUATION, unknown and empty
    ones) costs one; header bytes decoded in vain, inflated bytes and refused messages cost by what they take. Finished
    calls give some back. An honest client, which sends a few such frames with each call and a ping now and then,
    never notices; a flood ends in ENHANCE_YOUR_CALM.
    """

    __slots__ = ("_left", "_most", "_refill", "_since")

    def __init__(self, *, most: int, refill: int) -> None:
        self._most = most
        self._refill = refill
        self._left: float = most
        self._since = monotonic()

    def charge(self, units: int = 1) -> None:
        """Take `units`; raises ProtocolError ENHANCE_YOUR_CALM when there are none left."""
        self._left -= units
        if self._left < 0:
            now = monotonic()
            self._left = min(self._most, self._left + (now - self._since) * self._refill)
            self._since = now
            if self._left < 0:
                raise ProtocolError(ErrorCode.ENHANCE_YOUR_CALM, "too much work that answers no call")

    def refund(self, units: int) -> None:
        """Give `units` back for useful work, up to the whole budget."""
        if self._left < self._most:
            self._left += units


class Inbound:
    """Takes the DATA of one connection's calls, `streams` by their ids, where it is not a whole request in one frame.

    A stream's window is given back, for a plain call, while its message is incomplete, and for a streaming one when
    its handler takes the message. What is `held` in between is bounded: a call that goes beyond its connection's share,
    `receive_max` bytes, is answered RESOURCE_EXHAUSTED, and when all connections hold too much, so is one of the
    connection that holds most.
    """

    def __init__(
        self,
        outbound: Outbound,
        streams: Mapping[int, Stream],
        budget: Budget,
        received: "Pool[Inbound]",
        *,
        size_max: int,
        receive_max: int,
        window: int,
    ) -> None:
        self._outbound = outbound
        self._streams = streams
        self._budget = budget
        self._received = received
        self._size_max = size_max
        self._receive_max = receive_max
        self.held = 0
        self.window = window

    def take(self, stream: Stream, flags: int, payload: bytes, length: int) -> bool:
        """Handle a call's DATA, or its end without any, and return whether the request is complete.

        Raises GRPCError for what must be refused, StreamError for what breaks the protocol's rules, and ProtocolError
        when the connection's budget is spent.
        """
        ends = bool(flags & frames.END_STREAM)
        if stream.received_end:
            raise StreamError(stream.id, ErrorCode.STREAM_CLOSED, "DATA after END_STREAM")
        stream.receive_window -= length
        if stream.receive_window < 0:
            raise StreamError(stream.id, ErrorCode.FLOW_CONTROL_ERROR, "more DATA than the stream's window")
        stream.received += len(payload)
        promised = stream.content_length
        if 0 <= promised < stream.received or (ends and 0 <= promised != stream.received):
            raise StreamError(stream.id, ErrorCode.PROTOCOL_ERROR, "DATA does not have the length of content-length")
        stream.received_end = ends
        if not stream.keeps_bytes:
            self._budget.charge()
            return ends
        count = self._assemble(stream, payload) if payload else 0
        if count:
            self._budget.refund(1)
        elif len(payload) < _SMALL and not ends:
            self._budget.charge()
        stream.uncredited += length
        self._credit(stream)
        if count or ends:
            stream.wake()
        if ends and (stream.has_part or (stream.inbox is None and stream.request is None)):
            raise malformed()
        return ends

    def _assemble(self, stream: Stream, payload: bytes) -> int:
        """Put a payload's bytes where they belong, and return how many messages they complete."""
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
                raise GRPCError(Status.UNIMPLEMENTED, "the method takes one message")
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
            self._budget.charge(self._size_max >> _INFLATED_SHIFT)
            raise
        more = len(message) - len(packed)
        self._hold(stream, more)
        self._keep_to_share(stream)
        self._budget.charge(max(0, more >> _INFLATED_SHIFT))
        return message

    def _hold(self, stream: Stream, size: int) -> None:
        stream.held += size
        self._received.add(self, size)

    def _keep_to_share(self, stream: Stream) -> None:
        """Raise GRPCError when a call has brought its connection above its share, or all of them above theirs."""
        if self.held > self._receive_max:
            raise _too_much()
        if stream.method.is_open:
            held = sum(each.held for each in self._streams.values() if each.method.is_open)
            if held > _OPEN_RECEIVE_MAX:
                raise _too_much()
        received = self._received
        while received.size > received.most:
            largest = max(received.holders, key=lambda each: each.held).largest
            if largest is stream:
                raise _too_much()
            largest.fail(_too_much())

    @property
    def largest(self) -> Stream:
        """The call that holds most of its request."""
        return max(self._streams.values(), key=lambda stream: stream.held)

    def consumed(self, stream: Stream, size: int) -> None:
        """Release `size` bytes of a request: a streaming call's client may send others."""
        self._hold(stream, -size)
        if not stream.over:
            self._credit(stream)

    def _credit(self, stream: Stream) -> None:
        """Give the stream's window back, unless its handler is behind with its messages."""
        if stream.uncredited >= self.window >> 1 and not stream.received_end and not stream.inbox:
            self._outbound.write(frames.window_update(stream.id, stream.uncredited))
            stream.receive_window += stream.uncredited
            stream.uncredited = 0
