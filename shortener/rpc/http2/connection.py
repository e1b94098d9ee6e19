"""One client's connection: the asyncio protocol, RFC 9113's connection-level frames, timeouts and leaving."""

import asyncio
import logging
from time import monotonic
from typing import cast

from shortener.net.places import Place
from shortener.rpc.http2 import frames
from shortener.rpc.http2.calls import HEADER_TABLE_SIZE, ConnectionCalls
from shortener.rpc.http2.errors import ErrorCode, ProtocolError, StreamError
from shortener.rpc.http2.outbound import Outbound
from shortener.rpc.http2.shared import SLICE_SECONDS, Shared

log = logging.getLogger(__name__)

_DRAIN = b"drain-it"
_KEEPALIVE = b"keepaliv"
_FRAME_SIZE_USED = 65_536  # of what a client lets us send in one frame
_BLOCK_FACTOR = 2  # a header block as sent is at most so much longer than our list limit says of it decoded
_DRAIN_PING_SECONDS = 5.0  # for a client to say that it has heard GOAWAY, as by grpc-go; later calls are refused
_BUSY_SECONDS_MAX = 30.0  # a call that lasts longer than any answer may take only watches
_CLOSE_SECONDS = 2.0  # for the last bytes to leave after a GOAWAY


class Connection(asyncio.Protocol):
    """Bytes in, answers out. All work of one read is done in slices of `SLICE_SECONDS`."""

    transport: asyncio.Transport
    outbound: Outbound
    calls: ConnectionCalls

    def __init__(self, shared: Shared) -> None:
        self._shared = shared
        self._grpc = shared.grpc
        self._reader = frames.FrameReader(block_size_max=_BLOCK_FACTOR * shared.grpc.header_list_size_max)
        self._waits = False  # for its turn, with input or calls left by an earlier slice
        self.greeted = False  # the client's first SETTINGS came
        self.drain_at = 0.0  # when we asked the client to leave
        self.closed_at = 0.0  # when we closed, or the client did
        self._made_at = self._heard_at = self._active_at = monotonic()
        self._activity = (0, 0, 0)  # changes when something is asked or answered
        self._part: int | None = None  # of a frame or header block that has begun to arrive by `_part_since`
        self._part_since = 0.0
        self._pinged_at = 0.0  # when the unanswered keep-alive ping left, or 0

    # asyncio's side.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Greet the client with our SETTINGS."""
        self.transport = cast("asyncio.Transport", transport)
        shared, grpc = self._shared, self._grpc
        self.outbound = Outbound(self.transport, shared.loop, shared.unsent, unsent_max=grpc.unsent_max)
        place = self._shared.listener.admit(self, self.transport)
        methods = shared.refusals if place is Place.RESERVED else shared.methods
        self.calls = ConnectionCalls(shared, methods, self.transport, self.outbound, self._leave, self._wait_turn)
        tls = transport.get_extra_info("ssl_object")
        if place is Place.NONE or (tls is not None and tls.selected_alpn_protocol() != "h2"):
            self.closed_at = monotonic()
            self.transport.abort()
            return
        self.outbound.write(
            frames.settings(
                [
                    (frames.HEADER_TABLE_SIZE, HEADER_TABLE_SIZE),
                    (frames.MAX_CONCURRENT_STREAMS, grpc.streams_max),
                    (frames.INITIAL_WINDOW_SIZE, grpc.window_size),
                    (frames.MAX_HEADER_LIST_SIZE, grpc.header_list_size_max),
                ]
            )
        )
        if credit := grpc.window_size - frames.WINDOW_DEFAULT:
            self.outbound.write(frames.window_update(0, credit))

    def connection_lost(self, exc: Exception | None) -> None:
        """Cancel what still runs for the client."""
        self.closed_at = self.closed_at or monotonic()
        self.outbound.lose()
        self.calls.abandon_all()
        self._shared.listener.lost(self)

    def pause_writing(self) -> None:
        """Stop reading too: a client that takes no answers gets to ask no more."""
        self.outbound.writable = False
        self.transport.pause_reading()
        self._shared.listener.charge(self)

    def resume_writing(self) -> None:
        """Go on where the client's slowness stopped us."""
        self.outbound.writable = True
        if not self.closed_at:
            self.outbound.pump()
            self.calls.make_room()
            self._wait_turn()

    def data_received(self, data: bytes) -> None:
        """Handle frames, for one slice of time at most."""
        self._heard_at = now = monotonic()
        if self.closed_at:
            return
        self._reader.feed(data)
        if not self._waits and self.outbound.writable:
            self._work(now)

    def _go_on(self) -> None:
        """Handle what an earlier slice left."""
        self._waits = False
        if self.closed_at or not self.outbound.writable:
            return
        self._work(monotonic())
        if not (self._waits or self.closed_at) and self.outbound.writable:
            self.transport.resume_reading()

    def _work(self, now: float) -> None:
        end = now + SLICE_SECONDS
        outbound = self.outbound
        outbound.held_back = True
        try:
            self.calls.start_postponed()
            while not self.closed_at:
                try:
                    found = self._reader.next()
                    if found is None:
                        break
                    self._frame(found, now)
                except StreamError as error:
                    log.debug("stream error from a client: %s", error.reason)
                    self.calls.fault(error)
                if not outbound.writable:
                    break  # resume_writing goes on
                if monotonic() > end:
                    self._wait_turn()
                    break
        except ProtocolError as error:
            self.fail(error)
        finally:
            outbound.held_back = False
            outbound.flush()

    def _wait_turn(self) -> None:
        if self._waits or self.closed_at:
            return
        self._waits = True
        self.transport.pause_reading()
        self._shared.continue_later(self._go_on)

    # Frames.

    def _frame(self, frame: frames.Frame, now: float) -> None:
        kind, flags, stream_id, payload, length = frame
        if not self.greeted:
            if kind != frames.SETTINGS or flags & frames.ACK:
                raise ProtocolError(ErrorCode.PROTOCOL_ERROR, "the first frame must be SETTINGS")
            self.greeted = True
            if self.drain_at:
                self._ask_to_leave()
        if kind == frames.DATA:
            self.calls.data(flags, stream_id, payload, length)
        elif kind == frames.HEADERS:
            self.calls.headers(flags, stream_id, payload, now)
        elif kind == frames.RST_STREAM:
            self.calls.was_reset(stream_id)
        elif kind == frames.WINDOW_UPDATE:
            self._window_update(stream_id, int.from_bytes(payload, "big") & frames.WINDOW_MAX)
        elif kind == frames.PING:
            self._ping(flags, payload)
        elif kind == frames.SETTINGS:
            self._settings(flags, payload)
        elif kind == frames.GOAWAY:
            self.calls.budget.charge()
            self._leave_when_empty()
        else:  # PRIORITY, the parts of a header block, and kinds that we do not know
            self.calls.budget.charge()

    def _window_update(self, stream_id: int, increment: int) -> None:
        self.calls.budget.refund(self.outbound.data_sent >> 10)
        self.outbound.data_sent = 0
        self.calls.budget.charge()
        if not stream_id:
            if not increment:
                raise ProtocolError(ErrorCode.PROTOCOL_ERROR, "WINDOW_UPDATE by 0")
            self.outbound.grow(increment)
            self.calls.make_room()
            return
        if stream_id > self.calls.last_id:
            raise ProtocolError(ErrorCode.PROTOCOL_ERROR, "WINDOW_UPDATE on an idle stream")
        if not increment and not self.calls.is_ignored(stream_id):
            raise StreamError(stream_id, ErrorCode.PROTOCOL_ERROR, "WINDOW_UPDATE by 0")
        stream = self.calls.streams.get(stream_id)
        if stream is None:
            return
        self.outbound.grow_stream(stream, increment)
        self.calls.make_room()

    def _ping(self, flags: int, payload: bytes) -> None:
        if not flags & frames.ACK:
            self.calls.budget.charge()
            self.outbound.write(frames.frame(frames.PING, frames.ACK, 0, payload))
        elif payload == _DRAIN and self.drain_at:
            self._last_goaway()
        elif payload == _KEEPALIVE and self._pinged_at:
            self._pinged_at = 0.0
        else:
            self.calls.budget.charge()

    def _settings(self, flags: int, payload: bytes) -> None:
        self.calls.budget.charge(1 + len(self.calls.streams) // 64)
        if flags & frames.ACK:
            return
        window = self.outbound.initial_window
        for identifier, value in frames.read_settings(payload):
            if identifier == frames.MAX_FRAME_SIZE:
                self.outbound.frame_size_max = min(value, _FRAME_SIZE_USED)
            elif identifier == frames.HEADER_TABLE_SIZE:
                self.outbound.shrink_table(value)
            elif identifier == frames.INITIAL_WINDOW_SIZE:
                window = value
        if window != self.outbound.initial_window:
            self._initial_window(window)
        self.outbound.write(frames.frame(frames.SETTINGS, frames.ACK, 0))

    def _initial_window(self, value: int) -> None:
        """Move every stream's window by the difference, below zero too (section 6.9.2)."""
        difference = value - self.outbound.initial_window
        self.outbound.initial_window = value
        for stream in self.calls.streams.values():
            stream.send_window += difference
            if stream.send_window > frames.WINDOW_MAX:
                raise ProtocolError(ErrorCode.FLOW_CONTROL_ERROR, "a stream's window rose above 2^31-1")
        self.outbound.pump()
        self.calls.make_room()

    # What the listener asks; see `places.Connection`.

    @property
    def held(self) -> int:
        """Nothing beside what waits in the transport: what calls hold is bounded with the calls."""
        return 0

    def waits_since(self) -> float | None:
        """Return since when the client has asked for nothing and taken nothing, None while a call is being answered."""
        is_busy = self.calls.streams and monotonic() - self._active_at < _BUSY_SECONDS_MAX
        return None if is_busy else self._active_at

    def check(self, now: float) -> bool:
        """Do what is due; return whether the client has kept us waiting for too long."""
        if self.closed_at:
            return now - self.closed_at > _CLOSE_SECONDS
        if self.drain_at and now - self.drain_at > _DRAIN_PING_SECONDS:
            if not self.greeted:
                self.go_away(ErrorCode.NO_ERROR)
            self._last_goaway()
        if not self.greeted:
            return now - self._made_at > self._grpc.handshake_seconds
        self.calls.expire_overdue(now)
        activity = (self.calls.last_id, len(self.calls.streams), self.outbound.window)
        if activity != self._activity:
            self._activity, self._active_at = activity, now
        elif self._grpc.idle_seconds and not self.calls.streams and now - self._active_at > self._grpc.idle_seconds:
            self.go_away(ErrorCode.NO_ERROR, "idle")
        for stream in self.outbound.stalled_since(now - self._grpc.write_timeout_seconds):
            stream.give_up()
        return self._is_dead(now) or self._is_late(now)

    def _is_late(self, now: float) -> bool:
        """Return whether the rest of a frame or header block takes too long to arrive."""
        part = self._reader.part if self.outbound.writable and not self._waits else None
        if part is None or part != self._part:
            self._part, self._part_since = part, now
        return now - self._part_since > self._grpc.message_timeout_seconds

    def _is_dead(self, now: float) -> bool:
        """Ping a silent client; return whether it has not answered in time."""
        if self._heard_at > self._pinged_at:
            self._pinged_at = 0.0
        if self._pinged_at:
            return now - self._pinged_at > self._grpc.keepalive_timeout_seconds
        if now - self._heard_at >= self._grpc.keepalive_seconds and not self.closed_at:
            self._pinged_at = now
            self.outbound.write(frames.frame(frames.PING, 0, 0, _KEEPALIVE))
        return False

    # Leaving.

    def fail(self, error: ProtocolError) -> None:
        """End the connection for what the client did."""
        log.info("closing a connection: %s (%s)", error.reason, error.code.name)
        self.go_away(error.code, error.reason)

    def go_away(self, code: ErrorCode, reason: str = "") -> None:
        """Say GOAWAY, cancel what runs and close when the last bytes have left."""
        if self.closed_at:
            return
        self.closed_at = monotonic()
        self.calls.abandon_all()
        self.outbound.write(frames.goaway(self.calls.last_id, code, reason))
        self.outbound.flush()
        self.transport.close()
        self._reader = frames.FrameReader(block_size_max=0)  # what else it sent is not kept

    def leave(self) -> None:
        """Ask the client to open no more calls (section 6.8), and close after the last."""
        if self.closed_at or self.drain_at:
            return
        self.drain_at = monotonic()
        if self.greeted:  # else when it is: its first call may be on the way
            self._ask_to_leave()

    def _ask_to_leave(self) -> None:
        self.outbound.write(frames.goaway(frames.STREAM_ID_MAX, ErrorCode.NO_ERROR))
        self.outbound.write(frames.frame(frames.PING, 0, 0, _DRAIN))

    def _last_goaway(self) -> None:
        """Name the last call that will be answered: all that the client sent before it heard the first GOAWAY."""
        if self.calls.final_id == frames.STREAM_ID_MAX and not self.closed_at:
            self.calls.final_id = self.calls.last_id
            self.outbound.write(frames.goaway(self.calls.last_id, ErrorCode.NO_ERROR))
            self._leave_when_empty()

    def _leave_when_empty(self) -> None:
        self.calls.leaving = True
        if not self.calls.streams:
            self._leave()

    def _leave(self) -> None:
        if not self.closed_at:
            self.closed_at = monotonic()
            self._shared.loop.call_soon(self._close)

    def _close(self) -> None:
        self.outbound.flush()
        self.transport.close()

    def stop(self) -> None:
        """Answer what is unanswered with UNAVAILABLE, and close."""
        self.calls.stop()
        self.go_away(ErrorCode.NO_ERROR)
