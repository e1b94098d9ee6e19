"""Reads HTTP/2 frames from bytes (RFC 9113 section 4 and 6) and writes the small ones. Pure: it knows no connection."""

import struct

from shortener.rpc.http2.errors import ErrorCode, ProtocolError, StreamError

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

DATA = 0x0
HEADERS = 0x1
PRIORITY = 0x2
RST_STREAM = 0x3
SETTINGS = 0x4
PUSH_PROMISE = 0x5
PING = 0x6
GOAWAY = 0x7
WINDOW_UPDATE = 0x8
CONTINUATION = 0x9

END_STREAM = 0x1
ACK = 0x1
END_HEADERS = 0x4
PADDED = 0x8
PRIORITY_FLAG = 0x20

HEADER_TABLE_SIZE = 0x1
ENABLE_PUSH = 0x2
MAX_CONCURRENT_STREAMS = 0x3
INITIAL_WINDOW_SIZE = 0x4
MAX_FRAME_SIZE = 0x5
MAX_HEADER_LIST_SIZE = 0x6

FRAME_SIZE_MAX = 16_384
"""The payload we accept, in bytes: the default, which we never raise, since messages are small."""
WINDOW_DEFAULT = 65_535
WINDOW_MAX = 2**31 - 1
STREAM_ID_MAX = 2**31 - 1

Frame = tuple[int, int, int, bytes, int]
"""Kind, flags, stream id, payload without padding, and the length that flow control counts.

HEADERS come whole: their fragments are joined, and each frame but the last of such a run is reported as a
CONTINUATION with an empty payload, so that it can be counted.
"""

_HEAD = struct.Struct(">HBBBI").unpack_from
_WRITE_HEAD = struct.Struct(">HBBBI").pack
_PAIRS = struct.Struct(">HI")
_LENGTHS = {PRIORITY: 5, RST_STREAM: 4, PING: 8, WINDOW_UPDATE: 4}
_ON_CONNECTION = frozenset((SETTINGS, PING, GOAWAY))
_ON_STREAM = frozenset((DATA, HEADERS, PRIORITY, RST_STREAM, CONTINUATION))


def _size_error(reason: str) -> ProtocolError:
    return ProtocolError(ErrorCode.FRAME_SIZE_ERROR, reason)


def _protocol_error(reason: str) -> ProtocolError:
    return ProtocolError(ErrorCode.PROTOCOL_ERROR, reason)


class FrameReader:
    """Cuts what a client sends into frames, the preface first.

    `block_size_max` bounds a header block over all its CONTINUATION frames, in bytes as sent.
    """

    def __init__(self, *, block_size_max: int) -> None:
        self._block_size_max = block_size_max
        self._data = b""
        self._position = self._consumed = 0
        self._preface_left = len(PREFACE)
        self._block: bytearray | None = None
        self._block_stream = 0
        self._block_flags = 0

    @property
    def part(self) -> int | None:
        """What stands for a frame or header block whose end has not come, the same for as long as it has not."""
        if self._block is not None:
            return -self._block_stream
        return self._consumed + self._position if self._position < len(self._data) else None

    def feed(self, data: bytes) -> None:
        """Add bytes. At most one frame is kept from call to call when `next` is called until it returns None."""
        rest = self._data[self._position :] if self._position else self._data
        self._data = rest + data if rest else data
        self._consumed += self._position
        self._position = 0

    def next(self) -> Frame | None:
        """Return the next frame, or None when more bytes are needed.

        Raises StreamError or ProtocolError; after a StreamError reading may go on.
        """
        if self._preface_left:
            self._read_preface()
            if self._preface_left:
                return None
        data, position = self._data, self._position
        if len(data) - position < 9:
            self._trim()
            return None
        high, low, kind, flags, stream_id = _HEAD(data, position)
        length = high << 8 | low
        if length > FRAME_SIZE_MAX:
            raise _size_error("frame above SETTINGS_MAX_FRAME_SIZE")
        end = position + 9 + length
        if end > len(data):
            self._trim()
            return None
        self._position = end
        stream_id &= STREAM_ID_MAX
        payload = data[position + 9 : end]
        if (
            self._block is None
            and stream_id
            and ((kind == DATA and not flags & PADDED) or (kind == HEADERS and flags & 0x2C == END_HEADERS))
        ):
            return kind, flags, stream_id, payload, length
        return self._checked(kind, flags, stream_id, payload)

    def _trim(self) -> None:
        """Keep no more of what was fed than the frame that is not whole yet."""
        if self._position:
            self._data = self._data[self._position :]
            self._consumed += self._position
            self._position = 0

    def _read_preface(self) -> None:
        """Compare what has come of the preface, so that another protocol's first byte ends the connection."""
        start = len(PREFACE) - self._preface_left
        part = self._data[self._position : self._position + self._preface_left]
        if part != PREFACE[start : start + len(part)]:
            raise _protocol_error("no HTTP/2 preface")
        self._position += len(part)
        self._preface_left -= len(part)

    def _checked(self, kind: int, flags: int, stream_id: int, payload: bytes) -> Frame:
        """Return a frame that is not of the plain kind, after the checks of its own section."""
        length = len(payload)
        if self._block is not None and (kind != CONTINUATION or stream_id != self._block_stream):
            raise _protocol_error("a header block was interrupted")
        if (kind in _ON_STREAM and not stream_id) or (kind in _ON_CONNECTION and stream_id):
            raise _protocol_error("frame on the wrong kind of stream")
        wanted = _LENGTHS.get(kind)
        if wanted is not None and length != wanted:
            if kind == PRIORITY:
                raise StreamError(stream_id, ErrorCode.FRAME_SIZE_ERROR, "bad PRIORITY length")
            raise _size_error("bad frame length")
        if kind == DATA:
            return kind, flags, stream_id, _unpadded(payload), length
        if kind == HEADERS:
            return self._headers(flags, stream_id, payload)
        if kind == CONTINUATION:
            return self._continued(flags, stream_id, payload)
        if kind == SETTINGS and (length % 6 or (flags & ACK and length)):
            raise _size_error("bad SETTINGS length")
        if kind == GOAWAY and length < 8:
            raise _size_error("bad GOAWAY length")
        if kind == PUSH_PROMISE:
            raise _protocol_error("a client cannot push")
        return kind, flags, stream_id, payload, length

    def _headers(self, flags: int, stream_id: int, payload: bytes) -> Frame:
        length = len(payload)
        if flags & PADDED:
            payload = _unpadded(payload)
        if flags & PRIORITY_FLAG:
            if len(payload) < 5:
                raise _size_error("HEADERS too short for their priority")
            payload = payload[5:]
        if flags & END_HEADERS:
            return HEADERS, flags, stream_id, payload, length
        self._block = bytearray(payload)
        self._block_stream = stream_id
        self._block_flags = flags
        return CONTINUATION, 0, stream_id, b"", length

    def _continued(self, flags: int, stream_id: int, payload: bytes) -> Frame:
        block = self._block
        if block is None:
            raise _protocol_error("CONTINUATION without HEADERS")
        block += payload
        if len(block) > self._block_size_max:
            raise ProtocolError(ErrorCode.ENHANCE_YOUR_CALM, "header block too long")
        if flags & END_HEADERS:
            self._block = None
            return HEADERS, self._block_flags | END_HEADERS, stream_id, bytes(block), len(payload)
        return CONTINUATION, 0, stream_id, b"", len(payload)


def _unpadded(payload: bytes) -> bytes:
    if not payload:
        raise _size_error("no room for the pad length")
    padding = payload[0]
    if padding >= len(payload):
        raise _protocol_error("padding longer than the frame")
    return payload[1 : len(payload) - padding]


def read_settings(payload: bytes) -> list[tuple[int, int]]:
    """Return the (identifier, value) pairs of a SETTINGS payload whose length was checked.

    Raises ProtocolError for values that section 6.5.2 forbids; unknown identifiers are passed on.
    """
    pairs = list(_PAIRS.iter_unpack(payload))
    for identifier, value in pairs:
        if identifier == ENABLE_PUSH and value > 1:
            raise _protocol_error("ENABLE_PUSH is neither 0 nor 1")
        if identifier == INITIAL_WINDOW_SIZE and value > WINDOW_MAX:
            raise ProtocolError(ErrorCode.FLOW_CONTROL_ERROR, "initial window too large")
        if identifier == MAX_FRAME_SIZE and not FRAME_SIZE_MAX <= value <= 2**24 - 1:
            raise _protocol_error("MAX_FRAME_SIZE out of range")
    return pairs


def frame(kind: int, flags: int, stream_id: int, payload: bytes = b"") -> bytes:
    """Return one frame as bytes."""
    length = len(payload)
    return _WRITE_HEAD(length >> 8, length & 0xFF, kind, flags, stream_id) + payload


def settings(pairs: list[tuple[int, int]]) -> bytes:
    """Return a SETTINGS frame."""
    return frame(SETTINGS, 0, 0, b"".join(_PAIRS.pack(*pair) for pair in pairs))


def window_update(stream_id: int, increment: int) -> bytes:
    """Return a WINDOW_UPDATE frame; stream 0 is the connection."""
    return frame(WINDOW_UPDATE, 0, stream_id, increment.to_bytes(4, "big"))


def rst_stream(stream_id: int, code: ErrorCode) -> bytes:
    """Return a RST_STREAM frame."""
    return frame(RST_STREAM, 0, stream_id, code.to_bytes(4, "big"))


def goaway(last_stream_id: int, code: ErrorCode, reason: str = "") -> bytes:
    """Return a GOAWAY frame; `reason` is our own text for the peer's log."""
    return frame(GOAWAY, 0, 0, last_stream_id.to_bytes(4, "big") + code.to_bytes(4, "big") + reason.encode())
