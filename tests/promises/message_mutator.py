"""Mutates valid protobuf messages by fields and by bytes, and makes unusual gRPC metadata."""

import random
import struct
from collections.abc import Sequence

Field = tuple[int, int, bytes]
"""Number, wire type, and what stands on the wire behind the tag."""

NUMBERS = (0, 1, 127, 128, 1 << 31, (1 << 32) - 1, 1 << 32, (1 << 63) - 1, 1 << 63, (1 << 64) - 1, 1_577_836_799)
TEXTS = (
    b"", b"\0", b" ", b"a", b"%", b"%00", b"\r\n", b"\xff\xfe", b"\xc3\x28", b"\xed\xa0\x80", b"\xf0\x9f\x92\xa9" * 9,
    "\u202eevil".encode(), "\u0430pple".encode(), "\U0001d7d9\U0001d7da7.0.0.1".encode(), b"../../etc/passwd", b"{}",
    b"-1", b"' OR 1=1 --", b"1e999", b"javascript:alert(1)", b"http://127.1:8081/x", b"HTTPS://X/",
    b"http://", b"https://", b"http://[::1", b"http://a:b@c/",
    b"http://example.com/" + b"a" * 8000, b"a" * 64, b"a" * 65, b"a" * 10_000, b"x@y", b"x@example.com", b"a.b.c",
    b"::ffff:1.2.3.4", b"999.1.1.1", b"day", b"hour", b"robots.txt", b"healthz",
)  # fmt: skip
VALUES = (
    "", "a", " ", "x" * 4000, "%00", "1", "-1", "99999999999S", "0n", "1u", "1H", "gzip", "identity", "Bearer",
    "Bearer x", "Bearer " + "a" * 900, "\x7f", "é", "application/grpc", "==", "AAAA", "A", "AA=", "\t",
)  # fmt: skip
NAMES = (
    "x-canary", "x-canary-bin", "authorization", "grpc-timeout", "grpc-encoding", "grpc-accept-encoding",
    "user-agent",
    "grpc-previous-rpc-attempts", "cookie", "content-length", "x-forwarded-for", "idempotency-key", "grpc-tags-bin",
    "te", "Upper", "with space", "connection", ":path", "",
)  # fmt: skip


def varint(number: int) -> bytes:
    """Return a number as protobuf and the tags of fields have it."""
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    out.append(number)
    return bytes(out)


def fields_of(message: bytes) -> list[Field]:
    """Take a valid message of numbers and texts apart."""
    fields, at = [], 0
    while at < len(message):
        tag, at = _read(message, at)
        start = at
        number, at = _read(message, at)
        if tag & 7 == 2:
            at += number
        fields.append((tag >> 3, tag & 7, message[start:at]))
    return fields


def _read(data: bytes, at: int) -> tuple[int, int]:
    number = shift = 0
    while data[at] & 128:
        number |= (data[at] & 127) << shift
        at, shift = at + 1, shift + 7
    return number | data[at] << shift, at + 1


def joined(fields: Sequence[Field]) -> bytes:
    """Put a message together."""
    return b"".join(varint(number << 3 | kind) + rest for number, kind, rest in fields)


def mutated(rng: random.Random, message: bytes, others: Sequence[bytes]) -> bytes:
    """Return a changed message: by one to three changes to fields, to bytes, or both."""
    way = rng.random()
    if way < 0.65:
        fields = fields_of(message)
        for _ in range(rng.randint(1, 3)):
            _change_fields(rng, fields, others)
        message = joined(fields)
    if way > 0.55:
        data = bytearray(message)
        for _ in range(rng.randint(1, 3)):
            _change_bytes(rng, data, others)
        message = bytes(data)
    return message


def _change_fields(rng: random.Random, fields: list[Field], others: Sequence[bytes]) -> None:
    way = rng.randrange(8)
    at = rng.randrange(len(fields)) if fields else 0
    if way == 0 and fields:
        del fields[at]
    elif way == 1 and fields:
        fields.insert(rng.randint(0, len(fields)), fields[at])
    elif way == 2:
        rng.shuffle(fields)
    elif way == 3:
        extra = fields_of(rng.choice(others))
        fields.extend(rng.sample(extra, min(len(extra), 2)))
    elif way == 4:
        number = rng.choice((0, 1, 2, 3, 15, 16, 19_000, (1 << 29) - 1))
        fields.append((number, rng.randrange(8), rng.choice((b"", b"\0", b"\x80", bytes(8)))))
    elif fields:
        number, kind, rest = fields[at]
        if way == 5:
            fields[at] = (number, rng.randrange(8), rest)
        elif kind == 2:
            text = rng.choice(TEXTS)
            fields[at] = (number, 2, varint(len(text)) + text)
        else:
            fields[at] = (number, kind, varint(rng.choice(NUMBERS)))


def _change_bytes(rng: random.Random, data: bytearray, others: Sequence[bytes]) -> None:
    way = rng.randrange(6)
    at = rng.randrange(len(data)) if data else 0
    if way == 0 and data:
        data[at] ^= 1 << rng.randrange(8)
    elif way == 1 and data:
        del data[at : at + rng.randint(1, 8)]
    elif way == 2:
        data[at:at] = rng.randbytes(rng.randint(1, 8))
    elif way == 3:
        del data[at:]
    elif way == 4:
        data[at:at] = data[at : at + rng.randint(1, 40)]
    else:
        data[at:] = rng.choice(others)


def framed(rng: random.Random, message: bytes, *, gzip: bool = False) -> bytes:
    """Return a gRPC message with its prefix; one in twenty has a prefix that lies.

    "Compressed" is a lie only with `gzip`, as the call's grpc-encoding: without one gRPC demands INTERNAL.
    """
    flag, length = 0, len(message)
    if rng.random() < 0.05:
        way = rng.randrange(5)
        if way == 0:
            flag = 1 if gzip else rng.choice((2, 255))
        elif way == 1:
            length = rng.choice((0, length + 1, max(0, length - 1), 1 << 20, (1 << 20) + 1, (1 << 32) - 1))
        elif way == 2:
            return struct.pack(">BI", 0, length) + message + struct.pack(">BI", 0, length) + message
        elif way == 3:
            return message[:4]
        else:
            return b""
    return struct.pack(">BI", flag, length) + message


def metadata(rng: random.Random) -> list[tuple[str, str]]:
    """Return metadata: none for three of four calls, else up to four odd pairs."""
    if rng.random() < 0.75:
        return []
    return [(rng.choice(NAMES), rng.choice(VALUES)) for _ in range(rng.randint(1, 4))]
