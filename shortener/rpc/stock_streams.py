"""The running calls of one grpclib connection, how many there may be, and the budget that honest ones refill."""

import asyncio
import time
from collections.abc import Callable, Mapping

from grpclib.const import Handler
from grpclib.protocol import AbstractHandler
from grpclib.protocol import Stream as WireStream
from h2.errors import ErrorCodes

from shortener.rpc.settings import RpcSettings
from shortener.rpc.stock_call import Headers, serve

FRAMES_MAX = 1000
FRAMES_REFILL = 100
FRAMES_REFUND = 8
"""A connection's budget of frames that do no work; what comes back each second, and with each finished call."""


class Budget:
    """Counts frames that do no work: pings, settings, resets, empty data. Honest peers send few of them."""

    def __init__(self) -> None:
        self._left = float(FRAMES_MAX)
        self._at = time.monotonic()

    def is_spent(self, frames: int) -> bool:
        """Take `frames` from the budget; True when it is overdrawn."""
        now = time.monotonic()
        self._left = min(FRAMES_MAX, self._left + (now - self._at) * FRAMES_REFILL) - frames
        self._at = now
        return self._left < 0

    def refund(self) -> None:
        """Give back what goes with an honest call: window updates, and the pings that measure a connection."""
        self._left += FRAMES_REFUND


class Calls(AbstractHandler):
    """The running calls of one connection."""

    def __init__(self, mapping: Mapping[str, Handler], settings: RpcSettings, budget: Budget) -> None:
        self._mapping = mapping
        self._settings = settings
        self._budget = budget
        self.tasks: dict[WireStream, asyncio.Task[None]] = {}

    def accept(self, stream: WireStream, headers: Headers, release_stream: Callable[[], None]) -> None:
        """Start a call, or refuse its stream when too many run."""
        if self._is_full(stream):
            if stream.closable:  # unless its reset came in the same bytes
                stream.reset_nowait(ErrorCodes.REFUSED_STREAM)
            release_stream()
            return
        task = asyncio.get_running_loop().create_task(serve(self._mapping, self._settings, stream, headers))
        self.tasks[stream] = task

        def finished(done: "asyncio.Task[None]") -> None:
            self.tasks.pop(stream, None)
            release_stream()
            if not done.cancelled():
                self._budget.refund()

        task.add_done_callback(finished)

    def _is_full(self, stream: WireStream) -> bool:
        """Count open streams, not tasks: a caller may open one before the last one's task has quite ended."""
        assert stream.id is not None
        streams = stream.connection._connection.streams
        older = sum(1 for number, other in streams.items() if number < stream.id and other.open)
        return older >= self._settings.streams_max

    def cancel(self, stream: WireStream) -> None:
        """Stop the call of a stream that the caller reset."""
        task = self.tasks.get(stream)
        if task is not None:
            task.cancel()

    def close(self) -> None:
        """Stop every call."""
        for task in self.tasks.values():
            task.cancel()
