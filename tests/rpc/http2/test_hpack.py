"""The HPACK decoder beside python-hyper's, and on bytes that nobody would send."""

from typing import Any

import hpack
import pytest
from hpack.huffman_constants import REQUEST_CODES, REQUEST_CODES_LENGTH
from hpack.table import HeaderTable
from hypothesis import given, settings
from hypothesis import strategies as st

from shortener.rpc.http2 import hpack as ours
from shortener.rpc.http2.errors import ErrorCode, ProtocolError

names = st.text(st.characters(codec="latin-1"), max_size=20)
fields = st.lists(st.tuples(names, st.text(st.characters(codec="latin-1"), max_size=60)), max_size=12)
usual = st.lists(st.sampled_from([(name, value or "x") for name, value in ours.STATIC[1:]]), max_size=12)


def decoder(table: int = 4096, size: int = 65_536) -> ours.Decoder:
    return ours.Decoder(table_size_max=table, list_size_max=size)


def test_the_tables_are_those_of_the_rfc() -> None:
    codes = zip(REQUEST_CODES, REQUEST_CODES_LENGTH, strict=True)
    assert {(length, code): symbol for symbol, (code, length) in enumerate(codes)} == ours._codes()
    assert tuple((name.decode(), value.decode()) for name, value in HeaderTable.STATIC_TABLE) == ours.STATIC[1:]


@settings(deadline=None)
@given(st.lists(st.tuples(fields | usual, st.booleans(), st.none() | st.integers(0, 4096)), max_size=8))
def test_what_another_encoder_writes_is_read_back(blocks: list[tuple[Any, bool, int | None]]) -> None:
    encoder, own = hpack.Encoder(), decoder()
    for sent, huffman_coded, size in blocks:
        if size is not None:
            encoder.header_table_size = size
        raw = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in sent]
        before = own.generation
        block = encoder.encode(raw, huffman=huffman_coded)
        assert own.decode(block) == sent
        if own.generation == before:
            assert own.decode(block) == sent  # what the cache of blocks relies on


@settings(deadline=None)
@given(st.lists(st.binary(max_size=40), max_size=6))
def test_any_bytes_are_read_as_another_decoder_reads_them(blocks: list[bytes]) -> None:
    other, own = hpack.Decoder(max_header_list_size=1 << 30), decoder(size=1 << 30)
    other.max_allowed_table_size = 4096
    for block in blocks:
        try:
            expected: Any = [(n.decode("latin-1"), v.decode("latin-1")) for n, v in other.decode(block, raw=True)]
        except hpack.HPACKError:
            expected = None
        try:
            found: Any = own.decode(block)
        except ProtocolError:
            found = None
        if expected != found:
            assert found is None  # we may only be the stricter of the two
            assert expected is not None
        if found is None or expected is None:
            return


@settings(deadline=None)
@given(st.binary(max_size=200))
def test_huffman_strings_are_read_as_another_decoder_reads_them(data: bytes) -> None:
    from hpack.huffman_table import decode_huffman

    try:
        expected: bytes | None = decode_huffman(data)
    except hpack.HPACKDecodingError:
        expected = None
    try:
        assert ours.huffman_decode(data) == expected
    except ProtocolError:
        assert expected is None or data  # the other is lax about long padding


@settings(deadline=None)
@given(st.binary(max_size=60))
def test_every_text_survives_huffman(text: bytes) -> None:
    from hpack.huffman import HuffmanEncoder

    assert ours.huffman_decode(HuffmanEncoder(REQUEST_CODES, REQUEST_CODES_LENGTH).encode(text)) == text


@settings(deadline=None)
@given(st.lists(st.binary(max_size=300), max_size=20))
def test_no_bytes_make_the_table_or_the_list_grow_beyond_their_limits(blocks: list[bytes]) -> None:
    own = decoder(table=512, size=1024)
    for block in blocks:
        try:
            found = own.decode(block)
        except ProtocolError:
            return
        assert sum(len(n) + len(v) + 32 for n, v in own._entries) == own._size <= 512
        assert found is None or sum(len(n) + len(v) + 32 for n, v in found) <= 1024


@pytest.mark.parametrize(
    "block",
    [
        pytest.param(b"\x80", id="6.1 index 0"),
        pytest.param(b"\xbe", id="2.3.3 index beyond the table"),
        pytest.param(b"\xff\xff\xff\xff\xff\xff\x01", id="5.1 integer too large"),
        pytest.param(b"\xff\x80\x80\x80\x80\x80\x80\x00", id="5.1 integer of endless zeros"),
        pytest.param(b"\xff", id="5.1 truncated integer"),
        pytest.param(b"\x00\x05ab", id="5.2 truncated string"),
        pytest.param(b"\x00", id="5.2 no string"),
        pytest.param(b"\x00\x81\xff\x01a", id="5.2 eight bits of padding"),
        pytest.param(b"\x00\x81\x00\x01a", id="5.2 padding of zeros"),
        pytest.param(b"\x00\x84\xff\xff\xff\xff\x01a", id="5.2 EOS"),
        pytest.param(b"\x3f\xe2\x1f", id="6.3 size above SETTINGS"),
        pytest.param(b"\x82\x20", id="4.2 size update after a field"),
    ],
)
def test_bad_blocks_are_compression_errors(block: bytes) -> None:
    with pytest.raises(ProtocolError) as caught:
        decoder().decode(block)
    assert caught.value.code is ErrorCode.COMPRESSION_ERROR


def test_an_entry_larger_than_the_table_empties_it() -> None:
    own = decoder(table=64)
    assert own.decode(b"\x40\x01a\x01b\xbe") == [("a", "b"), ("a", "b")]
    assert own.decode(b"\x40\x01a\x7f\x00" + b"x" * 127) == [("a", "x" * 127)]
    with pytest.raises(ProtocolError):
        own.decode(b"\xbe")


LARGE = b"\x40\x01a\x7f\xd0\x1e" + b"x" * 4047
"""Inserts an entry of 4,080 bytes."""


def test_a_list_above_the_limit_leaves_the_table_right() -> None:
    own = decoder(size=8192)
    assert own.decode(LARGE + b"\xbe" * 2) is None
    assert own.decode(b"\xbe") == [("a", "x" * 4047)]


@pytest.mark.parametrize(
    "block",
    [
        pytest.param(LARGE + b"\xbe" * 10_000, id="one large entry, again and again"),
        pytest.param(b"\x82" * 16_000, id="static entries"),
        pytest.param(b"\x40\x01a\x01b" * 4000, id="insertions"),
        pytest.param(b"\x00\x01a\xff\x82\x7f" + b"\x00" * 16_385, id="a Huffman string"),
    ],
)
def test_a_block_that_stands_for_much_is_cut_off(block: bytes) -> None:
    with pytest.raises(ProtocolError) as caught:
        decoder(size=8192).decode(block)
    assert caught.value.code is ErrorCode.ENHANCE_YOUR_CALM


@settings(deadline=None)
@given(st.text("abc-xyz019:", min_size=1, max_size=300), st.text(st.characters(codec="latin-1"), max_size=300))
def test_our_literals_are_read_by_another_decoder(name: str, value: str) -> None:
    other = hpack.Decoder(max_header_list_size=1 << 20)
    raw = (name.encode(), value.encode("latin-1"))
    for insert in (False, True, False):
        assert [tuple(f) for f in other.decode(ours.literal(name, value, insert=insert), raw=True)] == [raw]
    if len(name) + len(value) + 32 <= 4096:
        assert [tuple(f) for f in other.decode(ours.indexed(62), raw=True)] == [raw]
