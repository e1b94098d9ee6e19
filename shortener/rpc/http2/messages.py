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

    A message above `size_max` bytes is refused when its prefix is read, so that never more than one message and one
    frame are held here.
    """

    __slots__ = ("_buffer", "_gzip", "_size_max")

    def __init__(self, *, size_max: int, gzip: bool) -> None:
        self._buffer = bytearray()
        self._size_max = size_max
        self._gzip = gzip

    def __len__(self) -> int:
        return len(self._buffer)

    def feed(self, payload: bytes) -> list[bytes]:
        """Return the messages that `payload` completes; raises GRPCError for what is too large or malformed."""
        buffer = self._buffer
        buffer += payload
        messages: list[bytes] = []
        position = 0
        while len(buffer) - position >= PREFIX:
            flag = buffer[position]
            size = int.from_bytes(buffer[position + 1 : position + PREFIX], "big")
            if size > self._size_max:
                raise too_large()
            if flag > 1:
                raise malformed()
            if flag and not self._gzip:
                raise GRPCError(Status.INTERNAL, "compressed flag without a grpc-encoding")
            end = position + PREFIX + size
            if end > len(buffer):
                break
            message = bytes(buffer[position + PREFIX : end])
            messages.append(inflate(message, self._size_max) if flag else message)
            position = end
        if position:
            del buffer[:position]
        return messages
