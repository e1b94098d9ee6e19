"""Asyncio clients: grpcio stubs of the three services, and one HTTP/1.1 connection to the redirect server."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from types import SimpleNamespace

import grpc.aio

from tests.support.process import Running

OPTIONS = [("grpc.use_local_subchannel_pool", 1)]
"""A channel with these has a connection of its own."""


@contextlib.asynccontextmanager
async def aio_stubs_of(pb: SimpleNamespace, server: Running) -> AsyncIterator[SimpleNamespace]:
    """Give the three services over one connection of its own."""
    async with grpc.aio.insecure_channel(server.url, options=OPTIONS) as channel:
        yield SimpleNamespace(
            urls=pb.url_pb2_grpc.URLServiceStub(channel),
            users=pb.user_pb2_grpc.UserServiceStub(channel),
            analytics=pb.analytics_pb2_grpc.AnalyticsServiceStub(channel),
        )


class RedirectConnection:
    """One kept connection to the redirect server."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    async def ask(self, code: str, method: str = "GET") -> tuple[int, str]:
        """Return status and Location. A HEAD is answered alike and not counted."""
        self._writer.write(f"{method} /{code} HTTP/1.1\r\nHost: s.example\r\n\r\n".encode())
        head = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        first, *lines = head.split("\r\n")
        fields = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
        if method != "HEAD":
            await self._reader.readexactly(int(fields["content-length"]))
        return int(first.split()[1]), fields.get("location", "")


@contextlib.asynccontextmanager
async def redirect_connection_to(server: Running) -> AsyncIterator[RedirectConnection]:
    """Connect to the redirect server."""
    host, _, port = server.redirect.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        yield RedirectConnection(reader, writer)
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()
