"""A gRPC server's connection without sockets and time: a loop, a clock and a transport that the caller moves."""

import asyncio
import logging
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

from shortener.config.sections import Grpc
from shortener.net import listener, places
from shortener.rpc.http2 import RpcServer, calls, connection, inbound, outbound, shared, stream
from tests.support.h2_peer import Odd

GRPC = Grpc(
    message_size_max=40_000,
    streams_max=8,
    header_list_size_max=2000,
    timeout_seconds=4.0,
    idle_frames_max=50,
    idle_frames_per_second=1,
    window_size=65_535,
    receive_max=30_000,
    unsent_max=20_000,
    held_max=100_000,
    unsent_total_max=100_000,
    write_timeout_seconds=5.0,
)
CACHED_BLOCKS_MAX = 4
REPLY_MAX = 150_000
CLOSED_MAX = 8
REPLIES_MAX = 20


class Bounded(Odd):
    """The odd handlers, with an end to how much they answer."""

    async def big(self, stream: Any) -> None:
        await super().big(Limited(stream, REPLY_MAX))

    async def count(self, stream: Any) -> None:
        await super().count(Limited(stream, REPLIES_MAX))


class Limited:
    """A stream whose request asks for no more than `most`."""

    def __init__(self, stream: Any, most: int) -> None:
        self._stream, self._most = stream, most
        self.send_message = stream.send_message

    async def recv_message(self) -> Any:
        request = await self._stream.recv_message()
        request.short_code = str(min(self._most, int(request.short_code[:9])))
        return request


class Clock:
    """Time that moves by hand, and by `step` whenever somebody looks."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.step = 0.0

    def __call__(self) -> float:
        self.now += self.step
        return self.now


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop that runs when told, on the clock it is given."""

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self._virtual = clock
        self.broken: list[dict[str, Any]] = []
        self.set_exception_handler(lambda _loop, context: self.broken.append(context))

    def time(self) -> float:
        return self._virtual.now

    def turn(self) -> None:
        """Run what is due now."""
        self.call_soon(self.stop)
        self.run_forever()

    def do(self, action: Callable[..., object], *arguments: Any) -> None:
        """Run an action as a callback of its own, and what is due with it."""
        self.call_soon(action, *arguments)
        self.turn()

    def settle(self) -> None:
        """Run until nothing more is due."""
        for _ in range(200):
            self.turn()
            if not self._ready:  # type: ignore[attr-defined] # asyncio's own queue of callbacks
                return
        raise AssertionError("the loop never comes to rest")


class Wire(asyncio.Transport):
    """Keeps what is written, and gives the protocol what it may read."""

    def __init__(self, loop: VirtualLoop, protocol: connection.Connection) -> None:
        super().__init__()
        self._loop = loop
        self._protocol = protocol
        self.pending: list[bytes] = []
        self.sent: list[bytes] = []
        self.closing = False
        self.lost = False
        self.reading = True
        self.full = False

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return default

    def is_closing(self) -> bool:
        return self.closing

    def get_write_buffer_size(self) -> int:
        return 100_000 if self.full else 0

    def write(self, data: bytes | bytearray | memoryview) -> None:
        assert not self.lost
        self.sent.append(bytes(data))

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True

    def close(self) -> None:
        if not self.closing:
            self.closing = True
            self._loop.call_soon(self._lose)

    abort = close

    def _lose(self) -> None:
        self.lost = True
        self._protocol.connection_lost(None)

    def deliver(self, data: bytes) -> None:
        """Let bytes arrive; they wait while reading is paused."""
        self.pending.append(data)
        self.go_on()

    def go_on(self) -> None:
        """Let what waits arrive, as far as it may."""
        while self.pending and self.reading and not self.closing:
            self._loop.do(self._arrive)

    def _arrive(self) -> None:
        if self.reading and not self.closing:
            self._protocol.data_received(self.pending.pop(0))

    def fill(self, *, full: bool) -> None:
        """Have the transport take no more, or take more again."""
        if full != self.full and not self.closing:
            self.full = full
            self._loop.do(self._protocol.pause_writing if full else self._protocol.resume_writing)


class World:
    """One server with one connection."""

    def __init__(self, loop: VirtualLoop, clock: Clock) -> None:
        self.loop, self.clock = loop, clock
        self.odd = Bounded()
        self.server: RpcServer
        loop.do(self._build)
        self.shared = self.server._shared
        self.connection = connection.Connection(self.shared)
        self.wire = Wire(loop, self.connection)
        loop.do(self.connection.connection_made, self.wire)

    def _build(self) -> None:
        self.server = RpcServer([self.odd], GRPC)

    def settle(self) -> None:
        """Stop the clock, and run until all has arrived that may and nothing more is due."""
        self.clock.step = 0.0
        self.loop.settle()
        while self.wire.pending and self.wire.reading and not self.wire.closing:
            self.wire.go_on()
            self.loop.settle()

    def close(self) -> None:
        """Lose the connection, and see that nothing is left of it."""
        self.wire.abort()
        self.loop.settle()
        assert not self.shared.runner.tasks
        self.loop.run_until_complete(self.shared.runner.close())
        self.loop.settle()
        assert not self.loop.broken, self.loop.broken
        assert not self.server.listener.connections
        assert not self.connection.calls.streams
        assert self.connection.calls.running == 0
        for pool in (self.shared.received, self.shared.unsent):
            assert (pool.size, pool.holders) == (0, {})
        assert not [timer for timer in self.loop._scheduled if not timer.cancelled()]  # type: ignore[attr-defined]


@contextmanager
def virtual() -> Iterator[tuple[VirtualLoop, Clock]]:
    """Put the server's modules on a clock that stands still."""
    clock = Clock()
    loop = VirtualLoop(clock)
    log = logging.getLogger("shortener.rpc.http2")
    log.setLevel(logging.CRITICAL)
    modules = (calls, connection, inbound, listener, outbound, places, shared, stream)
    patches: list[Any] = [mock.patch.object(module, "monotonic", clock) for module in modules]
    patches.append(mock.patch.object(calls, "_CLOSED_MAX", CLOSED_MAX))
    patches.append(mock.patch.object(calls, "_CACHED_BLOCKS_MAX", CACHED_BLOCKS_MAX))
    patches.append(mock.patch.object(connection, "_DRAIN_PING_SECONDS", 1.0))
    try:
        for patch in patches:
            patch.start()
        yield loop, clock
    finally:
        for patch in patches:
            patch.stop()
        log.setLevel(logging.NOTSET)
        loop.close()


def cut(data: bytes) -> Iterator[bytes]:
    """Cut bytes where frames end, as far as they are frames."""
    while len(data) >= 9:
        end = 9 + int.from_bytes(data[:3], "big")
        yield data[:end]
        data = data[end:]
    if data:
        yield data


def number(payload: bytes) -> int:
    """Return a 32-bit number, or 0."""
    return int(struct.unpack(">I", payload)[0]) if len(payload) == 4 else 0
