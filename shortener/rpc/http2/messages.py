"""Length-prefixed messages inside DATA frames (gRPC over HTTP/2), whole or in pieces, plain or gzip."""

import zlib

from grpclib import GRPCError
from grpclib.const import Status

from shortener.rpc.codec import MALFORMED

PREFIX = 5
_GZIP = 31  # zlib's number for a gzip header and the largest window


def malformed() -> GRPCError:
    """Return the error for bytes that are no message."""
    return GRPCError(Status.INVALID_ARGUMENT, MALFORMED)


def too_large() -> GRPCError:
    """Return the error for a message above the limit."""
    return GRPCError(Status.RESOURCE_EXHAUSTED, "request message too large")


def inflate(data: bytes, size_max: int) -> bytes:
    """Return what one gzip member holds, without ever holding more than `size_max` bytes and one.

    Raises GRPCError RESOURCE_EXHAUSTED above `size_max`, INVALID_ARGUMENT when `data` is not one whole member.
    """
    stream = zlib.decompressobj(_GZIP)
    try:
        plain = stream.decompress(data, size_max + 1)
    except zlib.error:
        raise malformed() from None
    if len(plain) > size_max:
        raise too_large()
    if not stream.eof or stream.unused_data:
        raise malformed()
    return plain


class Assembler:
    """Cuts the messages of one call out of its DATA payloads.

    A message above `size_max` bytes is refused when its prefix is read. `len` is how many bytes wait for the rest of
    their message.
    """

    __slots__ = ("_buffer", "_gzip", "_position", "_size_max")

    def __init__(self, *, size_max: int, gzip: bool) -> None:
        self._buffer = bytearray()
        self._position = 0
        self._size_max = size_max
        self._gzip = gzip

    def __len__(self) -> int:
        return len(self._buffer)

    def feed(self, payload: bytes) -> None:
        """Add bytes; then call `next` until it returns None."""
        self._buffer += payload

    def next(self) -> tuple[bytes, bool] | None:
        """Return the next whole message and whether it is compressed; GRPCError for what is too large or malformed."""
        buffer, start = self._buffer, self._position + PREFIX
        if len(buffer) >= start:
            flag = buffer[start - PREFIX]
            size = int.from_bytes(buffer[start - PREFIX + 1 : start], "big")
            if size > self._size_max:
                raise too_large()
            if flag > 1:
                raise malformed()
            if flag and not self._gzip:
                raise GRPCError(Status.INTERNAL, "compressed flag without a grpc-encoding")
            if len(buffer) >= start + size:
                self._position = start + size
                return bytes(buffer[start : start + size]), bool(flag)
        del buffer[: self._position]
        self._position = 0
        return None
