"""The sending half of a connection: frames of one turn leave in one write, data waits for the client's windows.

Handlers wait too, while too much waits for a slow client (backpressure).
"""

import asyncio
import struct
from collections import deque
from time import monotonic
from typing import Generic, Protocol, TypeVar

from grpclib import GRPCError
from grpclib.const import Status

from shortener.rpc.http2 import frames, hpack
from shortener.rpc.http2.errors import ErrorCode, ProtocolError, StreamError
from shortener.rpc.http2.head import ACCEPT_ENCODING, CONTENT_TYPE, PLAIN

_FLUSH_SIZE = 65_536
_PATIENCE_SECONDS = 1.0  # an answer that nobody has taken from for so long makes room for others
_MESSAGE_HEAD = struct.Struct(">BI").pack
_FAST_HEAD = struct.Struct(">5sI3sIBIBI").pack
_FAST_TAIL = struct.Struct(">5sIB").pack
_HEADERS_OF_3 = b"\x00\x00\x03\x01\x04"
_TRAILERS_OF_1 = b"\x00\x00\x01\x01\x05"

_STATUS_200 = hpack.indexed(8)
_HEAD_FIELDS = (("content-type", CONTENT_TYPE), ("grpc-accept-encoding", ACCEPT_ENCODING))
_HEAD_PLAIN = _STATUS_200 + b"".join(hpack.literal(*field) for field in _HEAD_FIELDS)
_HEAD_INSERT = _STATUS_200 + b"".join(hpack.literal(*field, insert=True) for field in _HEAD_FIELDS)
_HEAD_ALONE = _STATUS_200 + hpack.indexed(63) + hpack.indexed(62)
_HEAD_SHORT = _STATUS_200 + hpack.indexed(64) + hpack.indexed(63)
_OK_PLAIN = hpack.literal("grpc-status", "0")
_OK_INSERT = hpack.literal("grpc-status", "0", insert=True)
_OK_SHORT = hpack.indexed(62)


class Holder(Protocol):
    """A connection's half, and how many bytes it holds for its client."""

    held: int


H = TypeVar("H", bound=Holder)


class Pool(Generic[H]):
    """Bytes held for all clients of a server: `size` of them by `holders`, and at most `most`, which holders see to."""

    __slots__ = ("holders", "most", "size")

    def __init__(self, most: int) -> None:
        self.most = most
        self.size = 0
        self.holders: dict[H, None] = {}  # in the order in which they began to hold some

    def add(self, holder: H, size: int) -> None:
        """Let `holder` hold `size` bytes more, or less."""
        self.size += size
        holder.held += size
        if not holder.held:
            self.holders.pop(holder, None)
        elif holder.held == size:
            self.holders[holder] = None


class Sender(Protocol):
    """A stream as its connection's sending half knows it: its window, and what waits for it."""

    id: int
    send_window: int
    queue: bytearray | None  # DATA that waits
    tail: bytes | None  # trailers behind it
    progress_at: float  # when `queue` last shrank, by the monotonic clock

    def end_sent(self) -> None:
        """End the stream: END_STREAM went out."""

    def give_up(self) -> None:
        """Reset the stream, because its client takes nothing."""


class Outbound:
    """Frames to be sent on one connection.

    `held` is how many bytes wait for windows or for the transport. Above `unsent_max` handlers wait before they send
    more. Our answers' usual fields are kept in the client's dynamic table, always in the same order, so that an OK
    answer costs four bytes of HPACK.
    """

    def __init__(
        self,
        transport: asyncio.WriteTransport,
        loop: asyncio.AbstractEventLoop,
        unsent: "Pool[Outbound]",
        *,
        unsent_max: int,
    ) -> None:
        self._transport = transport
        self._loop = loop
        self._unsent = unsent
        self._unsent_max = unsent_max
        self._out: list[bytes] = []
        self._out_size = 0
        self._flush_due = False
        self._lost = False
        self._blocked: dict[Sender, None] = {}
        self._room_waiters: deque[asyncio.Future[None]] = deque()
        self._sent_waiters: dict[Sender, asyncio.Future[None]] = {}
        self._indexed: int | None = 0  # how many of our fields the client's table holds; None: it may hold none
        self._prefix = b""  # what the next header block must begin with
        self.held = 0
        self.window = frames.WINDOW_DEFAULT
        self.initial_window = frames.WINDOW_DEFAULT
        self.frame_size_max = frames.FRAME_SIZE_MAX
        self.data_sent = 0  # bytes of DATA beyond whole answers; whoever reads it sets it back
        self.writable = True  # the transport takes more
        self.held_back = False  # while input is handled: its end flushes

    # Frames.

    def write(self, data: bytes) -> None:
        """Send a frame, with all others of this turn."""
        self._out.append(data)
        self._out_size += len(data)
        if not self.held_back:
            self._schedule()

    def _schedule(self) -> None:
        if not self._flush_due:
            self._flush_due = True
            self._loop.call_soon(self._flush_soon)

    def _flush_soon(self) -> None:
        self._flush_due = False
        self.flush()

    def flush(self) -> None:
        """Hand what was written to the transport, in one piece."""
        if self._out:
            data = self._out[0] if len(self._out) == 1 else b"".join(self._out)
            self._out.clear()
            self._out_size = 0
            if not self._lost:
                self._transport.write(data)

    def lose(self) -> None:
        """Write nothing more: the connection is lost, and with some event loops writing would be an error."""
        self.writable = False
        self._lost = True

    def _head(self) -> bytes:
        """Return the block of usual response headers, and count what it inserts."""
        if self._indexed is None:
            block = self._prefix + _HEAD_PLAIN
            self._prefix = b""
            return block
        if self._indexed == 0:
            self._indexed = 2
            return _HEAD_INSERT
        return _HEAD_ALONE if self._indexed == 2 else _HEAD_SHORT

    def _ok(self) -> bytes:
        """Return the block of trailers that say OK; response headers went before it on this connection."""
        if self._indexed is None:
            block = self._prefix + _OK_PLAIN
            self._prefix = b""
            return block
        if self._indexed == 2:
            self._indexed = 3
            return _OK_INSERT
        return _OK_SHORT

    def headers(self, stream_id: int) -> None:
        """Send response headers."""
        self._block(stream_id, 0, self._head())

    def _block(self, stream_id: int, flags: int, block: bytes) -> None:
        size = self.frame_size_max
        if len(block) <= size:
            self.write(frames.frame(frames.HEADERS, flags | frames.END_HEADERS, stream_id, block))
            return
        self.write(frames.frame(frames.HEADERS, flags, stream_id, block[:size]))
        for start in range(size, len(block), size):
            last = frames.END_HEADERS if start + size >= len(block) else 0
            self.write(frames.frame(frames.CONTINUATION, last, stream_id, block[start : start + size]))

    def refuse(self, stream_id: int, block: bytes) -> None:
        """Send a whole answer that is one header block."""
        block, self._prefix = self._prefix + block, b""
        self._block(stream_id, frames.END_STREAM, block)

    def trailers_only(self, stream: Sender, block: bytes) -> None:
        """Send an answer without a message: `block` is the status."""
        self.refuse(stream.id, PLAIN + block)
        stream.end_sent()

    def answer(self, stream: Sender, reply: bytes) -> None:
        """Send a whole OK answer: headers, one message, trailers. For most calls this is one write of three frames."""
        size = len(reply) + 5
        if (
            self._indexed != 3
            or size > self.window
            or size > stream.send_window
            or size > self.frame_size_max
            or self._blocked
            or not self.writable
        ):
            self.headers(stream.id)
            self.message(stream, reply)
            self.finish(stream, None)
            return
        self.window -= size
        stream_id = stream.id
        head = _FAST_HEAD(_HEADERS_OF_3, stream_id, _HEAD_SHORT, size << 8, 0, stream_id, 0, size - 5)
        self._out += (head, reply, _FAST_TAIL(_TRAILERS_OF_1, stream_id, 0xBE))
        self._out_size += size + 31
        stream.end_sent()
        if self._out_size > _FLUSH_SIZE:
            self.flush()
        if not self.held_back:
            self._schedule()

    def message(self, stream: Sender, message: bytes) -> None:
        """Send one length-prefixed message as far as the windows let it, and queue the rest."""
        data = _MESSAGE_HEAD(0, len(message)) + message
        if stream.queue is None and self.writable:
            size = min(len(data), self.window, stream.send_window, self.frame_size_max)
            if size == len(data):
                self._data(stream, data)
                return
        if stream.queue is None:
            stream.queue = bytearray()
            stream.progress_at = monotonic()
        stream.queue += data
        self._unsent.add(self, len(data))
        self._blocked[stream] = None
        self._serve(stream)

    def finish(self, stream: Sender, block: bytes | None) -> None:
        """Send trailers behind all data of the stream; None stands for OK."""
        if stream.queue is not None:
            stream.tail = _OK_PLAIN if block is None else block
            return
        prefix, self._prefix = self._prefix, b""
        self._block(stream.id, frames.END_STREAM, prefix + (self._ok() if block is None else block))
        stream.end_sent()

    def drop(self, stream: Sender) -> None:
        """Forget what waits for a stream that was reset."""
        queue, stream.queue, stream.tail = stream.queue, None, None
        self._blocked.pop(stream, None)
        self._tell_sent(stream)
        if queue:
            self._unsent.add(self, -len(queue))

    def _data(self, stream: Sender, data: bytes) -> None:
        self.window -= len(data)
        self.data_sent += len(data)
        stream.send_window -= len(data)
        self.write(frames.frame(frames.DATA, 0, stream.id, data))
        if self._out_size > _FLUSH_SIZE:
            self.flush()

    def _serve(self, stream: Sender) -> bool:
        """Send what the windows allow of one stream's queue; return whether anything could be sent."""
        queue = stream.queue
        if queue is None:
            return False
        moved = 0
        while self.writable and moved < len(queue):
            size = min(len(queue) - moved, self.window, stream.send_window, self.frame_size_max)
            if size <= 0:
                break
            self._data(stream, bytes(memoryview(queue)[moved : moved + size]))
            moved += size
        if not moved:
            return False
        stream.progress_at = monotonic()
        self._unsent.add(self, -moved)
        if moved < len(queue):
            del queue[:moved]
            return True
        stream.queue = None
        self._blocked.pop(stream, None)
        tail, stream.tail = stream.tail, None
        if tail is not None:
            self.finish(stream, tail)
        else:
            self._tell_sent(stream)
        return True

    # Backpressure.

    @property
    def has_room(self) -> bool:
        """Whether little enough waits to be sent for more to be made."""
        return self.held <= self._unsent_max

    def check_room(self, size: int) -> None:
        """See that an answer of `size` bytes may wait.

        When all connections hold too much, answers that nobody takes make room; when there are none, GRPCError
        RESOURCE_EXHAUSTED is raised. An answer may be of any size when nothing else waits.
        """
        unsent = self._unsent
        then = monotonic() - _PATIENCE_SECONDS
        while unsent.size and unsent.size + size > unsent.most:
            slowest = min((each.slowest for each in unsent.holders), key=lambda stream: stream.progress_at)
            if slowest.progress_at > then:
                raise GRPCError(Status.RESOURCE_EXHAUSTED, "too much waits to be sent")
            slowest.give_up()

    @property
    def slowest(self) -> Sender:
        """The stream that has sent nothing for longest, although something waits."""
        return min(self._blocked, key=lambda stream: stream.progress_at)

    async def wait_for_room(self, size: int) -> None:
        """Wait until this connection may take another message of `size` bytes; raises what `check_room` raises."""
        while not self.has_room:
            waiter = self._loop.create_future()
            self._room_waiters.append(waiter)
            await waiter
        self.check_room(size)

    async def wait_until_sent(self, stream: Sender) -> None:
        """Wait until the client has taken what waits on `stream`, or has gone."""
        while stream.queue is not None:
            waiter = self._sent_waiters[stream] = self._loop.create_future()
            try:
                await waiter
            finally:
                self._sent_waiters.pop(stream, None)

    def _tell_sent(self, stream: Sender) -> None:
        waiter = self._sent_waiters.get(stream)
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    def make_room(self) -> None:
        """Wake those who wait for room, if there is some."""
        while self._room_waiters and self.has_room:
            waiter = self._room_waiters.popleft()
            if not waiter.done():
                waiter.set_result(None)

    # What the client says.

    def pump(self) -> None:
        """Send what windows or the transport have room for again, the longest waiting stream first."""
        for stream in list(self._blocked):
            if self.window <= 0 or not self.writable:
                return
            if self._serve(stream) and stream in self._blocked:
                self._blocked[stream] = self._blocked.pop(stream)

    def stalled_since(self, then: float) -> list[Sender]:
        """Return the streams that have sent nothing since `then`, although something waits."""
        return [stream for stream in self._blocked if stream.progress_at < then]

    def grow(self, increment: int) -> None:
        """Handle a WINDOW_UPDATE for the connection."""
        self.window += increment
        if self.window > frames.WINDOW_MAX:
            raise ProtocolError(ErrorCode.FLOW_CONTROL_ERROR, "connection window above 2^31-1")
        if self._blocked:
            self.pump()

    def grow_stream(self, stream: Sender, increment: int) -> None:
        """Handle a WINDOW_UPDATE for a stream."""
        stream.send_window += increment
        if stream.send_window > frames.WINDOW_MAX:
            raise StreamError(stream.id, ErrorCode.FLOW_CONTROL_ERROR, "stream window above 2^31-1")
        self._serve(stream)

    def shrink_table(self, size: int) -> None:
        """Handle the client's SETTINGS_HEADER_TABLE_SIZE: below the default we do without the table for good."""
        if size < 4096 and self._indexed is not None:
            self._indexed = None
            self._prefix = hpack.TABLE_OFF
