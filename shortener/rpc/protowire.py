"""Protocol Buffers on the wire: varints, tags, and how unknown fields are skipped.

Judges bytes as google.protobuf does (its C implementation, upb); tests compare the two. Decoders read from `bytes` at
a position and return the next one; reading past the end raises IndexError, any other fault `MalformedError`.
"""

import functools
import re
import struct
from collections.abc import Callable, Iterable

DEPTH_MAX = 100
"""How deep messages and groups may nest, as google.protobuf limits it."""

VARINT, FIXED64, SIZED, GROUP_START, GROUP_END, FIXED32 = range(6)
"""The wire types: the low three bits of a tag."""

_BYTE_PACKERS = tuple(struct.Struct(f"{size}B").pack for size in range(6))
_PACK2, _PACK3, _PACK4, _PACK5 = _BYTE_PACKERS[2:]
_ONE_BYTE = tuple(bytes((value,)) for value in range(128))


class MalformedError(ValueError):
    """Bytes that are no protobuf message."""


def varint(value: int) -> bytes:
    """Return the base-128 varint of 0 <= `value` < 2**64."""
    if value < 0x80:
        return _ONE_BYTE[value]
    if value < 0x4000:
        return _PACK2(value & 127 | 128, value >> 7)
    if value < 0x200000:
        return _PACK3(value & 127 | 128, value >> 7 & 127 | 128, value >> 14)
    if value < 0x10000000:
        return _PACK4(value & 127 | 128, value >> 7 & 127 | 128, value >> 14 & 127 | 128, value >> 21)
    if value < 0x800000000:
        return _PACK5(
            value & 127 | 128, value >> 7 & 127 | 128, value >> 14 & 127 | 128, value >> 21 & 127 | 128, value >> 28
        )
    return _PACK5(
        value & 127 | 128,
        value >> 7 & 127 | 128,
        value >> 14 & 127 | 128,
        value >> 21 & 127 | 128,
        value >> 28 & 127 | 128,
    ) + varint(value >> 35)


@functools.cache
def prefixes(tag: int) -> tuple[bytes, ...]:
    """Return `tag` followed by each varint of one byte: how most fields begin."""
    return tuple(varint(tag) + byte for byte in _ONE_BYTE)


def read_varint(data: bytes, at: int) -> tuple[int, int]:
    """Return a varint of at most ten bytes, cut to its low 64 bits, and the position behind it."""
    byte = data[at]
    at += 1
    if byte < 128:
        return byte, at
    value = byte & 127
    for shift in (7, 14, 21, 28, 35, 42, 49, 56, 63):
        byte = data[at]
        at += 1
        if byte < 128:
            return (value | byte << shift) & 0xFFFFFFFFFFFFFFFF, at
        value |= (byte & 127) << shift
    raise MalformedError("a varint is longer than ten bytes")


def read_tag(data: bytes, at: int) -> tuple[int, int]:
    """Return a tag, which has 32 bits in at most five bytes, and the position behind it."""
    tag, end = read_varint(data, at)
    if end - at > 5 or tag > 0xFFFFFFFF:
        raise MalformedError("a tag has more than 32 bits")
    return tag, end


def read_size(data: bytes, at: int) -> tuple[int, int]:
    """Return a length, which has 31 bits in at most five bytes, and the position behind it."""
    size, end = read_varint(data, at)
    if end - at > 5 or size > 0x7FFFFFFF:
        raise MalformedError("a length has more than 31 bits")
    return size, end


def skip(data: bytes, at: int, tag: int, depth: int) -> int:
    """Return the position behind the unknown field whose `tag` was just read; `depth` counts open messages.

    It does not look at the end of the enclosing message: the caller compares positions afterwards.
    """
    if tag < 8:
        raise MalformedError("field number 0")
    wire_type = tag & 7
    if wire_type == GROUP_START:
        return _skip_group(data, at, tag, depth)
    return _skip_plain(data, at, wire_type)


def _skip_plain(data: bytes, at: int, wire_type: int) -> int:
    if wire_type == VARINT:
        if data[at] < 128:
            return at + 1
        return read_varint(data, at)[1]
    if wire_type == SIZED:
        size = data[at]
        at += 1
        if size > 127:
            size, at = read_size(data, at - 1)
        end = at + size
    elif wire_type == FIXED64:
        end = at + 8
    elif wire_type == FIXED32:
        end = at + 4
    else:
        raise MalformedError("a stray end of group or an unknown wire type")
    if end > len(data):
        raise MalformedError("truncated")
    return end


def _skip_group(data: bytes, at: int, tag: int, depth: int) -> int:
    """Skip a group and those inside it. Like google.protobuf, it lets field number 0 pass in there."""
    open_groups = [tag + 1]  # the tags that will close them: an end is its start plus one
    plain = 0
    while open_groups:
        if depth + len(open_groups) > DEPTH_MAX:
            raise MalformedError("nested too deep")
        tag = data[at]
        at += 1
        if tag > 127:
            tag, at = read_tag(data, at - 1)
        wire_type = tag & 7
        if wire_type == GROUP_START:
            open_groups.append(tag + 1)
        elif wire_type == GROUP_END:
            if tag != open_groups.pop():
                raise MalformedError("a group ends that was not open")
        else:
            at = _skip_plain(data, at, wire_type)
            plain += 1
            if not plain & 7:
                at = _any_run(data, at, len(data))
    return at


def unknown_run(known_tags: Iterable[int]) -> Callable[[bytes, int, int], int]:
    """Return a function (data, start, end) that skips fields not among `known_tags`, as many as it can.

    It stops at the first field that is known, or malformed, or too long or too odd for it: `skip` judges that one. A
    regular expression does this five times as fast as `skip`, so that a megabyte of two-byte fields, sent to keep us
    busy, costs 20 ms instead of 100. Its quantifiers are possessive: no backtracking, no stack, linear time.
    """
    known = frozenset(known_tags)
    values = {
        VARINT: rb"[\x80-\xff]{0,9}+[\x00-\x7f]",
        FIXED64: rb".{8}",
        SIZED: rb"(?:" + b"|".join(_sized(size) for size in range(8)) + rb")",
        FIXED32: rb".{4}",
    }
    fields = []
    for wire_type, value in values.items():
        unknown = [tag for tag in range(8, 128) if tag & 7 == wire_type and tag not in known]
        fields.append(_any_of(unknown) + value)
        if all(tag < 128 for tag in known):  # else a tag of several bytes might be a known one
            starts = _any_of(byte for byte in range(128, 256) if byte & 7 == wire_type)
            fields.append(starts + rb"(?:[\x80-\xff]{0,2}+[\x01-\x7f]|[\x80-\xff]{3}[\x01-\x0f])" + value)
            fields.append(_any_of(tag | 128 for tag in unknown) + rb"\x80{0,3}+\x00" + value)
    fields += [b"\\x%02x\\x%02x" % (tag, tag + 1) for tag in range(8 | GROUP_START, 128, 8)]  # empty groups
    match = re.compile(rb"(?:" + b"|".join(fields) + rb")*+", re.DOTALL).match

    def run(data: bytes, start: int, end: int) -> int:
        found = match(data, start, end)
        return found.end() if found else start

    return run


def _any_of(values: Iterable[int]) -> bytes:
    return b"[" + b"".join(b"\\x%02x" % value for value in values) + b"]"


def _sized(size: int) -> bytes:
    """Return a pattern for a length, also one spelled with more bytes than it needs, and that many bytes."""
    return b"(?:\\x%02x|\\x%02x\\x80{0,3}+\\x00).{%d}" % (size, size | 128, size)


_any_run = unknown_run(())
