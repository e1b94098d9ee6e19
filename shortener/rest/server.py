"""Runs an aiohttp application on a listener: with time limits, a drain that loses nothing, and errors of our own."""

import asyncio
import logging
import socket
from collections.abc import Callable
from typing import cast

from aiohttp import web

from shortener.config.sections import Gateway
from shortener.ids import NewId
from shortener.net.http import DRAIN_IDLE_SECONDS, HttpConnection, HttpLimits, NotHttpError, require_c_parser
from shortener.net.http_head import path_of
from shortener.net.listener import Listener
from shortener.net.places import RESERVED_PLACES, ListenerLimits, Place
from shortener.rest.operations import HEALTH_PATHS
from shortener.rest.problems import MEDIA_TYPE, from_http_exception, http_problem, internal_response

log = logging.getLogger(__name__)

HEAD_LINES = 8
"""A head may have so many times `line_size_max` bytes."""
_CANCEL_SECONDS = 0.05
"""What aiohttp waits for handlers before it cancels them: `drain` has waited already. It takes 0 for ever."""
_TOO_MANY_BODY = b'{"type":"/problems/unavailable","title":"Unavailable","status":503,"detail":"too many connections"}'
_TOO_MANY = (
    b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: %s\r\nContent-Length: %d\r\nRetry-After: 1\r\n"
    b"Server: shortener\r\nConnection: close\r\n\r\n%s"
) % (MEDIA_TYPE.encode(), len(_TOO_MANY_BODY), _TOO_MANY_BODY)


class HttpServer:
    """One HTTP port. Build it inside a running event loop; start it once."""

    def __init__(
        self,
        app: web.Application,
        *,
        settings: Gateway,
        new_id: NewId,
        is_exempt: Callable[[str], bool] = lambda peer: False,
    ) -> None:
        """`is_exempt` tells which peers, such as trusted proxies, may have any number of connections."""
        self._runner = web.AppRunner(
            app,
            handle_signals=False,
            access_log=None,
            shutdown_timeout=_CANCEL_SECONDS,
            handler_cancellation=True,  # a caller who left waits for nothing; without it, such work outlives `close`
        )
        self._limits = HttpLimits(
            head_timeout_seconds=settings.head_timeout_seconds,
            keepalive_seconds=settings.keepalive_seconds,
            line_size_max=settings.line_size_max,
            head_size_max=HEAD_LINES * settings.line_size_max,
        )
        self.listener = Listener(
            "gateway",
            self._connect,
            ListenerLimits(
                connections_max=settings.connections_max,
                per_address_max=settings.connections_per_address_max,
                held_max=settings.held_max,
                write_timeout_seconds=settings.write_timeout_seconds,
                reserved=RESERVED_PLACES,
            ),
            refusal=_TOO_MANY,
            is_exempt=is_exempt,
            sweep_seconds=min(settings.head_timeout_seconds, settings.keepalive_seconds) / 4,
        )
        self._new_id = new_id

    async def start(self, host: str, port: int, *, sock: socket.socket | None = None) -> None:
        """Listen on `host` and `port` (0 = any), or on the bound `sock`.

        Raises OSError when that is not possible, RuntimeError when aiohttp runs without its C parser.
        """
        require_c_parser()
        await self._runner.setup()
        await self.listener.start(host, port, sock=sock)

    def _connect(self) -> "_Connection":
        server = self._runner.server
        assert server is not None
        return _Connection(server, self.listener, self._limits, self._new_id)

    async def drain(self, grace_seconds: float, *, idle_seconds: float = DRAIN_IDLE_SECONDS) -> None:
        """Take no new connections, answer what comes on the others with `Connection: close`, wait for their end.

        Idle ones are closed after `idle_seconds`, so that a client just asking again still gets its answer.
        Returns when none is left, or after `grace_seconds`; then `close`.
        """
        await self.listener.drain(grace_seconds, idle_seconds=idle_seconds)

    async def close(self) -> None:
        """Stop now: close every connection, cancel what still runs, end the application."""
        running = [task for each in self.listener.connections if (task := cast("_Connection", each).task) is not None]
        self.listener.close()
        await self._runner.cleanup()
        if running:
            await asyncio.wait(running, timeout=1.0)
        await self.listener.wait_closed()


class _Connection(HttpConnection):
    """A connection whose errors are problem details; in a reserved place it is answered about health alone."""

    __slots__ = ("_is_reserved", "_new_id")

    def __init__(self, server: web.Server, listener: Listener, limits: HttpLimits, new_id: NewId) -> None:
        super().__init__(server, listener, limits)
        self._new_id = new_id
        self._is_reserved = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        place = self._listener.admit(self, cast("asyncio.Transport", transport))
        self._is_reserved = place is Place.RESERVED
        if place is not Place.NONE:
            super().connection_made(transport)

    def connection_lost(self, exc: BaseException | None) -> None:
        super().connection_lost(exc)
        self._listener.lost(self)

    @property
    def task(self) -> "asyncio.Task[None] | None":
        """The task that reads requests and runs handlers, one after another."""
        return self._task_handler

    def accepts(self, head: bytes) -> bool:
        if not self._is_reserved or path_of(head) in HEALTH_PATHS:
            return True
        self._faulty, self.transport = True, None  # it is the listener's now
        self.force_close()
        self._listener.refuse(self)
        return False

    async def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        if isinstance(resp, web.HTTPException):  # raised before any middleware: an expectation that is not known
            resp = from_http_exception(resp)
        if self._is_reserved:
            resp.force_close()
        return await super().finish_response(request, resp, start_time)

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Answer what is not HTTP without repeating it, and close. Not logged: anyone can cause it."""
        if isinstance(exc, NotHttpError):
            response = http_problem(status, "the request is not HTTP/1.1 as RFC 9112 has it")
        else:
            request_id = self._new_id()
            log.error("HTTP server failed", exc_info=exc, extra={"request_id": request_id})
            response = internal_response(request_id)
        response.force_close()
        return response
