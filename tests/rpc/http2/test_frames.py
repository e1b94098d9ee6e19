"""The frame reader on frames of hyperframe and on bytes of nobody."""

from typing import Any

import pytest
from hyperframe.frame import DataFrame, HeadersFrame, PingFrame, SettingsFrame, WindowUpdateFrame
from hypothesis import given, settings
from hypothesis import strategies as st

from shortener.rpc.http2 import frames
from shortener.rpc.http2.errors import ErrorCode, ProtocolError, StreamError
from tests.support.h2_wire import frame

BLOCK_MAX = 1000
anything = st.builds(
    frame, st.integers(0, 12), st.integers(0, 255), st.sampled_from([0, 1, 3, 2**31 - 1]), st.binary(max_size=40)
)
"""Frames of all kinds, flags and payloads, right and wrong."""


def read(*pieces: bytes, greeted: bool = True) -> tuple[list[Any], ErrorCode | None]:
    """Return all frames, and the code of the error that ended reading."""
    reader = frames.FrameReader(block_size_max=BLOCK_MAX)
    found: list[Any] = []
    for piece in (frames.PREFACE, *pieces) if greeted else pieces:
        reader.feed(piece)
        while True:
            try:
                got = reader.next()
            except StreamError as error:
                found.append((error.stream_id, error.code))
                continue
            except ProtocolError as error:
                return found, error.code
            if got is None:
                break
            found.append(got)
    return found, None


@settings(deadline=None)
@given(st.lists(anything, max_size=12), st.data())
def test_how_bytes_are_cut_makes_no_difference(sent: list[bytes], data: st.DataObject) -> None:
    whole = b"".join(sent)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(whole)), max_size=8)))
    pieces = [whole[start:end] for start, end in zip([0, *cuts], [*cuts, len(whole)], strict=True)]
    assert read(*pieces) == read(whole)
    assert read(*(bytes((byte,)) for byte in whole)) == read(whole)


@settings(deadline=None)
@given(st.binary(max_size=400))
def test_no_bytes_raise_anything_but_a_protocol_error(data: bytes) -> None:
    read(data)
    read(data, greeted=False)


@settings(deadline=None)
@given(st.lists(anything, max_size=30))
def test_no_frames_make_the_reader_hold_more_than_a_block_and_a_frame(sent: list[bytes]) -> None:
    reader = frames.FrameReader(block_size_max=BLOCK_MAX)
    reader.feed(frames.PREFACE)
    for piece in sent:
        reader.feed(piece)
        try:
            while reader.next() is not None:
                pass
        except StreamError:
            pass
        except ProtocolError:
            return
        assert len(reader._block or b"") <= BLOCK_MAX + 40


def test_what_hyperframe_writes_is_read() -> None:
    data = DataFrame(1, b"data", flags=["END_STREAM", "PADDED"], pad_length=3)
    headers = HeadersFrame(1, b"block", flags=["END_HEADERS", "PRIORITY"], depends_on=0, stream_weight=16)
    sent = [headers, data, PingFrame(opaque_data=b"12345678"), WindowUpdateFrame(0, window_increment=7)]
    found, error = read(b"".join(one.serialize() for one in sent))
    assert error is None
    assert found == [
        (frames.HEADERS, 0x24, 1, b"block", 10),
        (frames.DATA, 0x9, 1, b"data", 8),
        (frames.PING, 0, 0, b"12345678", 8),
        (frames.WINDOW_UPDATE, 0, 0, b"\0\0\0\x07", 4),
    ]


def test_what_we_write_is_read_by_hyperframe() -> None:
    from hyperframe.frame import Frame

    written = [
        (frames.settings([(3, 100), (4, 65_535)]), SettingsFrame),
        (frames.window_update(5, 2**31 - 1), WindowUpdateFrame),
        (frames.frame(frames.DATA, frames.END_STREAM, 7, bytes(300)), DataFrame),
    ]
    for raw, kind in written:
        parsed, length = Frame.parse_frame_header(memoryview(raw[:9]))
        parsed.parse_body(memoryview(raw[9:]))
        assert isinstance(parsed, kind)
        assert length == len(raw) - 9
        assert parsed.serialize() == raw


def test_the_reserved_bit_of_stream_ids_is_ignored() -> None:
    assert read(frame(frames.DATA, 0, 2**31 + 1, b"x"))[0] == [(frames.DATA, 0, 1, b"x", 1)]


def test_a_block_above_its_limit_is_refused_before_it_is_whole() -> None:
    parts = [frame(1, 0, 1, bytes(600)), frame(9, 0, 1, bytes(600))]
    assert read(*parts)[1] is ErrorCode.ENHANCE_YOUR_CALM


@pytest.mark.parametrize("other", [b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01", b"PRI * HTTP/2.0\r\n\r\nXX"])
def test_another_protocol_is_told_from_its_first_bytes(other: bytes) -> None:
    assert read(other, greeted=False) == ([], ErrorCode.PROTOCOL_ERROR)
