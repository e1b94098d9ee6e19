"""What all connections of one server share: configuration, handlers, bounds, and turns at the event loop."""

import asyncio
from collections import deque
from collections.abc import Callable, Mapping
from time import monotonic

from shortener.config.sections import Grpc
from shortener.net.listener import Listener
from shortener.rpc.http2.eager import Runner
from shortener.rpc.http2.head import Method
from shortener.rpc.http2.inbound import Inbound
from shortener.rpc.http2.outbound import Outbound, Pool

SLICE_SECONDS = 0.002
"""How long one connection may keep the event loop before others have their turn."""
_RECEIVE_MIN, _RECEIVE_MESSAGES = 1_048_576, 4
_HELD_MIN, _HELD_MESSAGES = 8_388_608, 16


class Shared:
    """`received` and `unsent` are the bytes held for all clients; `receive_max` bounds unfinished requests on one.

    `refusals` answer in place of `methods` where a connection has only a reserved place. The server sets `listener`.
    """

    listener: Listener

    def __init__(self, grpc: Grpc, methods: Mapping[str, Method], refusals: Mapping[str, Method]) -> None:
        self.loop = asyncio.get_running_loop()
        self.grpc = grpc
        self.methods = methods
        self.refusals = refusals
        self.runner = Runner(self.loop)
        self.receive_max = grpc.receive_max or max(_RECEIVE_MIN, _RECEIVE_MESSAGES * grpc.message_size_max)
        self.received = Pool[Inbound](grpc.held_max or max(_HELD_MIN, _HELD_MESSAGES * grpc.message_size_max))
        self.unsent = Pool[Outbound](grpc.unsent_total_max)
        self._waiting: deque[Callable[[], None]] = deque()
        self._turn_due = False

    def continue_later(self, go_on: Callable[[], None]) -> None:
        """Have a connection with work left go on in another slice, after all others that wait."""
        self._waiting.append(go_on)
        self._schedule()

    def _schedule(self) -> None:
        if not self._turn_due:
            self._turn_due = True
            self.loop.call_soon(self._turn)

    def _turn(self) -> None:
        """Let waiting connections work for one slice of time altogether, then let the loop do other things."""
        self._turn_due = False
        end = monotonic() + SLICE_SECONDS
        for _ in range(len(self._waiting)):
            self._waiting.popleft()()
            if monotonic() > end:
                break
        if self._waiting:
            self._schedule()
