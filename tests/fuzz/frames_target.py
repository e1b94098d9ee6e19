"""The frame reader: however bytes are cut it says the same, it holds little, and hyperframe agrees with it.

Input: a byte of options (bit 0: the client's preface is there; the rest: how bytes are cut), then what a client sends.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from hyperframe.exceptions import HyperframeError, InvalidPaddingError
from hyperframe.frame import DataFrame, Frame, HeadersFrame

from shortener.rpc.http2 import frames
from shortener.rpc.http2.errors import ProtocolError, StreamError
from tests.fuzz.targets import Check

BLOCK_MAX = 1000
FRAME_MAX = 9 + frames.FRAME_SIZE_MAX


def read(reader: frames.FrameReader) -> tuple[list[Any], Any]:
    """Return all that the reader has, and what ended it."""
    found: list[Any] = []
    while True:
        try:
            got = reader.next()
        except StreamError as error:
            found.append((error.stream_id, error.code))
            continue
        except ProtocolError as error:
            return found, error.code
        if got is None:
            return found, None
        found.append(got)
        assert len(reader._block or b"") <= BLOCK_MAX + frames.FRAME_SIZE_MAX


def in_pieces(data: bytes, size: int) -> tuple[list[Any], Any]:
    reader = frames.FrameReader(block_size_max=BLOCK_MAX)
    found: list[Any] = []
    for start in range(0, len(data), size):
        reader.feed(data[start : start + size])
        more, error = read(reader)
        found += more
        if error is not None:
            return found, error
        assert len(reader._data) - reader._position < FRAME_MAX
        assert reader._position == 0 or len(reader._data) == reader._position
    return found, None


def padding_is_all(header: Frame, body: bytes) -> bool:
    """Tell whether HEADERS hold nothing but padding, which RFC 9113 section 6.2 allows and hyperframe does not."""
    before = 1 + (5 if "PRIORITY" in header.flags else 0)
    return isinstance(header, HeadersFrame) and body[0] + before == len(body)


def compare(data: bytes, found: list[Any]) -> None:
    """See that hyperframe reads from `data` the frames that we found."""
    position = len(frames.PREFACE)
    for ours in found:
        header, length = Frame.parse_frame_header(memoryview(data[position : position + 9]))
        body = data[position + 9 : position + 9 + length]
        position += 9 + length
        if len(ours) == 2 or ours[0] > frames.CONTINUATION:  # a stream error, or a kind that nobody has to know
            continue
        if ours[0] == frames.WINDOW_UPDATE:  # 0 is a matter of streams, and the reserved bit is to be ignored
            continue
        try:
            header.parse_body(memoryview(body))
        except HyperframeError as error:
            if isinstance(error, InvalidPaddingError) and padding_is_all(header, body):
                continue
            raise AssertionError(f"hyperframe refuses what we read as {ours}: {error!r}") from error
        kind, _, stream_id, payload, counted = ours
        assert (stream_id, counted) == (header.stream_id, length)
        if kind == frames.DATA:
            assert isinstance(header, DataFrame)
            assert (payload, counted) == (header.data, header.flow_controlled_length)
        elif kind == frames.HEADERS and isinstance(header, HeadersFrame):
            assert payload == header.data


@contextmanager
def target() -> Iterator[Check]:
    def check(data: bytes) -> None:
        options, data = data[:1], data[1:]
        if options and options[0] & 1:
            data = frames.PREFACE + data
        whole = in_pieces(data, max(1, len(data)))
        assert in_pieces(data, 1 + (options[0] >> 1 if options else 0)) == whole
        compare(data, whole[0])

    yield check
