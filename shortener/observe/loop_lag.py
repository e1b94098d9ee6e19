"""How late the event loop comes to what is due: the time that everybody waits when something holds it."""

import asyncio
import time
from collections.abc import Iterator

from shortener.observe.histogram import Gauge, Histogram

INTERVAL_SECONDS = 0.02
"""Fifty looks a second; each costs some microseconds."""
BOUNDS = (0.001, 0.0025, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)


class LoopLag:
    """Measures from when it is made, inside the running loop, until `close`."""

    def __init__(self) -> None:
        self.seconds = Histogram(BOUNDS)
        self._loop = asyncio.get_running_loop()
        self._due = 0.0
        self._timer = self._next()

    def _next(self) -> asyncio.TimerHandle:
        self._due = time.monotonic() + INTERVAL_SECONDS  # the loop's own time stands still while a callback runs
        return self._loop.call_later(INTERVAL_SECONDS, self._look)

    def _look(self) -> None:
        self.seconds.observe(max(0.0, time.monotonic() - self._due))
        self._timer = self._next()

    def gauges(self) -> Iterator[Gauge]:
        """Yield how late the event loop is."""
        yield "shortener_event_loop_lag_seconds", "How late the event loop runs what is due.", {}, self.seconds

    def close(self) -> None:
        """Look no more."""
        self._timer.cancel()
