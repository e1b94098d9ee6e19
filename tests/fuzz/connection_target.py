"""A whole connection: whatever a client sends and whenever, nothing escapes, little is held, answers keep the rules.

Input: a byte of options (bit 0: raw bytes follow, greeting and all; bit 1: time passes, so that work is sliced), then
frames behind a greeting. Frames of kinds above 0xF0, which mean nothing in HTTP/2, are what happens around it.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import hpack
from hyperframe.frame import ContinuationFrame, DataFrame, Frame, HeadersFrame, RstStreamFrame

from shortener.rpc.http2 import frames
from tests.fuzz.h2_virtual import CACHED_BLOCKS_MAX, CLOSED_MAX, GRPC, REPLY_MAX, World, cut, number, virtual
from tests.fuzz.targets import Check

GREETING = frames.PREFACE + frames.frame(frames.SETTINGS, 0, 0)
FULL, ROOM, PASS, OPEN, DRAIN, STOP = range(0xF1, 0xF7)
"""The transport takes no more; takes more again; 1/10 s for each unit of flags pass; the gate opens; drain; stop."""


class Client:
    """What the other side may expect: its windows at their widest, and the streams it opened."""

    def __init__(self) -> None:
        self.initial = frames.WINDOW_DEFAULT
        self.window = frames.WINDOW_DEFAULT
        self.windows: dict[int, int] = {}
        self.opened = 0

    def sent(self, kind: int, stream_id: int, payload: bytes) -> None:
        if kind == frames.WINDOW_UPDATE and stream_id:
            self.windows[stream_id] = self.windows.get(stream_id, 0) + (number(payload) & frames.WINDOW_MAX)
        elif kind == frames.WINDOW_UPDATE:
            self.window += number(payload) & frames.WINDOW_MAX
        elif kind == frames.SETTINGS and len(payload) % 6 == 0:
            pairs = [payload[start : start + 6] for start in range(0, len(payload), 6)]
            self.initial = max([self.initial, *(number(pair[2:]) for pair in pairs if pair[:2] == b"\0\x04")])
        elif kind == frames.HEADERS:
            self.opened = max(self.opened, stream_id)

    def judge(self, data: bytes) -> None:
        """See that our own bytes are frames that may be sent where they are."""
        decoder, block, taken, ended, gone = hpack.Decoder(), b"", dict[int, int](), set[int](), False
        for part in cut(data):
            assert not gone, "a frame after the last GOAWAY"
            frame, length = Frame.parse_frame_header(memoryview(part[:9]))
            frame.parse_body(memoryview(part[9:]))
            assert len(part) == 9 + length
            stream_id = frame.stream_id
            assert stream_id <= self.opened
            if isinstance(frame, HeadersFrame | ContinuationFrame):
                block += frame.data
                if "END_HEADERS" in frame.flags:
                    decoder.decode(block)
                    block = b""
            assert not block or isinstance(frame, HeadersFrame | ContinuationFrame)
            if isinstance(frame, HeadersFrame | DataFrame):
                assert stream_id not in ended
            if isinstance(frame, DataFrame):
                taken[stream_id] = taken.get(stream_id, 0) + length
                assert taken[stream_id] <= self.initial + self.windows.get(stream_id, 0)
            if isinstance(frame, RstStreamFrame) or "END_STREAM" in frame.flags:
                ended.add(stream_id)
        assert sum(taken.values()) <= self.window


def bounded(world: World) -> None:
    """See that the connection holds no more than its limits say."""
    calls, reader, decoder = world.connection.calls, world.connection._reader, world.connection.calls._decoder
    assert len(calls.streams) <= GRPC.streams_max
    assert calls.running <= GRPC.streams_max
    assert len(calls._heads) <= CACHED_BLOCKS_MAX
    assert len(calls._closed) + len(calls._closed_before) <= 2 * CLOSED_MAX
    assert len(calls._postponed) <= GRPC.streams_max
    assert decoder._size <= 4096
    assert len(reader._block or b"") <= 2 * GRPC.header_list_size_max + frames.FRAME_SIZE_MAX
    assert calls.inbound.held == sum(stream.held for stream in calls.streams.values()) <= GRPC.receive_max
    assert world.shared.unsent.size == world.connection.outbound.held <= GRPC.unsent_total_max + REPLY_MAX + 100


def listening(world: World) -> None:
    """See that a connection which is open, and whose client takes what we send, has read and sent all it could."""
    if not (world.wire.closing or world.wire.full):
        assert world.wire.reading
        assert not world.wire.pending
        reader = world.connection._reader
        left = reader._data[reader._position :]
        assert len(left) < 9 or len(left) < 9 + int.from_bytes(left[:3], "big")
        outbound, calls = world.connection.outbound, world.connection.calls
        assert not outbound._out
        assert outbound.window <= 0 or all(stream.send_window <= 0 for stream in outbound._blocked)
        assert not (outbound.has_room and outbound._room_waiters)
        assert not (calls.may_start and calls._postponed)


def happen(world: World, kind: int, flags: int) -> None:
    """Let something happen around the connection."""
    if kind in (FULL, ROOM):
        world.wire.fill(full=kind == FULL)
    elif kind == PASS:
        world.clock.now += flags / 10
        world.loop.do(world.connection.check, world.clock.now)
    elif kind == OPEN:
        world.loop.do(world.odd.gate.set)
    elif kind == DRAIN:
        world.loop.do(world.connection.leave)
    elif kind == STOP:
        world.loop.do(world.connection.stop)
    else:
        world.loop.turn()


@contextmanager
def target() -> Iterator[Check]:
    with virtual() as (loop, clock):

        def check(data: bytes) -> None:
            options, data = (data[0], data[1:]) if data else (0, b"")
            world, client = World(loop, clock), Client()
            clock.step = 0.0005 if options & 2 else 0.0
            world.wire.deliver(data if options & 1 else GREETING)
            for part in () if options & 1 else cut(data):
                if len(part) >= 9 and part[3] > 0xF0:
                    happen(world, part[3], part[4])
                else:
                    if len(part) >= 9:
                        client.sent(part[3], int.from_bytes(part[5:9], "big") & frames.STREAM_ID_MAX, part[9:])
                    world.wire.deliver(part)
                bounded(world)
            world.settle()
            bounded(world)
            listening(world)
            world.close()
            if not options & 1:
                client.judge(b"".join(world.wire.sent))

        yield check
