"""Backpressure: handlers wait here while answers wait for slow clients."""

import asyncio
from collections import deque

from grpclib import GRPCError
from grpclib.const import Status

from shortener.rpc.http2.outbound import Outbox, Sender
from shortener.rpc.http2.shared import Shared


class Room:
    """The handlers of one connection that wait to send."""

    __slots__ = ("_outbox", "_room_waiters", "_sent_waiters", "_shared")

    def __init__(self, shared: Shared, outbox: Outbox) -> None:
        self._shared = shared
        self._outbox = outbox
        self._room_waiters: deque[asyncio.Future[None]] = deque()
        self._sent_waiters: dict[Sender, asyncio.Future[None]] = {}

    @property
    def free(self) -> bool:
        """Whether little enough waits to be sent for more to be made."""
        return self._outbox.waiting <= self._shared.limits.send_max

    def check(self, size: int) -> None:
        """See that a whole answer of `size` bytes may wait: its handler ends, and only the bytes are left.

        Raises GRPCError RESOURCE_EXHAUSTED when the whole server holds too much already.
        """
        if not self.free and self._shared.held.size + size > self._shared.limits.held_max:
            raise GRPCError(Status.RESOURCE_EXHAUSTED, "too much waits to be sent")

    async def wait(self, size: int) -> None:
        """Wait until this connection may take another message of `size` bytes.

        Raises GRPCError RESOURCE_EXHAUSTED when the whole server holds too much already.
        """
        held = self._shared.held
        while not self.free:
            self.check(size)
            waiter = self._shared.loop.create_future()
            self._room_waiters.append(waiter)
            held.size += size
            try:
                await waiter
            finally:
                held.size -= size

    async def sent(self, stream: Sender) -> None:
        """Wait until the client has taken what waits on `stream`, or has gone."""
        while stream.queue is not None:
            waiter = self._sent_waiters[stream] = self._shared.loop.create_future()
            try:
                await waiter
            finally:
                self._sent_waiters.pop(stream, None)

    def drained(self, stream: Sender) -> None:
        """Wake the one who waits for a stream to be sent."""
        waiter = self._sent_waiters.get(stream)
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    def make(self) -> None:
        """Wake those who wait for room, if there is some."""
        while self._room_waiters and self.free:
            waiter = self._room_waiters.popleft()
            if not waiter.done():
                waiter.set_result(None)
