"""One gRPC server over HTTP/2: its listener, the turns its connections take, and how it stops."""

import logging
import socket
import ssl as tls
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

from grpclib import GRPCError
from grpclib.const import Status

from shortener.config.sections import Grpc
from shortener.net.listener import Listener
from shortener.net.places import RESERVED_PLACES, ListenerLimits
from shortener.rpc.guard import Admits, Service
from shortener.rpc.http2.connection import Connection
from shortener.rpc.http2.head import Method
from shortener.rpc.http2.shared import Shared

log = logging.getLogger(__name__)


HEALTH = "/grpc.health.v1.Health/"
"""How the paths begin that are answered even when no place is free."""


class RpcServer:
    """A gRPC server for the handlers of `services`.

    Of calls that `admits` does not let pass nothing but the head is kept; their handlers must refuse them.
    One instance listens once. Build it inside a running event loop. Stop it by `drain`, `close` and `wait_closed`, in
    this order.
    """

    def __init__(
        self,
        services: Iterable[Service],
        grpc: Grpc,
        *,
        admits: Admits | None = None,
        is_exempt: Callable[[str], bool] = lambda peer: False,
        sweep_seconds: float = 0.5,
    ) -> None:
        """`is_exempt` tells which peers may have any number of connections; their times are looked at each sweep."""
        handlers = {path: handler for service in services for path, handler in service.__mapping__().items()}
        methods = {path: Method(path, handler, grpc, admits) for path, handler in handlers.items()}
        refused = {path: handler._replace(func=_refuse) for path, handler in handlers.items()}
        refusals = {path: Method(path, handler, grpc, admits) for path, handler in refused.items()}
        refusals |= {path: method for path, method in methods.items() if path.startswith(HEALTH)}
        self._shared = Shared(grpc, methods, refusals)
        times = (grpc.keepalive_seconds, grpc.keepalive_timeout_seconds, grpc.handshake_seconds)
        self.listener = self._shared.listener = Listener(
            "grpc",
            partial(Connection, self._shared),
            ListenerLimits(
                connections_max=grpc.connections_max,
                per_address_max=grpc.connections_per_address_max,
                held_max=grpc.unsent_total_max,
                write_timeout_seconds=grpc.write_timeout_seconds,
                reserved=RESERVED_PLACES,
            ),
            is_exempt=is_exempt,
            sweep_seconds=min(sweep_seconds, min(times) / 4),
        )

    async def start(
        self, host: str, port: int, *, ssl: tls.SSLContext | None = None, sock: socket.socket | None = None
    ) -> None:
        """Listen on `host` and `port` (0: the system picks one), or on a bound socket; OSError when that fails.

        With `ssl` only clients that choose h2 by ALPN are served.
        """
        if ssl is not None:
            ssl.set_alpn_protocols(["h2"])
        seconds = self._shared.grpc.handshake_seconds
        await self.listener.start(host, port, sock=sock, ssl=ssl, handshake_seconds=seconds)

    @property
    def port(self) -> int:
        """The port that this server listens on; 0 before it does."""
        return self.listener.port

    @property
    def connections(self) -> int:
        """How many clients are connected."""
        return len(self.listener.connections)

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
