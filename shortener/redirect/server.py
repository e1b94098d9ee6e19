"""The redirect server: a listener with the lane in front of aiohttp."""

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial

from aiohttp import web

from shortener.config.sections import Redirect
from shortener.links.model import Link
from shortener.net.addresses import ClientAddresses
from shortener.net.http import DRAIN_IDLE_SECONDS, HttpLimits, require_c_parser
from shortener.net.listener import Listener
from shortener.net.places import ListenerLimits
from shortener.redirect.answer import RedirectAnswer
from shortener.redirect.batch import AnswerBatch, Counting
from shortener.redirect.decision import decider
from shortener.redirect.handler import RedirectHandler
from shortener.redirect.lane import Lane, LaneState
from shortener.redirect.ports import RedirectPorts
from shortener.redirect.state import Traffic

CANCEL_SECONDS = 0.05
"""How long a request may take to end after it was cancelled; aiohttp takes 0 for no limit."""
TOO_MANY = (
    b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nRetry-After: 1\r\nServer: shortener\r\n"
    b"Connection: close\r\n\r\n"
)
"""What a connection beyond the limit is told."""


class RedirectServer:
    """A running redirect server."""

    def __init__(self, state: LaneState, settings: Redirect) -> None:
        self.traffic = state.traffic
        self._state = state
        self.listener = state.listener = Listener(
            "redirect",
            partial(Lane, state),
            ListenerLimits(
                connections_max=settings.connections_max,
                per_address_max=settings.connections_per_address_max,
                held_max=settings.held_max,
                write_timeout_seconds=settings.write_timeout_seconds,
            ),
            refusal=TOO_MANY,
            is_exempt=state.addresses.is_proxy,
            sweep_seconds=min(settings.head_timeout_seconds, settings.keepalive_seconds) / 4,
        )

    async def drain(self, grace_seconds: float, *, idle_seconds: float = DRAIN_IDLE_SECONDS) -> None:
        """Take no new connections, answer what comes on the others with `Connection: close`, and wait for them to end.

        Idle ones are closed after `idle_seconds`, so that a client about to ask again still gets its answer.
        Returns when none is left, after `grace_seconds` at most.
        """
        self.traffic.draining = True
        await self.listener.drain(grace_seconds, idle_seconds=idle_seconds)

    async def close(self) -> None:
        """Stop at once: what is still running is cancelled. Can be called again."""
        self._state.batch.flush()
        await self._state.fallback.shutdown(CANCEL_SECONDS)
        self.listener.close()
        await self.listener.wait_closed()


def _peek_at_nothing(short_code: str) -> Link | None:
    return None


@asynccontextmanager
async def open_redirect_server(
    ports: RedirectPorts,
    settings: Redirect,
    *,
    host: str,
    port: int,
    sock: socket.socket | None = None,
    trusted_proxies: tuple[str, ...] = (),
) -> AsyncIterator[RedirectServer]:
    """Serve redirects until the block ends. Call `drain` before that to let clients finish.

    `X-Forwarded-For` counts only from `trusted_proxies`, addresses or networks. Raises `OSError` when it cannot
    listen, `ValueError` for settings that cannot be, and `RuntimeError` without aiohttp's C parser.
    """
    require_c_parser()
    traffic = Traffic()
    answer = RedirectAnswer(settings.status)
    addresses = ClientAddresses(trusted_proxies, memo_max=settings.heads_max)
    counting = Counting(ports.clicks, traffic)
    decide = decider(ports.withheld)
    handler = RedirectHandler(
        ports,
        decide=decide,
        counting=counting,
        answer=answer,
        addresses=addresses,
        traffic=traffic,
        timeout_seconds=settings.answer_timeout_seconds,
    )
    state = LaneState(
        ports=ports if ports.settled is None else replace(ports, peek=_peek_at_nothing, look_up=None),
        limits=HttpLimits(
            head_timeout_seconds=settings.head_timeout_seconds,
            keepalive_seconds=settings.keepalive_seconds,
            line_size_max=settings.head_size_max,
            head_size_max=settings.head_size_max,
        ),
        decide=decide,
        addresses=addresses,
        counting=counting,
        batch=AnswerBatch(answer, counting, ports, traffic),
        fallback=web.Server(handler),
        traffic=traffic,
        heads_max=settings.heads_max,
    )
    server = RedirectServer(state, settings)
    await server.listener.start(host, port, sock=sock)
    try:
        yield server
    finally:
        await server.close()
