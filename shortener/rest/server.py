"""Runs an aiohttp application with what aiohttp leaves out: time for heads, a drain that loses nothing, own errors.

It builds on `web.RequestHandler`, aiohttp's protocol class, and reads its private state in one place; tests cover it.
"""

import asyncio
import logging
import socket
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from typing import cast

from aiohttp import http_parser, web

from shortener.ids import NewId
from shortener.net.accepting import accept_on
from shortener.net.queued import Queued
from shortener.net.refusals import IDLE_SECONDS_MIN, LOOKED_AT, Refusals
from shortener.rest.problems import MEDIA_TYPE, from_http_exception, http_problem, internal_response

log = logging.getLogger(__name__)

_CANCEL_SECONDS = 0.05
"""What aiohttp waits for handlers before it cancels them: `drain` has waited already. It takes 0 for ever."""
_CLOSE_SECONDS = 1.0
_TOO_MANY_BODY = b'{"type":"/problems/unavailable","title":"Unavailable","status":503,"detail":"too many connections"}'
_TOO_MANY = (
    b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: %s\r\nContent-Length: %d\r\nRetry-After: 1\r\n"
    b"Server: shortener\r\nConnection: close\r\n\r\n%s"
) % (MEDIA_TYPE.encode(), len(_TOO_MANY_BODY), _TOO_MANY_BODY)


@dataclass(frozen=True, slots=True)
class HttpSettings:
    """How long connections may take, and how many there may be.

    A request's head must arrive within `head_timeout_seconds` of the connection's start or of its own first byte, and
    have lines of at most `line_size_max` bytes. A connection without a request is closed after `keepalive_seconds`;
    while draining, after `drain_idle_seconds`. Beyond `connections_max` a new connection takes the place of one that
    has idled for a second or more, or else is answered 503 and closed.
    """

    connections_max: int
    head_timeout_seconds: float
    keepalive_seconds: float
    drain_idle_seconds: float
    line_size_max: int


class HttpServer:
    """One HTTP listener. Build it inside a running event loop; start it once."""

    def __init__(self, app: web.Application, *, settings: HttpSettings, new_id: NewId) -> None:
        self._runner = web.AppRunner(
            app,
            handle_signals=False,
            access_log=None,
            shutdown_timeout=_CANCEL_SECONDS,
            handler_cancellation=True,  # a caller who left waits for nothing; without it, such work outlives `close`
        )
        self._settings = settings
        self._new_id = new_id
        self._listener: asyncio.Server | None = None
        self._queued = Queued(None)
        self._port = 0
        self._connections: set[_Connection] = set()
        self.refusals = Refusals("gateway", _TOO_MANY)
        self.evicted_connections = 0
        self._empty = asyncio.Event()
        self.draining = False

    async def start(self, host: str, port: int, *, sock: socket.socket | None = None) -> None:
        """Listen on `host` and `port` (0 = any), or on the bound `sock`.

        Raises OSError when that is not possible, RuntimeError when aiohttp runs without its C parser.
        """
        require_c_parser()
        await self._runner.setup()
        self._listener = await accept_on(self._connect, host, port, sock=sock)
        self._queued = Queued(sock)
        self._port = self._listener.sockets[0].getsockname()[1]

    @property
    def port(self) -> int:
        """The port it listens on."""
        return self._port

    @property
    def connections(self) -> int:
        """How many connections are open."""
        return len(self._connections)

    def _connect(self) -> "_Connection":
        server = self._runner.server
        assert server is not None
        return _Connection(self, server, self._settings)

    def admits(self, connection: "_Connection") -> bool:
        """Count a connection in, or tell that there is no room for it."""
        if len(self._connections) >= self._settings.connections_max and not self._make_room():
            return False
        self._connections.add(connection)
        return True

    def _make_room(self) -> bool:
        """Close a connection that has been idle for a while, if one is soon found; say whether there was one."""
        then = asyncio.get_running_loop().time() - IDLE_SECONDS_MIN
        for connection in islice(self._connections, LOOKED_AT):
            if connection.is_idle_since(then):
                self._connections.discard(connection)
                self.evicted_connections += 1
                connection.force_close()
                return True
        return False

    def lost(self, connection: "_Connection") -> None:
        """Count a connection out."""
        self._connections.discard(connection)
        if not self._connections:
            self._empty.set()

    def unexpected(self, error: BaseException | None) -> web.Response:
        """Log what aiohttp itself could not handle, and return its answer."""
        request_id = self._new_id()
        log.error("HTTP server failed", exc_info=error, extra={"request_id": request_id})
        return internal_response(request_id)

    async def drain(self, grace_seconds: float) -> None:
        """Take no new connections, answer what comes on the others with `Connection: close`, wait for their end.

        Idle ones are closed after `drain_idle_seconds`, so that a client just asking again still gets its answer.
        Returns when none is left, or after `grace_seconds`; then `close`.
        """
        if self._listener is not None:
            self._listener.close()
        self.draining = True
        await self._queued.serve(self._connect)
        if await self._emptied(min(self._settings.drain_idle_seconds, grace_seconds)):
            return
        for connection in list(self._connections):
            connection.close_if_idle()
        await self._emptied(max(0.0, grace_seconds - self._settings.drain_idle_seconds))

    async def _emptied(self, seconds: float) -> bool:
        if not self._connections:
            return True
        self._empty.clear()
        try:
            async with asyncio.timeout(seconds):
                await self._empty.wait()
        except TimeoutError:
            return False
        return True

    async def close(self) -> None:
        """Stop now: close every connection, cancel what still runs, end the application."""
        if self._listener is not None:
            self._listener.close()
        self._queued.close()
        await self.refusals.close()
        connections = list(self._connections)
        tasks = [task for connection in connections if (task := connection.task) is not None]
        await self._runner.cleanup()
        for connection in connections:
            connection.abort()
        if tasks:
            await asyncio.wait(tasks, timeout=_CLOSE_SECONDS)
        await self._emptied(_CLOSE_SECONDS)
        if self._listener is not None:
            with suppress(TimeoutError):
                async with asyncio.timeout(_CLOSE_SECONDS):
                    await self._listener.wait_closed()


class _Connection(web.RequestHandler):
    """aiohttp's connection with a timer for heads, our errors, and `Connection: close` while draining."""

    __slots__ = ("_head_seconds", "_head_timer", "_idle_since", "_owner")

    def __init__(self, owner: HttpServer, server: web.Server, settings: HttpSettings) -> None:
        super().__init__(
            server,
            loop=asyncio.get_running_loop(),
            keepalive_timeout=settings.keepalive_seconds,
            access_log=None,  # type: ignore[arg-type] # None is how aiohttp turns it off; its annotation forgets that
            max_line_size=settings.line_size_max,
            max_field_size=settings.line_size_max,
            lingering_time=settings.head_timeout_seconds,
            auto_decompress=False,  # a compressed body is refused, not inflated
        )
        self._owner = owner
        self._head_seconds = settings.head_timeout_seconds
        self._head_timer: asyncio.TimerHandle | None = None
        self._idle_since = self._loop.time()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        if not self._owner.admits(self):
            self._owner.refusals.refuse(cast("asyncio.Transport", transport))
            return
        super().connection_made(transport)
        self._expect_head()

    def _expect_head(self) -> None:
        if self._head_timer is None:
            self._head_timer = self._loop.call_later(self._head_seconds, self.force_close)

    def _is_between_requests(self) -> bool:
        return self._current_request is None and not self._messages

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self._is_between_requests():
            self._expect_head()
        elif self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def connection_lost(self, exc: BaseException | None) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
        super().connection_lost(exc)
        self._owner.lost(self)

    def is_idle_since(self, then: float) -> bool:
        """Whether no request has been answered or has begun to be since `then`."""
        return self._idle_since <= then and self._is_between_requests()

    def close_if_idle(self) -> None:
        """Close unless a request is being answered."""
        if self._is_between_requests():
            self.force_close()

    @property
    def task(self) -> "asyncio.Task[None] | None":
        """The task that reads requests and runs handlers, one after another."""
        return self._task_handler

    def abort(self) -> None:
        """Drop the connection with what it has not sent."""
        if self.transport is not None:
            self.transport.abort()

    async def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        if isinstance(resp, web.HTTPException):  # raised before any middleware: an expectation that is not known
            resp = from_http_exception(resp)
        if self._owner.draining:
            resp.force_close()
        self._idle_since = self._loop.time()
        return await super().finish_response(request, resp, start_time)

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Answer what is not HTTP without repeating it, and close. Not logged: anyone can cause it."""
        if status >= 500:
            response = self._owner.unexpected(exc)
        else:
            response = http_problem(status, "the request is not HTTP/1.1 as RFC 9112 has it")
        response.force_close()
        return response


def require_c_parser() -> None:
    """Raise RuntimeError unless aiohttp parses with its C parser: the Python one can be led astray (smuggling)."""
    if http_parser.HttpRequestParser is http_parser.HttpRequestParserPy:
        raise RuntimeError("aiohttp runs without its C extensions, which this server relies on")
