"""The redirect server: a listener with the lane in front of aiohttp."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web

from shortener.clock import Clock
from shortener.config.sections import Redirect
from shortener.ids import NewId
from shortener.links.model import Link
from shortener.net.addresses import ClientAddresses
from shortener.net.http import DRAIN_IDLE_SECONDS, HttpLimits, require_c_parser
from shortener.net.listener import Listener
from shortener.net.memo import Memo
from shortener.net.places import ListenerLimits
from shortener.observe.request_log import OFF, RequestLog
from shortener.redirect.answer import RedirectAnswer
from shortener.redirect.batch import AnswerBatch, Observe
from shortener.redirect.counting import Counting
from shortener.redirect.handler import RedirectHandler
from shortener.redirect.lane import Lane
from shortener.redirect.ports import Clicks, LookUp, Misses, Peek, Resolve, Settled, Withheld
from shortener.redirect.settings import Traffic
from shortener.redirect.shared import LaneShared

CANCEL_SECONDS = 0.05
"""How long a request may take to end after it was cancelled; aiohttp takes 0 for no limit."""
TOO_MANY = (
    b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nRetry-After: 1\r\nServer: shortener\r\n"
    b"Connection: close\r\n\r\n"
)
"""What a connection beyond the limit is told."""


class RedirectServer:
    """A running redirect server."""

    def __init__(self, shared: LaneShared, settings: Redirect) -> None:
        self.traffic = shared.traffic
        self._shared = shared
        self.listener = Listener(
            "redirect",
            self._connect,
            ListenerLimits(
                connections_max=settings.connections_max,
                per_address_max=settings.connections_per_address_max,
                held_max=settings.held_max,
                write_timeout_seconds=settings.write_timeout_seconds,
            ),
            refusal=TOO_MANY,
            is_exempt=shared.addresses.is_proxy,
            sweep_seconds=min(settings.head_timeout_seconds, settings.keepalive_seconds) / 4,
        )

    def _connect(self) -> Lane:
        return Lane(self._shared, self.listener)

    async def drain(self, grace_seconds: float, *, idle_seconds: float = DRAIN_IDLE_SECONDS) -> None:
        """Take no new connections, answer what comes on the others with `Connection: close`, and wait for them to end.

        Idle ones are closed after `idle_seconds`, so that a client about to ask again still gets its answer.
        Returns when none is left, after `grace_seconds` at most.
        """
        self.traffic.draining = True
        await self.listener.drain(grace_seconds, idle_seconds=idle_seconds)

    async def close(self) -> None:
        """Stop at once: what is still running is cancelled. Can be called again."""
        self._shared.batch.flush()
        await self._shared.fallback.shutdown(CANCEL_SECONDS)
        self.listener.close()
        await self.listener.wait_closed()


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
    settings: Redirect,
    trusted_proxies: tuple[str, ...] = (),
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

    `X-Forwarded-For` counts only from `trusted_proxies`, addresses or networks.

    Raises `OSError` when it cannot listen, `ValueError` for settings that cannot be, and `RuntimeError` without
    aiohttp's C parser.
    """
    require_c_parser()
    traffic = Traffic()
    answer = RedirectAnswer(settings.status)
    addresses = ClientAddresses(trusted_proxies, memo_max=settings.heads_max)
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
        limits=HttpLimits(
            head_timeout_seconds=settings.head_timeout_seconds,
            keepalive_seconds=settings.keepalive_seconds,
            line_size_max=settings.head_size_max,
            head_size_max=settings.head_size_max,
        ),
        peek=peek if settled is None else _peek_at_nothing,
        look_up=look_up if settled is None else None,
        clock=clock,
        addresses=addresses,
        counting=counting,
        batch=AnswerBatch(
            loop, answer=answer, counting=counting, clock=clock, traffic=traffic, observe=observe, requests=requests
        ),
        fallback=web.Server(handler),
        traffic=traffic,
        heads=Memo(settings.heads_max),
        withheld=withheld,
        misses=misses,
    )
    server = RedirectServer(shared, settings)
    await server.listener.start(host, port, sock=sock)
    try:
        yield server
    finally:
        await server.close()
