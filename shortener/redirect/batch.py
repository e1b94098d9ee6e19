"""Sends the answers of one turn of the event loop together, once their clicks are recorded."""

import asyncio
from collections.abc import Callable
from time import perf_counter
from typing import TypeAlias

from shortener.clock import Clock
from shortener.observe.request_log import RequestLog
from shortener.redirect.answer import RedirectAnswer
from shortener.redirect.counting import Counting
from shortener.redirect.settings import Traffic

Observe: TypeAlias = Callable[[str, str, float, int], None]
"""Told of answers: the lane (fast or slow), the status, the seconds each took, and how many."""


ROUTE = "GET /{short_code}"


class AnswerBatch:
    """Holds redirect answers back until the clicks of all of them have reached the kernel in one write.

    All connections that became readable in one turn of the loop are served before `flush` runs, at the start of the
    next turn; so the clicks of a turn share one system call, and no answer waits for anything else. Time is taken
    once a batch, from its first request to its last answer, and holds for each that has not waited for its link.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        *,
        answer: RedirectAnswer,
        counting: Counting,
        clock: Clock,
        traffic: Traffic,
        observe: Observe,
        requests: RequestLog,
    ) -> None:
        self._loop = loop
        self._answer = answer
        self._counting = counting
        self._clock = clock
        self._traffic = traffic
        self._observe = observe
        self._requests = requests
        self._status = str(answer.status)
        self._since = 0.0
        self._pending: list[tuple[asyncio.Transport, str]] = []
        self._waited: list[float] = []  # when each of those came that have waited

    def add(self, transport: asyncio.Transport, destination: str) -> None:
        """Answer with a redirect to `destination`, soon. Answers of one connection keep their order."""
        if not self._pending:
            self._since = perf_counter()
            self._loop.call_soon(self.flush)
        self._pending.append((transport, destination))

    def waited_since(self, came: float) -> None:
        """Learn that the answer added last is to a request that came at `came`, by `perf_counter`."""
        self._waited.append(came)

    def flush(self) -> None:
        """Record the clicks and send the answers now."""
        pending = self._pending
        if not pending:
            return
        self._pending = []
        waited, self._waited = self._waited, []
        self._counting.flush()
        now = self._clock()
        closing = self._traffic.draining
        encode = self._answer.encode
        self._traffic.fast += len(pending)
        for transport, destination in pending:
            if transport.is_closing():
                continue  # the client has gone; its click stays, as it does when an answer is lost on the way
            transport.write(encode(destination, now, closing=closing))
            if closing:
                transport.close()
        ended = perf_counter()
        self._tell(ended - self._since, len(pending) - len(waited))
        for came in waited:
            self._tell(ended - came, 1)

    def _tell(self, seconds: float, times: int) -> None:
        if not times:
            return
        self._observe("fast", self._status, seconds, times)
        if seconds >= self._requests.least_seconds:
            for _ in range(times):
                self._requests.add("redirect", ROUTE, self._answer.status, seconds, size=0)
