"""The journal's bytes: checked frames on disk, and the observation inside each.

A frame is CRC-32 (over all that follows), payload length, payload; integers are little-endian and unsigned unless
said otherwise. An all-zero page, as a file system may leave after a power cut, is no frame.

A payload is: version (1), link id and time (signed 64 bit), sizes, then short code, client, referrer and user agent.
The client is what the address became: size of the visitor, visitor, country (2 letters), city.
"""

import struct
import zlib
from collections.abc import Iterator
from typing import Final

from shortener.analytics.model import USER_AGENT_MAX, Observation, Place
from shortener.links.model import LinkRef

PAYLOAD_MAX: Final = 1 << 14

_CRC = struct.Struct("<I")
_SIZE = struct.Struct("<I")
_HEAD = struct.Struct("<BqqBHBH")
_WHICH_AND_WHEN = struct.Struct("<qq")  # behind the version
_FRAME_HEAD = _CRC.size + _SIZE.size
_VERSION = 1


class Malformed(Exception):  # noqa: N818 - reads as frames.Malformed
    """A payload is not what this version writes."""


def frame(payload: bytes) -> bytes:
    """Return the bytes to append to a segment for one payload."""
    body = _SIZE.pack(len(payload)) + payload
    return _CRC.pack(zlib.crc32(body)) + body


def unframe(data: bytes) -> Iterator[tuple[bytes, int]]:
    """Yield each whole and sound payload from the start of `data`, with the offset behind its frame.

    Ends at the first frame that is torn or damaged.
    """
    offset = 0
    while offset + _FRAME_HEAD <= len(data):
        (crc,) = _CRC.unpack_from(data, offset)
        (size,) = _SIZE.unpack_from(data, offset + _CRC.size)
        end = offset + _FRAME_HEAD + size
        if size > PAYLOAD_MAX or end > len(data) or zlib.crc32(data[offset + _CRC.size : end]) != crc:
            return
        yield data[offset + _FRAME_HEAD : end], end
        offset = end


def encode_client(visitor: bytes, place: Place) -> bytes:
    """Return the part of a payload that is the same for all clicks of one client."""
    return bytes((len(visitor),)) + visitor + place.country.encode("ascii") + place.city.encode("utf-8", "replace")


def encode(ref: LinkRef, at: int, client: bytes, referrer: bytes, user_agent: str) -> bytes:
    """Return the payload of one click. The user agent is cropped; what is not Unicode in it becomes `?`."""
    code = ref.short_code.encode("ascii")
    agent = user_agent[:USER_AGENT_MAX].encode("utf-8", "replace")
    head = _HEAD.pack(_VERSION, ref.id, at, len(code), len(client), len(referrer), len(agent))
    return b"".join((head, code, client, referrer, agent))


def which_and_when(payload: bytes) -> tuple[int, int, bytes]:
    """Return link id, time, and the payload without them, in which alone clicks of one link and client are equal.

    Raises `Malformed`, though not for all that `decode` does.
    """
    try:
        link_id, at = _WHICH_AND_WHEN.unpack_from(payload, 1)
    except struct.error as error:
        raise Malformed(str(error)) from None
    return link_id, at, payload[:1] + payload[1 + _WHICH_AND_WHEN.size :]


def decode(payload: bytes) -> Observation:
    """Return the observation in a payload. Raises `Malformed`."""
    try:
        version, link_id, at, code_size, client_size, referrer_size, agent_size = _HEAD.unpack_from(payload)
        client_start = _HEAD.size + code_size
        place_start = client_start + 1 + payload[client_start]
        referrer_start = client_start + client_size
        agent_start = referrer_start + referrer_size
        if version != _VERSION or agent_start + agent_size != len(payload) or place_start + 2 > referrer_start:
            raise Malformed("unknown version or wrong sizes")
        return Observation(
            ref=LinkRef(link_id, payload[_HEAD.size : client_start].decode("ascii")),
            at=at,
            visitor=payload[client_start + 1 : place_start],
            country=payload[place_start : place_start + 2].decode("ascii"),
            city=payload[place_start + 2 : referrer_start].decode("utf-8"),
            referrer=payload[referrer_start:agent_start].decode("ascii"),
            user_agent=payload[agent_start:].decode("utf-8"),
        )
    except (struct.error, IndexError, UnicodeDecodeError) as error:
        raise Malformed(str(error)) from None
