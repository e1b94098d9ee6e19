"""The listener: one gRPC server over HTTP/2, its connections, and how it stops."""

import asyncio
import logging
import socket
import ssl as tls
from collections import deque
from collections.abc import Iterable, Mapping
from time import monotonic
from typing import Protocol

from grpclib.const import Handler

from shortener.net.accepting import accept_on
from shortener.net.queued import Queued
from shortener.observe.log import OncePerSecond
from shortener.rpc.guard import Admits
from shortener.rpc.http2.budget import Pool
from shortener.rpc.http2.connection import Connection
from shortener.rpc.http2.eager import Runner
from shortener.rpc.http2.head import Method
from shortener.rpc.http2.inbound import Inbound
from shortener.rpc.http2.limits import Limits
from shortener.rpc.http2.outbound import Outbound
from shortener.rpc.http2.shared import Shared
from shortener.rpc.settings import RpcSettings

log = logging.getLogger(__name__)

_CLOSE_SECONDS = 1.0  # for clients to take their last bytes
_ACCEPT_TURNS = 3  # of the loop, from an accepted socket to `connection_made`, where we refuse it


class Servable(Protocol):
    """What `grpclib.server.Server` takes: its handlers by path."""

    def __mapping__(self) -> Mapping[str, Handler]:
        """Return path -> handler."""


class RpcServer:
    """A gRPC server for the handlers of `services`.

    Of calls that `admits` does not let pass nothing but the head is kept; their handlers must refuse them.
    One instance listens once. Stop it by `drain`, `close` and `wait_closed`, in this order.
    """

    def __init__(
        self,
        services: Iterable[Servable],
        *,
        settings: RpcSettings,
        limits: Limits | None = None,
        admits: Admits | None = None,
    ) -> None:
        self._settings = settings
        self._limits = (limits or Limits()).scaled(settings.message_size_max)
        times = (settings.keepalive_seconds, settings.keepalive_timeout_seconds, settings.handshake_seconds)
        self._sweep_seconds = max(0.01, min(self._limits.sweep_seconds, min(times) / 4))
        self._methods = {
            path: Method(path, handler, settings, admits)
            for service in services
            for path, handler in service.__mapping__().items()
        }
        self._shared: Shared | None = None
        self._listener: asyncio.Server | None = None
        self._queued = Queued(None)
        self._connections: set[Connection] = set()
        self.refused_connections = 0
        self._ready: deque[Connection] = deque()
        self._turn_due = False
        self._sweeper: asyncio.TimerHandle | None = None
        self._empty = asyncio.Event()
        self._empty.set()
        self._closed = False
        self._may_log = OncePerSecond()

    async def start(
        self, host: str, port: int, *, ssl: tls.SSLContext | None = None, sock: socket.socket | None = None
    ) -> None:
        """Listen on `host` and `port` (0: the system picks one), or on a bound socket; OSError when that fails.

        With `ssl` only clients that choose h2 by ALPN are served.
        """
        loop = asyncio.get_running_loop()
        received, unsent = Pool[Inbound](self._limits.held_max), Pool[Outbound](self._limits.unsent_total_max)
        self._shared = Shared(loop, self._methods, self._settings, self._limits, Runner(loop), received, unsent)
        if ssl is not None:
            ssl.set_alpn_protocols(["h2"])
        handshake_seconds = self._settings.handshake_seconds
        self._listener = await accept_on(
            self._accept, host, port, sock=sock, ssl=ssl, handshake_seconds=handshake_seconds
        )
        self._queued = Queued(sock, ssl=ssl)
        self._sweep()

    @property
    def port(self) -> int:
        """The port that this server listens on; 0 when it does not."""
        sockets = self._listener.sockets if self._listener is not None else ()
        return int(sockets[0].getsockname()[1]) if sockets else 0

    @property
    def connections(self) -> int:
        """How many clients are connected."""
        return len(self._connections)

    def _accept(self) -> Connection:
        assert self._shared is not None
        return Connection(self, self._shared)

    # The connections' side.

    def admits(self, connection: Connection) -> bool:
        """Know a new connection until it is lost, and return whether there is room for it."""
        self._connections.add(connection)
        self._empty.clear()
        if self._closed or len(self._connections) > self._settings.connections_max:
            self.refused_connections += 1
            refused = self._may_log()
            if refused:
                log.warning("too many connections", extra={"open": len(self._connections) - 1, "refused": refused})
            return False
        return True

    def lost(self, connection: Connection) -> None:
        """Forget a connection."""
        self._connections.discard(connection)
        if not self._connections:
            self._empty.set()

    def continue_later(self, connection: Connection) -> None:
        """Give a connection with work left another slice, after all others that wait."""
        self._ready.append(connection)
        if not self._turn_due and self._shared is not None:
            self._turn_due = True
            self._shared.loop.call_soon(self._turn)

    def _turn(self) -> None:
        """Let waiting connections work for one slice of time altogether, then let the loop do other things."""
        self._turn_due = False
        end = monotonic() + self._limits.slice_seconds
        for _ in range(len(self._ready)):
            self._ready.popleft().go_on()
            if monotonic() > end:
                break
        if self._ready and not self._turn_due and self._shared is not None:
            self._turn_due = True
            self._shared.loop.call_soon(self._turn)

    def _sweep(self) -> None:
        assert self._shared is not None
        now = monotonic()
        for connection in list(self._connections):
            connection.watch.sweep(now)
        self._sweeper = self._shared.loop.call_later(self._sweep_seconds, self._sweep)

    # Stopping.

    async def drain(self, grace_seconds: float) -> None:
        """Accept no more, ask every client to leave, and wait until all have or `grace_seconds` are over.

        Calls that are under way are answered. Clients hear GOAWAY twice, so that none of their calls is lost.
        """
        self._stop_listening()
        await self._queued.serve(self._accept)
        for connection in list(self._connections):
            connection.drain()
        try:
            async with asyncio.timeout(grace_seconds):
                await self._empty.wait()
        except TimeoutError:
            log.info("%d connections were open when the grace ended", len(self._connections))

    def _stop_listening(self) -> None:
        if self._listener is not None:
            self._listener.close()

    def close(self) -> None:
        """Stop at once: calls under way are answered UNAVAILABLE and their handlers cancelled."""
        self._closed = True
        self._stop_listening()
        self._queued.close()
        for connection in list(self._connections):
            connection.stop()
        if self._sweeper is not None:
            self._sweeper.cancel()
            self._sweeper = None

    async def wait_closed(self) -> None:
        """Wait until every handler has ended and every connection is closed; `close` comes first."""
        if self._shared is None:
            return
        await self._shared.runner.close()
        for _ in range(_ACCEPT_TURNS):
            await asyncio.sleep(0)
        try:
            async with asyncio.timeout(_CLOSE_SECONDS):
                await self._empty.wait()
        except TimeoutError:
            for connection in list(self._connections):
                connection.transport.abort()
            await self._empty.wait()
        if self._listener is not None:
            await self._listener.wait_closed()
