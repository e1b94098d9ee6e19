"""The calls of one connection: opening, feeding, starting and ending streams (RFC 9113 section 5)."""

import asyncio
from collections import deque
from collections.abc import Callable, Mapping
from time import monotonic

from grpclib import GRPCError
from grpclib.const import Status

from shortener.rpc.http2 import frames
from shortener.rpc.http2.errors import ErrorCode, ProtocolError, StreamError
from shortener.rpc.http2.head import MALFORMED, TOO_LARGE, Head, Method, check_fields, read_head
from shortener.rpc.http2.hpack import Decoder
from shortener.rpc.http2.inbound import Budget, Inbound
from shortener.rpc.http2.messages import PREFIX
from shortener.rpc.http2.outbound import Outbound
from shortener.rpc.http2.shared import Shared
from shortener.rpc.http2.stream import Stream

HEADER_TABLE_SIZE = 4096
"""Bytes of the dynamic table that the client's header blocks may refer to."""
_CLOSED_MAX = 128
_CACHED_BLOCKS_MAX = 128
_CACHED_BLOCK_MAX = 512  # bytes; longer blocks are decoded each time
_FINISHED_REFUND = 8
_RESET_COST = 2
_REFUSED_COST = 4
_DECODED_SHIFT = 6  # a header block that was decoded in vain costs a unit for each 64 bytes


class ConnectionCalls:
    """Streams by id, and what is remembered of closed ones.

    `running` counts handlers that wait, also those whose stream was reset and that have not noticed yet. There are
    `streams_max` at most, so that resets do not buy more concurrency; calls beyond wait, since their client is in its
    right: it may open a stream for each that it reset.
    """

    def __init__(
        self,
        shared: Shared,
        methods: Mapping[str, Method],
        transport: asyncio.Transport,
        outbound: Outbound,
        on_empty: Callable[[], None],
        on_ready: Callable[[], None],
    ) -> None:
        self._shared = shared
        self._grpc = grpc = shared.grpc
        self._methods = methods
        self.transport = transport
        self.outbound = outbound
        self._on_empty = on_empty
        self._on_ready = on_ready
        self.streams: dict[int, Stream] = {}
        self.budget = Budget(most=grpc.idle_frames_max, refill=grpc.idle_frames_per_second)
        self.inbound = Inbound(
            outbound, self.streams, self.budget, shared.received,
            size_max=grpc.message_size_max, receive_max=shared.receive_max, window=grpc.window_size,
        )  # fmt: skip
        self.last_id = 0
        self.final_id = frames.STREAM_ID_MAX  # GOAWAY's: streams beyond are refused
        self.running = 0
        self.leaving = False  # the connection closes with its last call
        self._decoder = Decoder(table_size_max=HEADER_TABLE_SIZE, list_size_max=grpc.header_list_size_max)
        self._heads: dict[bytes, Head] = {}
        self._postponed: deque[Stream] = deque()
        self._turns: deque[asyncio.Future[None]] = deque()
        self._uncredited = 0  # bytes of the connection's window that the client does not know to be free again
        self._closed: dict[int, bool] = {}  # id -> whether we reset it, and so may still hear of it
        self._closed_before: dict[int, bool] = {}

    # What the client sends.

    def headers(self, flags: int, stream_id: int, block: bytes, now: float) -> None:
        """Handle a whole header block: a new call, or the trailers of one."""
        if stream_id <= self.last_id:
            self._late_headers(flags, stream_id, block)
            return
        if not stream_id & 1:
            raise ProtocolError(ErrorCode.PROTOCOL_ERROR, "a client's stream has an odd number")
        self.last_id = stream_id
        head, cost = self._heads.get(block), 0
        if head is None:
            head, cost = self._read(stream_id, block), len(block) >> _DECODED_SHIFT
        if len(self.streams) >= self._grpc.streams_max or stream_id > self.final_id:
            self.budget.charge(1 + cost)
            self._refuse_stream(stream_id, ErrorCode.REFUSED_STREAM)
            return
        method = head.method
        if method is None:
            self.budget.charge(1 + cost)
            self.outbound.refuse(stream_id, head.refusal)
            self._answered(stream_id, whole=bool(flags & frames.END_STREAM))
            return
        stream = Stream(self, stream_id, head, method, now, cost, self.inbound.window)
        self.streams[stream_id] = stream
        if flags & frames.END_STREAM:
            self._take(stream, flags, b"", 0)
        elif method.request_streams or not head.admitted:
            self.start(stream)

    def _decode(self, block: bytes) -> list[tuple[str, str]] | None:
        """Decode a header block; what is kept of others stands for as long as the dynamic table does."""
        generation = self._decoder.generation
        fields = self._decoder.decode(block)
        if generation != self._decoder.generation:
            self._heads.clear()
        return fields

    def _read(self, stream_id: int, block: bytes) -> Head:
        """Decode and judge a header block; the verdict is kept for as long as the dynamic table stands."""
        generation = self._decoder.generation
        fields = self._decode(block)
        if fields is None:
            return TOO_LARGE
        try:
            head = read_head(fields, self._methods)
        except ProtocolError as error:
            self.budget.charge(len(block) >> _DECODED_SHIFT)
            self.outbound.refuse(stream_id, MALFORMED)
            raise StreamError(stream_id, error.code, error.reason) from None
        if generation == self._decoder.generation and len(block) <= _CACHED_BLOCK_MAX:
            if len(self._heads) >= _CACHED_BLOCKS_MAX:
                self._heads.clear()
            self._heads[block] = head
        return head

    def _late_headers(self, flags: int, stream_id: int, block: bytes) -> None:
        """Handle trailers, or headers for a stream that is closed."""
        stream = self.streams.get(stream_id)
        if stream is None and not self.is_ignored(stream_id):
            if stream_id in self._closed or stream_id in self._closed_before:
                raise ProtocolError(ErrorCode.STREAM_CLOSED, "HEADERS on a closed stream")
            raise ProtocolError(ErrorCode.PROTOCOL_ERROR, "stream numbers must ascend")
        fields = self._decode(block)
        self.budget.charge(1 + (len(block) >> _DECODED_SHIFT))
        if stream is None:
            return
        if stream.received_end:
            raise StreamError(stream_id, ErrorCode.STREAM_CLOSED, "HEADERS after END_STREAM")
        if not flags & frames.END_STREAM:
            raise StreamError(stream_id, ErrorCode.PROTOCOL_ERROR, "trailers without END_STREAM")
        try:
            check_fields(fields or [], trailers=True)
        except ProtocolError as error:
            raise StreamError(stream_id, error.code, error.reason) from None
        self._take(stream, flags, b"", 0)

    def data(self, flags: int, stream_id: int, payload: bytes, length: int) -> None:
        """Handle a DATA frame of `length` bytes, padding included, and give the connection's window back."""
        self._uncredited += length
        if self._uncredited >= self.inbound.window >> 1:
            self.outbound.write(frames.window_update(0, self._uncredited))
            self._uncredited = 0
        stream = self.streams.get(stream_id)
        if stream is None:
            self._late_data(stream_id)
            return
        size = len(payload)
        if (
            flags & frames.END_STREAM
            and not stream.received
            and not stream.received_end
            and size >= PREFIX
            and not payload[0]
            and int.from_bytes(payload[1:PREFIX], "big") == size - PREFIX
            and size - PREFIX <= self._grpc.message_size_max
            and stream.inbox is None
            and stream.content_length in (-1, size)
        ):
            stream.received_end = True
            stream.request = payload
            self.start(stream)
            return
        self._take(stream, flags, payload, length)

    def _late_data(self, stream_id: int) -> None:
        """Handle DATA for a stream that is closed."""
        if stream_id > self.last_id:
            raise ProtocolError(ErrorCode.PROTOCOL_ERROR, "DATA on an idle stream")
        self.budget.charge()
        if not self.is_ignored(stream_id):
            raise StreamError(stream_id, ErrorCode.STREAM_CLOSED, "DATA on a closed stream")

    def _take(self, stream: Stream, flags: int, payload: bytes, length: int) -> None:
        """Hand DATA, or the end of a request, to the receiving half, and start a call whose request is complete."""
        try:
            is_ready = self.inbound.take(stream, flags, payload, length)
        except GRPCError as error:
            self.budget.charge(_REFUSED_COST)
            stream.fail(error)
            return
        if is_ready and not stream.started:
            self.start(stream)

    def _refuse_stream(self, stream_id: int, code: ErrorCode) -> None:
        self._remember(stream_id, reset=True)
        self.outbound.write(frames.rst_stream(stream_id, code))

    # Running.

    def start(self, stream: Stream) -> None:
        """Run the handler, now or when the client has taken enough of what waits for it and others have ended.

        A stream that is postponed may come here again, when its last message has arrived.
        """
        if not self.may_start:
            if stream not in self._postponed:
                self._postponed.append(stream)
            return
        if stream.deadline_at is not None and stream.deadline_at <= monotonic():
            stream.expire()
            return
        stream.started = True
        task = self._shared.runner.start(stream.method.func(stream), stream.finished)
        if task is None:
            return
        stream.task = task
        self.running += 1
        self.set_timer(stream)

    def set_timer(self, stream: Stream) -> None:
        """Have a call ended at its deadline that waits for its handler, or for the client to take its answer."""
        if stream.deadline_at is not None and stream.timer is None and not stream.over:
            stream.timer = self._shared.loop.call_later(stream.deadline_at - monotonic(), stream.expire)

    def handler_ended(self, stream: Stream) -> None:
        """Count a handler as ended; when somebody still wants its answer, the budget gets something back."""
        if not stream.over:
            self.budget.refund(_FINISHED_REFUND)
        if stream.task is not None:
            stream.task = None
            self.running -= 1
            self.make_room()

    async def turn(self) -> None:
        """Wait for a turn of the loop in which no other streaming call of this connection goes on."""
        waiter = self._shared.loop.create_future()
        self._turns.append(waiter)
        if len(self._turns) == 1:
            self._shared.loop.call_soon(self._next_turn)
        await waiter

    def _next_turn(self) -> None:
        waiter = self._turns.popleft()
        if not waiter.done():  # its handler may be cancelled
            waiter.set_result(None)
        if self._turns:
            self._shared.loop.call_soon(self._next_turn)

    def consumed(self, stream: Stream, size: int) -> None:
        """Release `size` bytes of a call's request: the handler has them, or nobody needs them."""
        self.inbound.consumed(stream, size)

    def expire_overdue(self, now: float) -> None:
        """Answer the calls whose deadline passed before they began, or whose messages take too long to arrive."""
        begun_before = now - self._grpc.message_timeout_seconds
        for stream in list(self.streams.values()):
            if not stream.started and stream.deadline_at is not None and stream.deadline_at <= now:
                stream.expire()
            elif stream.message_since < begun_before and stream.lacks_bytes:
                stream.fail(GRPCError(Status.DEADLINE_EXCEEDED, "the message took too long to arrive"))

    def start_postponed(self) -> None:
        """Start what waited for room; call from a plain callback of the loop."""
        while self._postponed and self.may_start:
            stream = self._postponed.popleft()
            if not (stream.over or stream.started):
                self.start(stream)

    def make_room(self) -> None:
        """Wake the handlers that wait for room to send, if there is some, and have postponed calls started."""
        self.outbound.make_room()
        if self._postponed and self.may_start:
            self._on_ready()

    @property
    def may_start(self) -> bool:
        """Whether a further handler may run."""
        return self.outbound.has_room and self.running < self._grpc.streams_max

    def stop(self) -> None:
        """Answer every call with UNAVAILABLE, and cancel its handler."""
        for stream in list(self.streams.values()):
            stream.fail(GRPCError(Status.UNAVAILABLE, "the server is stopping"))

    # Ending.

    def ended(self, stream: Stream) -> None:
        """Forget a stream whose answer is out; a client that still sends is told to stop (section 8.1)."""
        self._forget(stream)
        self._answered(stream.id, whole=stream.received_end)

    def _answered(self, stream_id: int, *, whole: bool) -> None:
        self._remember(stream_id, reset=not whole)
        if not whole:
            self.outbound.write(frames.rst_stream(stream_id, ErrorCode.NO_ERROR))

    def fault(self, error: StreamError) -> None:
        """Reset the stream on which the client broke a rule.

        Raises ProtocolError for a stream that is still idle: RST_STREAM must not be sent there (section 6.4).
        """
        self.budget.charge()
        if error.stream_id > self.last_id:
            raise ProtocolError(error.code, error.reason)
        stream = self.streams.get(error.stream_id)
        if stream is None:
            self._refuse_stream(error.stream_id, error.code)
        else:
            self.reset(stream, error.code)

    def reset(self, stream: Stream, code: ErrorCode) -> None:
        """End a stream from our side, and its handler with it."""
        self._refuse_stream(stream.id, code)
        self._forget(stream)
        if stream.task is not None:
            stream.task.cancel()

    def abandon(self, stream: Stream) -> None:
        """Forget a stream that its client has left: nothing more is sent, the handler is cancelled."""
        self._remember(stream.id, reset=False)
        self._forget(stream)
        if stream.task is not None:
            stream.task.cancel()

    def abandon_all(self) -> None:
        """Forget every stream: the connection ends."""
        for stream in list(self.streams.values()):
            self.abandon(stream)

    def was_reset(self, stream_id: int) -> None:
        """Handle RST_STREAM."""
        if stream_id > self.last_id:
            raise ProtocolError(ErrorCode.PROTOCOL_ERROR, "RST_STREAM on an idle stream")
        stream = self.streams.get(stream_id)
        self.budget.charge(1 if stream is None else _RESET_COST + stream.cost)
        if stream is not None:
            self.abandon(stream)

    def _forget(self, stream: Stream) -> None:
        stream.over = True
        self.streams.pop(stream.id, None)
        if stream.timer is not None:
            stream.timer.cancel()
            stream.timer = None
        if stream.held:
            stream.let_go()
        if stream.waiter is not None:
            stream.wake()
        if not stream.started and stream in self._postponed:
            self._postponed.remove(stream)
        if stream.queue is not None:
            self.outbound.drop(stream)
            self.make_room()
        if self.leaving and not self.streams:
            self._on_empty()

    def _remember(self, stream_id: int, *, reset: bool) -> None:
        if len(self._closed) >= _CLOSED_MAX:
            self._closed_before, self._closed = self._closed, {}
        self._closed[stream_id] = reset

    def is_ignored(self, stream_id: int) -> bool:
        """Whether we reset this stream lately: the client may not know yet."""
        return self._closed.get(stream_id) or self._closed_before.get(stream_id) or False
