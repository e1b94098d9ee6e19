"""An HTTP/2 client on python-hyper's h2 that can break the protocol."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import h2.config
import h2.connection
import h2.events

from shortener.rpc.http2 import RpcServer
from tests.rpc.http2.served import GET


class Wire:
    """One connection; what came back is kept by stream."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self.h2 = h2.connection.H2Connection(
            h2.config.H2Configuration(validate_outbound_headers=False, normalize_outbound_headers=False)
        )
        self.h2.initiate_connection()
        self.headers: dict[int, dict[str, str]] = {}
        self.resets: dict[int, int] = {}
        self.ended: set[int] = set()
        self.pings = 0
        self.goaway: int | None = None
        self.closed = False

    def flush(self, extra: bytes = b"") -> None:
        self.writer.write(self.h2.data_to_send() + extra)

    def call(
        self, stream: int, changes: dict[str, str | None] | None = None, body: bytes | None = b"\0\0\0\0\0"
    ) -> None:
        headers: dict[str, str | None] = {
            ":method": "POST",
            ":scheme": "http",
            ":path": GET,
            ":authority": "localhost",
            "te": "trailers",
            "content-type": "application/grpc",
        }
        headers.update(changes or {})
        pairs = [(name, value.encode("latin-1")) for name, value in headers.items() if value is not None]
        self.h2.send_headers(stream, pairs, end_stream=body == b"")
        if body:
            self.h2.send_data(stream, body, end_stream=True)
        self.flush()

    async def until(self, done: Callable[[], bool], seconds: float = 5) -> None:
        async with asyncio.timeout(seconds):
            while not done():
                try:
                    data = await self.reader.read(65536)
                except ConnectionResetError:  # closed while our bytes were on their way
                    data = b""
                if not data:
                    self.closed = True
                    assert done(), "closed too early"
                    return
                for event in self.h2.receive_data(data):
                    self._note(event)
                self.flush()

    def _note(self, event: Any) -> None:
        if isinstance(event, h2.events.ResponseReceived | h2.events.TrailersReceived):
            pairs = {name.decode(): value.decode() for name, value in event.headers}
            self.headers.setdefault(event.stream_id, {}).update(pairs)
        elif isinstance(event, h2.events.StreamEnded):
            self.ended.add(event.stream_id)
        elif isinstance(event, h2.events.StreamReset):
            self.resets[event.stream_id] = int(event.error_code)
        elif isinstance(event, h2.events.ConnectionTerminated):
            self.goaway = int(event.error_code)
        elif isinstance(event, h2.events.PingReceived):
            self.pings += 1


@asynccontextmanager
async def wire(server: RpcServer) -> AsyncIterator[Wire]:
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    opened = Wire(reader, writer)
    opened.flush()
    try:
        yield opened
    finally:
        writer.close()
