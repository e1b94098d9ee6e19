"""A client that speaks single frames, built on hyperframe and hpack, for what well-behaved libraries never send."""

import asyncio
import contextlib
import struct
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import hpack
from hyperframe.frame import (
    ContinuationFrame,
    DataFrame,
    Frame,
    GoAwayFrame,
    HeadersFrame,
    PingFrame,
    RstStreamFrame,
    SettingsFrame,
    WindowUpdateFrame,
)

from shortener.gen.url import GetUrlRequest
from shortener.rpc.http2 import RpcServer

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
Fields = Sequence[tuple[str, str | bytes]]


def head(path: str = "/test.Odd/echo", *extra: tuple[str, str | bytes], **changes: str | None) -> list[Any]:
    """Return a request's fields; `changes` replace (None: remove) pseudo-headers and fields by name."""
    fields: dict[str, str | None] = {
        ":method": "POST",
        ":scheme": "http",
        ":path": path,
        ":authority": "localhost",
        "content-type": "application/grpc",
        "te": "trailers",
    }
    for name, value in changes.items():
        key = name.replace("__", ":") if name.startswith("__") else name.replace("_", "-")
        fields[key] = value
    return [(name, value) for name, value in fields.items() if value is not None] + list(extra)


def message(code: str = "abc") -> bytes:
    """Return a length-prefixed request."""
    data = bytes(GetUrlRequest(short_code=code))
    return struct.pack(">BI", 0, len(data)) + data


def frame(kind: int, flags: int, stream_id: int, payload: bytes = b"") -> bytes:
    """Return any frame, valid or not."""
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream_id) + payload


@dataclass
class Answer:
    """What came on one stream."""

    headers: dict[str, str] = field(default_factory=dict)
    trailers: dict[str, str] = field(default_factory=dict)
    data: bytes = b""
    ended: bool = False
    reset: int | None = None

    @property
    def status(self) -> str | None:
        return self.trailers.get("grpc-status", self.headers.get("grpc-status"))


class WireClient:
    """One connection. `answers` and `goaways` fill as frames are read."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.encoder = hpack.Encoder()
        self.decoder = hpack.Decoder()
        self.answers: dict[int, Answer] = {}
        self.goaways: list[tuple[int, int]] = []
        self.frames: list[Frame] = []
        self.closed = False
        self._marker = 0
        self._block = b""

    def write(self, *parts: bytes) -> None:
        self.writer.write(b"".join(parts))

    def greet(self, settings: dict[int, int] | None = None) -> None:
        self.write(PREFACE, SettingsFrame(settings=settings or {}).serialize())

    def headers(self, stream_id: int, fields: Fields, *, end: bool = False) -> bytes:
        block = self.encoder.encode(fields)
        return frame(1, 4 | end, stream_id, block)

    def call(self, stream_id: int, path: str = "/test.Odd/echo", body: bytes | None = None, **changes: Any) -> bytes:
        return self.headers(stream_id, head(path, **changes)) + frame(0, 1, stream_id, body or message())

    async def next_frame(self) -> Frame | None:
        """Return the next frame, or None when the server has closed."""
        try:
            start = await self.reader.readexactly(9)
            found, length = Frame.parse_frame_header(memoryview(start))
            found.parse_body(memoryview(await self.reader.readexactly(length)))
        except (asyncio.IncompleteReadError, ConnectionError):
            self.closed = True
            return None
        self.frames.append(found)
        self._note(found)
        return found

    def _note(self, found: Frame) -> None:
        answer = self.answers.setdefault(found.stream_id, Answer())
        if isinstance(found, HeadersFrame | ContinuationFrame):
            self._block += found.data
            if "END_HEADERS" in found.flags:
                fields = {str(name): str(value) for name, value in self.decoder.decode(self._block)}
                self._block = b""
                if answer.headers:
                    answer.trailers = fields
                else:
                    answer.headers = fields
        elif isinstance(found, DataFrame):
            answer.data += found.data
        elif isinstance(found, RstStreamFrame):
            answer.reset = found.error_code
        elif isinstance(found, GoAwayFrame):
            self.goaways.append((found.last_stream_id, found.error_code))
        if "END_STREAM" in found.flags:
            answer.ended = True

    async def settle(self) -> None:
        """Read until all that the server says at once to what was written has come: a PING marks the end."""
        self._marker += 1
        mark = struct.pack(">Q", self._marker)
        self.write(PingFrame(opaque_data=mark).serialize())
        async with asyncio.timeout(5):
            while (found := await self.next_frame()) is not None:
                if isinstance(found, PingFrame) and found.opaque_data == mark:
                    return

    async def finish(self) -> None:
        """Read until the server closes."""
        async with asyncio.timeout(5):
            while await self.next_frame() is not None:
                pass

    async def ended(self, stream_id: int) -> Answer:
        """Read until a stream is answered or reset."""
        async with asyncio.timeout(5):
            while not (answer := self.answers.setdefault(stream_id, Answer())).ended and answer.reset is None:
                if await self.next_frame() is None:
                    break
        return answer

    def grow(self, stream_id: int, increment: int) -> None:
        self.write(WindowUpdateFrame(stream_id, window_increment=increment).serialize())


@contextlib.asynccontextmanager
async def wire(
    server: RpcServer, *, settings: dict[int, int] | None = None, greet: bool = True
) -> AsyncIterator[WireClient]:
    """Connect, and greet unless told not to."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    client = WireClient(reader, writer)
    if greet:
        client.greet(settings)
    try:
        yield client
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()
