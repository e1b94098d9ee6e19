"""Changes conversations frame by frame, which changing single bytes seldom manages."""

import random
import struct
from collections.abc import Callable

import hpack

from shortener.rpc.http2 import frames
from tests.fuzz.h2_virtual import cut
from tests.support.h2_wire import frame, head, message

NAMES = (
    "echo",
    "wait",
    "missing",
    "crash",
    "metadata",
    "big",
    "count",
    "forever",
    "collect",
    "unread",
    "mirror",
    "none",
)
EXTRAS = ((), (), (), (("grpc-timeout", "300m"),), (("grpc-encoding", "gzip"),), (("x-bin", "AP8"),))
BODIES = (b"", message("7"), message("149000"), message("90000"), message("x" * 300), message()[:6], message() * 2)
INCREMENTS = (0, 1, 100, 16_384, 65_535, 200_000, frames.WINDOW_MAX)
SETTINGS = ((4, 0), (4, 10), (4, 200_000), (4, 2**31 - 1), (5, 16_384), (5, 65_536), (1, 0), (1, 4096), (3, 0), (9, 1))
EVENTS = range(0xF0, 0xF7)


def number(choose: random.Random) -> int:
    return 2 * choose.randrange(8) + 1


def request(choose: random.Random) -> bytes:
    stream_id, body = number(choose), choose.choice(BODIES)
    block = hpack.Encoder().encode(head(f"/test.Odd/{choose.choice(NAMES)}", *choose.choice(EXTRAS)))
    if choose.random() < 0.2:
        at = choose.randrange(len(block))
        return frame(1, 0, stream_id, block[:at]) + frame(9, 4, stream_id, block[at:])
    return frame(1, 4, stream_id, block) + frame(0, choose.random() < 0.8, stream_id, body)


def data(choose: random.Random) -> bytes:
    return frame(0, choose.randrange(2), number(choose), choose.choice(BODIES))


def padded(choose: random.Random) -> bytes:
    size = choose.randrange(20)
    return frame(0, 8 | choose.randrange(2), number(choose), bytes((size,)) + choose.choice(BODIES) + bytes(size))


def trailers(choose: random.Random) -> bytes:
    return frame(1, 5, number(choose), hpack.Encoder().encode([("x-last", "y")]))


def rare(choose: random.Random) -> bytes:
    return choose.choice((frame(2, 0, number(choose), bytes(5)), frame(7, 0, 0, bytes(8)), frame(4, 1, 0)))


def window(choose: random.Random) -> bytes:
    return frame(8, 0, choose.choice((0, 0, number(choose))), struct.pack(">I", choose.choice(INCREMENTS)))


def settings(choose: random.Random) -> bytes:
    return frame(4, 0, 0, struct.pack(">HI", *choose.choice(SETTINGS)))


def reset(choose: random.Random) -> bytes:
    return frame(3, 0, number(choose), bytes(4))


def ping(choose: random.Random) -> bytes:
    return frame(6, choose.randrange(2), 0, choose.choice((b"12345678", b"drain-it", b"keepaliv")))


def event(choose: random.Random) -> bytes:
    return frame(choose.choice(EVENTS), choose.randrange(60), 0)


NEW: tuple[Callable[[random.Random], bytes], ...] = (request, request, request, data, window, window, settings, reset)
NEW += (ping, event, event, event, padded, trailers, rare)


def mutate(old: bytes, size_max: int, seed: int) -> bytes:
    """Return a conversation with a few frames put in, left out, doubled or moved."""
    choose = random.Random(seed)
    options, parts = old[:1] or b"\0", list(cut(old[1:]))
    for _ in range(choose.randint(1, 6)):
        at, what = choose.randint(0, len(parts)), choose.randrange(6)
        if what == 0 and parts:
            del parts[at - 1]
        elif what == 1 and parts:
            parts.insert(at, choose.choice(parts))
        elif what == 2 and parts:
            parts.insert(at, parts.pop(choose.randrange(len(parts))))
        else:
            parts.insert(at, choose.choice(NEW)(choose))
    if choose.random() < 0.1:
        options = bytes((choose.choice((0, 0, 2)),))
    return (options + b"".join(parts))[:size_max]
