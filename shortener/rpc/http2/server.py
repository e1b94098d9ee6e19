"""One gRPC server over HTTP/2: its listener, the turns its connections take, and how it stops."""

import asyncio
import logging
import socket
import ssl as tls
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from time import monotonic
from typing import Any, Protocol

from grpclib import GRPCError
from grpclib.const import Handler, Status

from shortener.net.listener import Listener
from shortener.net.places import RESERVED_PLACES, ListenerLimits
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


HEALTH = "/grpc.health.v1.Health/"
"""How the paths begin that are answered even when no place is free."""


class Servable(Protocol):
    """What `grpclib.server.Server` takes: its handlers by path."""

    def __mapping__(self) -> Mapping[str, Handler]:
        """Return path -> handler."""


class RpcServer:
    """A gRPC server for the handlers of `services`.

    Of calls that `admits` does not let pass nothing but the head is kept; their handlers must refuse them.
    One instance listens once. Build it inside a running event loop. Stop it by `drain`, `close` and `wait_closed`, in
    this order.
    """

    def __init__(
        self,
        services: Iterable[Servable],
        *,
        settings: RpcSettings,
        limits: Limits | None = None,
        admits: Admits | None = None,
        is_exempt: Callable[[str], bool] = lambda peer: False,
    ) -> None:
        """`is_exempt` tells which peers may have any number of connections."""
        self._settings = settings
        self._limits = (limits or Limits()).scaled(settings.message_size_max)
        self._ready: deque[Connection] = deque()
        self._turn_due = False
        handlers = {path: handler for service in services for path, handler in service.__mapping__().items()}
        methods = {path: Method(path, handler, settings, admits) for path, handler in handlers.items()}
        loop = asyncio.get_running_loop()
        received, unsent = Pool[Inbound](self._limits.held_max), Pool[Outbound](self._limits.unsent_total_max)
        self._shared = Shared(loop, methods, settings, self._limits, Runner(loop), received, unsent)
        refused = {path: handler._replace(func=_refuse) for path, handler in handlers.items()}
        refusals = {path: Method(path, handler, settings, admits) for path, handler in refused.items()}
        health = {path: method for path, method in methods.items() if path.startswith(HEALTH)}
        self._reserved = replace(self._shared, methods=refusals | health)
        times = (settings.keepalive_seconds, settings.keepalive_timeout_seconds, settings.handshake_seconds)
        self.listener = Listener(
            "grpc",
            self._accept,
            ListenerLimits(
                connections_max=settings.connections_max,
                per_address_max=settings.connections_per_address_max,
                reserved=RESERVED_PLACES,
            ),
            is_exempt=is_exempt,
            sweep_seconds=min(self._limits.sweep_seconds, min(times) / 4),
        )

    async def start(
        self, host: str, port: int, *, ssl: tls.SSLContext | None = None, sock: socket.socket | None = None
    ) -> None:
        """Listen on `host` and `port` (0: the system picks one), or on a bound socket; OSError when that fails.

        With `ssl` only clients that choose h2 by ALPN are served.
        """
        if ssl is not None:
            ssl.set_alpn_protocols(["h2"])
        seconds = self._settings.handshake_seconds
        await self.listener.start(host, port, sock=sock, ssl=ssl, handshake_seconds=seconds)

    @property
    def port(self) -> int:
        """The port that this server listens on; 0 before it does."""
        return self.listener.port

    @property
    def connections(self) -> int:
        """How many clients are connected."""
        return len(self.listener.connections)

    def _accept(self) -> Connection:
        return Connection(self, self._shared, self._reserved, self.listener)

    # The connections' side.

    def continue_later(self, connection: Connection) -> None:
        """Give a connection with work left another slice, after all others that wait."""
        self._ready.append(connection)
        if not self._turn_due:
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
        if self._ready and not self._turn_due:
            self._turn_due = True
            self._shared.loop.call_soon(self._turn)

    # Stopping.

    async def drain(self, grace_seconds: float) -> None:
        """Accept no more, ask every client to leave, and wait until all have or `grace_seconds` are over.

        Calls that are under way are answered. Clients hear GOAWAY twice, so that none of their calls is lost.
        """
        if not await self.listener.drain(grace_seconds):
            log.info("%d connections were open when the grace ended", len(self.listener.connections))

    def close(self) -> None:
        """Stop at once: calls under way are answered UNAVAILABLE and their handlers cancelled."""
        self.listener.close()

    async def wait_closed(self) -> None:
        """Wait until every handler has ended and every connection is closed; `close` comes first."""
        await self._shared.runner.close()
        await self.listener.wait_closed()


async def _refuse(stream: Any) -> None:
    raise GRPCError(Status.UNAVAILABLE, "too many connections")
