"""Counts redirects as clicks, and sends the answers of one turn of the event loop together once they are recorded."""

import asyncio
import logging
from time import perf_counter

from shortener import errors
from shortener.links.model import Link
from shortener.redirect.answer import RedirectAnswer
from shortener.redirect.decision import Visit
from shortener.redirect.ports import Clicks, RedirectPorts
from shortener.redirect.state import Traffic

log = logging.getLogger(__name__)

ROUTE = "GET /{short_code}"


class Counting:
    """Offers and flushes clicks; what cannot be recorded is added to `Traffic.lost_clicks` and logged."""

    def __init__(self, clicks: Clicks, traffic: Traffic) -> None:
        self._clicks = clicks
        self._traffic = traffic
        self._unflushed = 0
        self._failing = False

    def offer(self, link: Link, address: str, visit: Visit) -> None:
        """Note one click. Raises nothing."""
        try:
            self._clicks.offer(link, address, visit.user_agent, visit.referrer)
        except Exception as error:  # noqa: BLE001 - whatever is wrong with counting, the visitor is redirected
            self._lost(1, error)
        else:
            self._unflushed += 1

    def flush(self) -> None:
        """Let what was offered reach the kernel. Raises nothing."""
        offered, self._unflushed = self._unflushed, 0
        if not offered:
            return
        try:
            self._clicks.flush()
        except Exception as error:  # noqa: BLE001 - whatever is wrong with counting, the visitor is redirected
            self._lost(offered, error)
        else:
            self._failing = False

    def _lost(self, clicks: int, error: Exception) -> None:
        self._traffic.lost_clicks += clicks
        if self._failing:
            return  # one line a spell of trouble: the counter tells how long it was
        self._failing = True
        expected = isinstance(error, errors.Failure | OSError)
        log.error("clicks are being lost", exc_info=None if expected else error, extra={"reason": str(error)})


class AnswerBatch:
    """Holds redirect answers back until the clicks of all of them have reached the kernel in one write.

    All connections that became readable in one turn of the loop are served before `flush` runs, at the start of the
    next turn; so the clicks of a turn share one system call, and no answer waits for anything else. Time is taken
    once a batch, from its first request to its last answer, and holds for each that has not waited for its link.
    """

    def __init__(self, answer: RedirectAnswer, counting: Counting, ports: RedirectPorts, traffic: Traffic) -> None:
        self._loop = asyncio.get_running_loop()
        self._answer = answer
        self._counting = counting
        self._clock = ports.clock
        self._observe = ports.observe
        self._requests = ports.requests
        self._traffic = traffic
        self._status = str(answer.status)
        self._since = 0.0
        self._pending: list[tuple[asyncio.Transport, str]] = []
        self._waited: list[float] = []  # when each of those came that have waited
        self._second = -1  # of which the two parts below are
        self._before = self._behind = b""

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
        closing = self._traffic.draining
        now = self._clock()
        if now != self._second or closing:
            self._second = now
            self._before, self._behind = self._answer.around_destination(now, closing=closing)
        before, behind = self._before, self._behind
        self._traffic.fast += len(pending)
        for transport, destination in pending:
            if transport.is_closing():
                continue  # the client has gone; its click stays, as it does when an answer is lost on the way
            transport.write(before + destination.encode("ascii") + behind)
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
