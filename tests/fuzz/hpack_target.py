"""The HPACK decoder beside python-hyper's, block after block.

Input: blocks, each behind a byte with its length (255: 2,000 bytes).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import hpack

from shortener.rpc.http2.errors import ErrorCode, ProtocolError
from shortener.rpc.http2.hpack import Decoder
from tests.fuzz.targets import Check

TABLE = 512
LIST = 4096
STRICTER = {
    "bad Huffman padding",  # the other takes a whole byte of ones, and more
    "integer too large",
    "EOS inside a Huffman string",
    "table size update after a field",
}
"""What only we refuse."""


def blocks(data: bytes) -> Iterator[bytes]:
    while data:
        size = 2000 if data[0] == 255 else data[0]
        yield data[1 : 1 + size]
        data = data[1 + size :]


def size_of(fields: list[tuple[str, str]]) -> int:
    return sum(len(name) + len(value) + 32 for name, value in fields)


@contextmanager
def target() -> Iterator[Check]:
    def check(data: bytes) -> None:
        other = hpack.Decoder(max_header_list_size=1 << 30)
        other.max_allowed_table_size = TABLE
        other.header_table_size = TABLE
        ours = Decoder(table_size_max=TABLE, list_size_max=LIST)
        for block in blocks(data):
            try:
                expected: Any = [(n.decode("latin-1"), v.decode("latin-1")) for n, v in other.decode(block, raw=True)]
            except hpack.HPACKError:
                expected = None
            before = ours.generation
            refusal: ProtocolError | None = None
            try:
                found = ours.decode(block)
            except ProtocolError as error:
                refusal = error
            if refusal is not None:
                assert refusal.code is ErrorCode.COMPRESSION_ERROR
                assert expected is None or refusal.reason in STRICTER, refusal.reason
                return
            assert expected is not None, "only we accept this block"
            assert found == (expected if size_of(expected) <= LIST else None)
            assert ours._size == size_of(ours._entries) <= TABLE
            if before == ours.generation:
                assert ours.decode(block) == found

    yield check
