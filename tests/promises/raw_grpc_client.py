"""A gRPC client that sends arbitrary bytes in many calls over one connection and reports how each call ended."""

import socket
import struct
from collections import Counter
from collections.abc import Sequence

import hpack

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE = 0, 1, 3, 4, 6, 7, 8
END_STREAM, ACK, END_HEADERS = 1, 1, 4
WINDOW_MAX = (1 << 31) - 1
STREAMS_MAX = 100
SECONDS_MAX = 60

Call = tuple[bytes, bytes]
"""A header block, and the bytes of the body."""


def frame(kind: int, flags: int, stream_id: int, payload: bytes = b"") -> bytes:
    """Return one HTTP/2 frame."""
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream_id) + payload


def block(path: str, more: Sequence[tuple[str, str]] = ()) -> bytes:
    """Return the header block of a call. It uses no dynamic table, so that it can be sent again and again."""
    fields = [(":method", "POST"), (":scheme", "http"), (":path", path), (":authority", "localhost")]
    fields += [("content-type", "application/grpc"), ("te", "trailers"), *more]
    return b"".join(b"\0" + _text(name.encode("latin-1")) + _text(value.encode("latin-1")) for name, value in fields)


def _text(text: bytes) -> bytes:
    size = len(text)
    if size < 127:
        return bytes([size]) + text
    rest, out = size - 127, bytearray([127])
    while rest > 127:
        out.append(rest & 127 | 128)
        rest >>= 7
    out.append(rest)
    return bytes(out) + text


class RawGrpcClient:
    """One connection after another to `address`. `outcomes` counts what calls ended with:

    "status N" (of gRPC), "http N" (not taken for gRPC at all), "reset N" and "closed" (by HTTP/2).
    """

    def __init__(self, address: str) -> None:
        host, _, port = address.rpartition(":")
        self._address = (host, int(port))
        self.outcomes: Counter[str] = Counter()
        self.connections = 0
        self._decoded: dict[bytes, str] = {}
        self._decoder = hpack.Decoder()
        self._connect()

    def _connect(self) -> None:
        self._socket = socket.create_connection(self._address, timeout=SECONDS_MAX)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.connections += 1
        self._next_id = 1
        self._received = b""
        settings = struct.pack(">HIHI", 1, 0, 4, WINDOW_MAX)
        update = struct.pack(">I", WINDOW_MAX - 65_535)
        self._socket.sendall(PREFACE + frame(SETTINGS, 0, 0, settings) + frame(WINDOW_UPDATE, 0, 0, update))

    def close(self) -> None:
        """End the connection."""
        self._socket.close()

    def run(self, calls: Sequence[Call]) -> list[str]:
        """Make up to 100 calls at once and return how each ended, in order."""
        assert len(calls) <= STREAMS_MAX
        if self._next_id > 1 << 30:
            self.close()
            self._connect()
        first, parts, outcomes = self._next_id, [], {}
        for number, (fields, body) in enumerate(calls):
            stream_id = first + 2 * number
            parts.append(frame(HEADERS, END_HEADERS, stream_id, fields))
            parts.append(frame(DATA, END_STREAM, stream_id, body))
        self._next_id = first + 2 * len(calls)
        try:
            self._socket.sendall(b"".join(parts))
            self._collect(outcomes, len(calls))
        except ConnectionError:
            self.close()
            self._connect()
        ended = [outcomes.get(first + 2 * number, "closed") for number in range(len(calls))]
        self.outcomes.update(ended)
        return ended

    def _collect(self, outcomes: dict[int, str], wanted: int) -> None:
        """Read until all calls have ended; raises ConnectionError when the server closes before."""
        statuses: dict[int, str] = {}
        granted = 0
        while len(outcomes) < wanted:
            data = self._socket.recv(262_144)
            if not data:
                raise ConnectionResetError
            for kind, flags, stream_id, payload in self._frames(data):
                if kind == DATA:
                    granted += len(payload)
                elif kind == HEADERS:
                    found = self._status(payload)
                    if found:
                        statuses[stream_id] = found
                elif kind == RST_STREAM:
                    outcomes.setdefault(stream_id, statuses.get(stream_id, f"reset {payload[3]}"))
                elif kind in (PING, SETTINGS) and not flags & ACK:
                    self._socket.sendall(frame(kind, ACK, 0, payload if kind == PING else b""))
                if kind in (HEADERS, DATA) and flags & END_STREAM:
                    outcomes[stream_id] = statuses.get(stream_id, "no status")
        if granted:
            self._socket.sendall(frame(WINDOW_UPDATE, 0, 0, struct.pack(">I", granted)))

    def _frames(self, data: bytes) -> list[tuple[int, int, int, bytes]]:
        data, at, frames = self._received + data, 0, []
        while len(data) >= at + 9:
            length = int.from_bytes(data[at : at + 3], "big")
            if len(data) < at + 9 + length:
                break
            stream_id = int.from_bytes(data[at + 5 : at + 9], "big")
            frames.append((data[at + 3], data[at + 4], stream_id, data[at + 9 : at + 9 + length]))
            at += 9 + length
        self._received = data[at:]
        return frames

    def _status(self, payload: bytes) -> str:
        """Return how a header block says that the call ended; empty when it does not."""
        known = self._decoded.get(payload)
        if known is None:
            fields = {str(name): str(value) for name, value in self._decoder.decode(payload)}
            assert not self._decoder.header_table.dynamic_entries, "the answer depends on those before it"
            http, status = fields.get(":status", "200"), fields.get("grpc-status")
            known = f"http {http}" if http != "200" else "" if status is None else f"status {status}"
            if len(self._decoded) < 10_000:
                self._decoded[payload] = known
        return known
