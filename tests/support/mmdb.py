"""Writes small MaxMind databases, so that look-ups are tested on real files. For tests alone: no sharing of data."""

import ipaddress
import struct
from collections.abc import Mapping
from typing import NamedTuple

MARKER = b"\xab\xcd\xefMaxMind.com"
Node = list["int | Node | None"]


class _Number(NamedTuple):
    kind: int  # 5: unsigned with 16 bits, 6: 32, 9: 64
    value: int


def database(records: Mapping[str, object], *, ip_version: int = 6) -> bytes:
    """Return a database that gives each network (text) its record, with 32-bit tree records."""
    data = bytearray()
    root: Node = [None, None]
    for text, record in records.items():
        _insert(root, _bits(text, ip_version), len(data))
        data += encode(record)
    nodes = _numbered(root)
    number = {id(node): index for index, node in enumerate(nodes)}
    tree = bytearray()
    for node in nodes:
        for side in node:
            if side is None:
                tree += struct.pack(">I", len(nodes))
            elif isinstance(side, int):
                tree += struct.pack(">I", len(nodes) + 16 + side)
            else:
                tree += struct.pack(">I", number[id(side)])
    metadata = {
        "binary_format_major_version": _Number(5, 2),
        "binary_format_minor_version": _Number(5, 0),
        "build_epoch": _Number(9, 1_800_000_000),
        "database_type": "Test",
        "description": {"en": "for tests"},
        "ip_version": _Number(5, ip_version),
        "languages": ["en"],
        "node_count": _Number(6, len(nodes)),
        "record_size": _Number(5, 32),
    }
    return bytes(tree) + bytes(16) + bytes(data) + MARKER + encode(metadata)


def encode(value: object) -> bytes:
    """Return a value in the format's data section."""
    if isinstance(value, str):
        content = value.encode()
        return _head(2, len(content)) + content
    if isinstance(value, _Number):
        content = value.value.to_bytes((value.value.bit_length() + 7) // 8, "big")
        return _head(value.kind, len(content)) + content
    if isinstance(value, dict):
        return _head(7, len(value)) + b"".join(encode(key) + encode(item) for key, item in value.items())
    assert isinstance(value, list)
    return _head(11, len(value)) + b"".join(map(encode, value))


def _head(kind: int, size: int) -> bytes:
    assert size < 285
    small, more = (size, b"") if size < 29 else (29, bytes((size - 29,)))
    return (bytes((kind << 5 | small,)) if kind < 8 else bytes((small, kind - 7))) + more


def _bits(text: str, ip_version: int) -> str:
    network = ipaddress.ip_network(text)
    bits = f"{int(network.network_address):0{network.max_prefixlen}b}"[: network.prefixlen]
    return "0" * 96 + bits if network.version == 4 and ip_version == 6 else bits


def _insert(root: Node, bits: str, offset: int) -> None:
    node = root
    for bit in map(int, bits[:-1]):
        below = node[bit]
        if not isinstance(below, list):
            below = [below, below]
            node[bit] = below
        node = below
    node[int(bits[-1])] = offset


def _numbered(root: Node) -> list[Node]:
    nodes = [root]
    for node in nodes:  # It grows while it is walked: breadth first.
        nodes += [side for side in node if isinstance(side, list)]
    return nodes
