"""The redirect server: a listener with the lane in front of aiohttp, timed, bounded and drained."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from shortener.clock import Clock
from shortener.ids import NewId
from shortener.links.model import Link
from shortener.net.accepting import accept_on
from shortener.net.addresses import ClientAddresses
from shortener.net.memo import Memo
from shortener.net.queued import Queued
from shortener.net.refusals import Refusals
from shortener.observe.request_log import OFF, RequestLog
from shortener.redirect.answer import RedirectAnswer
from shortener.redirect.batch import AnswerBatch, Observe
from shortener.redirect.counting import Counting
from shortener.redirect.fallback import FallbackServer
from shortener.redirect.handler import RedirectHandler
from shortener.redirect.lane import Lane
from shortener.redirect.ports import Clicks, LookUp, Misses, Peek, Resolve, Settled, Withheld
from shortener.redirect.settings import RedirectSettings, Traffic
from shortener.redirect.shared import TOO_MANY, LaneShared

SWEEP_SECONDS_MAX = 1.0
CANCEL_SECONDS = 0.05
"""How long a request may take to end after it was cancelled; aiohttp takes 0 for no limit."""


class RedirectServer:
    """A running redirect server. Its connections are timed by one sweep, not by a timer each."""

    def __init__(self, shared: LaneShared) -> None:
        self._shared = shared
        self._loop = asyncio.get_running_loop()
        self._listener: asyncio.Server | None = None
        self._queued = Queued(None)
        settings = shared.settings
        shortest = min(settings.head_timeout_seconds, settings.keepalive_seconds)
        self._sweep_seconds = min(SWEEP_SECONDS_MAX, shortest / 4)
        self._sweeper: asyncio.TimerHandle | None = None

    @property
    def traffic(self) -> Traffic:
        """What it has done so far."""
        return self._shared.traffic

    @property
    def refused_connections(self) -> int:
        """How many connections were refused because too many were open."""
        return self._shared.refusals.count

    @property
    def connections(self) -> int:
        """How many connections are open now."""
        return len(self._shared.connections)

    @property
    def addresses(self) -> list[tuple[str, int]]:
        """The addresses and ports it listens on; port 0 has become what the system picked."""
        sockets = self._listener.sockets if self._listener is not None else ()
        return [(name[0], name[1]) for name in (each.getsockname() for each in sockets)]

    @property
    def port(self) -> int:
        """The port of the first address."""
        return self.addresses[0][1]

    async def start(self, host: str, port: int, sock: socket.socket | None = None) -> None:
        """Listen on `host` and `port`, or on a socket that is already bound. Raises `OSError`."""
        self._listener = await accept_on(self._connect, host, port, sock=sock)
        self._queued = Queued(sock)
        self._sweep()

    def _connect(self) -> Lane:
        return Lane(self._shared)

    def _sweep(self) -> None:
        self._shared.tick = self._loop.time()
        for lane in list(self._shared.connections):
            lane.close_if_overdue()
        self._sweeper = self._loop.call_later(self._sweep_seconds, self._sweep)

    async def drain(self, grace_seconds: float) -> None:
        """Take no new connections, answer what comes on the others with `Connection: close`, and wait for them to end.

        Idle ones are closed after `drain_idle_seconds`, so that a client about to ask again still gets its answer.
        Returns when none is left, after `grace_seconds` at most.
        """
        if self._listener is not None:
            self._listener.close()
        self._shared.traffic.draining = True
        await self._queued.serve(self._connect)
        end = self._loop.time() + grace_seconds
        if await self._emptied(min(end, self._loop.time() + self._shared.settings.drain_idle_seconds)):
            return
        self._shared.batch.flush()
        for lane in list(self._shared.connections):
            if lane.is_idle:
                lane.close()
        await self._emptied(end)

    async def _emptied(self, end: float) -> bool:
        shared = self._shared
        while shared.connections:
            shared.empty.clear()
            try:
                async with asyncio.timeout_at(end):
                    await shared.empty.wait()
            except TimeoutError:
                return False
        return True

    async def close(self) -> None:
        """Stop at once: what is still running is cancelled. Can be called again."""
        if self._listener is not None:
            self._listener.close()
        self._queued.close()
        if self._sweeper is not None:
            self._sweeper.cancel()
        shared = self._shared
        shared.batch.flush()
        await shared.fallback.shutdown(CANCEL_SECONDS)
        await shared.refusals.close()
        for lane in list(shared.connections):
            lane.abort()
        await self._emptied(self._loop.time() + 1.0)
        if self._listener is not None:
            with suppress(TimeoutError):
                async with asyncio.timeout(1.0):
                    await self._listener.wait_closed()


def _observe_nothing(lane: str, status: str, seconds: float, times: int) -> None:
    pass


def _peek_at_nothing(short_code: str) -> Link | None:
    return None


@asynccontextmanager
async def open_redirect_server(
    *,
    host: str,
    port: int,
    sock: socket.socket | None = None,
    resolve: Resolve,
    peek: Peek,
    clicks: Clicks,
    clock: Clock,
    new_id: NewId,
    settings: RedirectSettings,
    look_up: LookUp | None = None,
    settled: Settled | None = None,
    observe: Observe = _observe_nothing,
    requests: RequestLog = OFF,
    withheld: Withheld | None = None,
    misses: Misses | None = None,
) -> AsyncIterator[RedirectServer]:
    """Serve redirects until the block ends. Call `drain` before that to let clients finish.

    With `look_up` the lane waits for links that `peek` does not have; without, aiohttp does.
    With `settled` each redirect waits for it after its click was flushed; since the lane does not wait, aiohttp then
    answers everything. Links that are `withheld` are answered with a warning, and not counted. `observe` and
    `requests` hear of each answer.
    Without `misses` anyone may ask for as many unknown codes as they like.

    Raises `OSError` when it cannot listen, `ValueError` for settings that cannot be, and `RuntimeError` without
    aiohttp's C parser.
    """
    traffic = Traffic()
    answer = RedirectAnswer(settings.status)
    addresses = ClientAddresses(settings.trusted_proxies, memo_max=settings.heads_max)
    counting = Counting(clicks, traffic)
    handler = RedirectHandler(
        resolve=resolve,
        peek=peek,
        misses=misses,
        counting=counting,
        settled=settled,
        withheld=withheld,
        answer=answer,
        addresses=addresses,
        traffic=traffic,
        clock=clock,
        new_id=new_id,
        timeout_seconds=settings.answer_timeout_seconds,
        observe=observe,
        requests=requests,
    )
    loop = asyncio.get_running_loop()
    shared = LaneShared(
        settings=settings,
        peek=peek if settled is None else _peek_at_nothing,
        look_up=look_up if settled is None else None,
        clock=clock,
        addresses=addresses,
        counting=counting,
        batch=AnswerBatch(
            loop, answer=answer, counting=counting, clock=clock, traffic=traffic, observe=observe, requests=requests
        ),
        fallback=FallbackServer(handler, traffic),
        traffic=traffic,
        tick=loop.time(),
        refusals=Refusals("redirect", TOO_MANY),
        heads=Memo(settings.heads_max),
        withheld=withheld,
        misses=misses,
    )
    server = RedirectServer(shared)
    await server.start(host, port, sock)
    try:
        yield server
    finally:
        await server.close()
