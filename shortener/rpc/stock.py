"""The gRPC server of the library (`grpc.server = "grpclib"`), for comparison and compatibility, on loopback only.

It is grpclib's own `Server` with our codec. It has no limits on messages, calls, connections or time beyond those that
callers set, and stopping it cancels the calls under way: `rpc/http2` is the server for everything else.
"""

import asyncio
import socket
import ssl as tls
from collections.abc import Sequence
from weakref import WeakSet

from grpclib.encoding.proto import ProtoStatusDetailsCodec
from grpclib.protocol import H2Protocol
from grpclib.server import Server

from shortener.rpc.codec import StrictCodec
from shortener.rpc.guard import Service

_CLOSE_SECONDS = 1.0
"""How long cancelled calls may take to end."""


class _Server(Server):
    """grpclib's server, which by itself leaves its connections open when it closes."""

    def __init__(self, services: Sequence[Service]) -> None:
        super().__init__(services, codec=StrictCodec(), status_details_codec=ProtoStatusDetailsCodec())
        self._protocols: WeakSet[H2Protocol] = WeakSet()

    def _protocol_factory(self) -> H2Protocol:
        protocol = super()._protocol_factory()
        self._protocols.add(protocol)
        return protocol

    def connected(self) -> list[H2Protocol]:
        """Return the protocols of open connections."""
        made = [protocol for protocol in self._protocols if hasattr(protocol, "processor")]
        return [protocol for protocol in made if not protocol.connection.is_closing()]

    def close(self) -> None:
        """Stop listening, cancel every call and close every connection."""
        super().close()
        for protocol in self.connected():
            protocol.processor.close("the server is stopping")


class StockServer:
    """One gRPC listener. Build it inside a running event loop; start it once."""

    refused_connections = 0

    def __init__(self, services: Sequence[Service]) -> None:
        self._server = _Server(services)
        self.port = 0

    async def start(
        self, host: str, port: int, *, ssl: tls.SSLContext | None = None, sock: socket.socket | None = None
    ) -> None:
        """Listen on `host` and `port` (0 = any), or on the bound `sock`. Raises OSError when that is not possible."""
        if sock is None:
            family = socket.AF_INET6 if ":" in host else socket.AF_INET
            sock = socket.create_server((host, port), family=family)
        self.port = sock.getsockname()[1]
        await self._server.start(sock=sock, ssl=ssl)

    @property
    def connections(self) -> int:
        """How many clients are connected."""
        return len(self._server.connected())

    async def drain(self, grace_seconds: float) -> None:
        """Stop: grpclib cannot stop accepting without cancelling its calls."""
        self.close()

    def close(self) -> None:
        """Stop listening, cancel every call and close every connection."""
        self._server.close()

    async def wait_closed(self) -> None:
        """Wait until the cancelled calls have ended."""
        try:
            async with asyncio.timeout(_CLOSE_SECONDS):
                await self._server.wait_closed()
        except TimeoutError:
            return
