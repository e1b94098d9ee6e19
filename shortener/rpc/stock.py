"""The gRPC server over grpclib (`grpc.server = "grpclib"`), with what that library leaves out.

It takes grpclib's connection and stream machinery, private names included: the pinned version and a test for each
behaviour guard that. `rpc/http2` is the faster server of the same shape.
"""

import asyncio
import socket
import ssl as tls
from collections.abc import Sequence

from shortener.net.accepting import accept_on
from shortener.rpc.guard import Service
from shortener.rpc.settings import RpcSettings
from shortener.rpc.stock_connection import StockProtocol

_CLOSE_SECONDS = 1.0
"""How long a closing connection may take to send what is left, and a cancelled call to end."""


class RpcServer:
    """One gRPC listener. Build it inside a running event loop; start it once."""

    def __init__(self, services: Sequence[Service], *, settings: RpcSettings) -> None:
        self._mapping = {path: handler for service in services for path, handler in service.__mapping__().items()}
        self._settings = settings
        self._connections: set[StockProtocol] = set()
        self.refused_connections = 0
        self._server: asyncio.Server | None = None
        self._port = 0

    async def start(
        self, host: str, port: int, *, ssl: tls.SSLContext | None = None, sock: socket.socket | None = None
    ) -> None:
        """Listen on `host` and `port` (0 = any), or on the bound `sock`. Raises OSError when that is not possible."""
        handshake_seconds = self._settings.handshake_seconds
        self._server = await accept_on(
            self._accept, host, port, sock=sock, ssl=ssl, handshake_seconds=handshake_seconds
        )
        self._port = self._server.sockets[0].getsockname()[1]

    @property
    def port(self) -> int:
        """The port it listens on."""
        return self._port

    @property
    def connections(self) -> int:
        """How many clients are connected."""
        return len(self._connections)

    def _accept(self) -> StockProtocol:
        return StockProtocol(self._mapping, self._settings, self._connections, self._refused)

    def _refused(self) -> None:
        self.refused_connections += 1

    async def drain(self, grace_seconds: float) -> None:
        """Stop accepting, tell every caller to go elsewhere, and let running calls finish, at most so long.

        Calls that were on their way are served. Returns when nothing runs; then `close`.
        """
        if self._server is not None:
            self._server.close()
        for connection in self._connections:
            connection.start_drain()
        try:
            async with asyncio.timeout(grace_seconds):
                await self._quiet()
                while tasks := [task for connection in self._connections for task in connection.calls.tasks.values()]:
                    await asyncio.wait(tasks)
        except TimeoutError:
            return

    async def _quiet(self) -> None:
        """Wait until each caller has heard, or for a second."""
        waits = [connection.is_quiet.wait() for connection in self._connections]
        try:
            async with asyncio.timeout(_CLOSE_SECONDS):
                await asyncio.gather(*waits)
        except TimeoutError:
            return

    def close(self) -> None:
        """Stop listening and stop every call now: those still running are answered UNAVAILABLE."""
        if self._server is not None:
            self._server.close()
        for connection in self._connections:
            connection.calls.close()

    async def wait_closed(self) -> None:
        """Wait until the calls have ended and every connection is gone; those that linger are dropped."""
        tasks = [task for connection in self._connections for task in connection.calls.tasks.values()]
        if tasks:
            await asyncio.wait(tasks, timeout=_CLOSE_SECONDS)
        for connection in list(self._connections):
            connection.finish()
        gone = [connection.gone.wait() for connection in self._connections]
        try:
            async with asyncio.timeout(_CLOSE_SECONDS):
                await asyncio.gather(*gone)
        except TimeoutError:
            for connection in list(self._connections):
                connection.abort()
        if self._server is not None:
            await self._server.wait_closed()
