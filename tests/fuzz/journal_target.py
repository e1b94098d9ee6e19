"""The click journal: damage never raises, never invents a record, and never stops the reader.

Input: a byte that says what follows: a payload, the bytes of a segment, or records to be written and then damaged.
"""

import logging
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from shortener.analytics.journal import records as frames
from shortener.analytics.journal.segments import Segments
from shortener.analytics.model import USER_AGENT_MAX, Place, Position
from tests.fuzz.targets import Check


def check_payload(payload: bytes) -> None:
    """What is read from a payload is written as the same payload."""
    try:
        seen = frames.decode(payload)
    except frames.Malformed:
        return
    if len(seen.user_agent) <= USER_AGENT_MAX:
        client = frames.encode_client(seen.visitor, Place(seen.country, seen.city))
        assert frames.encode(seen.ref, seen.at, client, seen.referrer.encode(), seen.user_agent) == payload


def check_segment(segments: Segments, data: bytes, records_max: int) -> list[bytes]:
    """Reading a segment piece by piece gives what is in it up to the first damage, and ends."""
    segments.path(1).write_bytes(data)
    end = Position(1, len(data))
    expected = [payload for payload, _ in frames.unframe(data)]
    found: list[bytes] = []
    position, lost = Position(1, 0), 0
    for _ in range(len(data) + 2):
        if position == end:
            break
        piece = segments.read(position, end, records_max=records_max)
        assert piece.position > position
        found += piece.payloads
        position, lost = piece.position, lost + piece.lost_bytes
    assert position == end
    assert found == expected
    assert lost + sum(len(frames.frame(payload)) for payload in found) == len(data)
    return found


def records(data: bytes) -> Iterator[bytes]:
    while data:
        yield data[1 : 1 + data[0]]
        data = data[1 + data[0] :]


@contextmanager
def target() -> Iterator[Check]:
    logging.getLogger("shortener.analytics.journal.segments").setLevel(logging.ERROR)
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as folder:
        segments = Segments(Path(folder))

        def check(data: bytes) -> None:
            kind, records_max, rest = data[:1], 1 + (data[1] if len(data) > 1 else 0), data[2:]
            if not kind or kind[0] % 3 == 0:
                check_payload(data[1:])
            elif kind[0] % 3 == 1:
                check_segment(segments, rest, records_max)
            else:
                at, change, rest = int.from_bytes(rest[:2], "big"), rest[2:3], rest[3:]
                payloads = list(records(rest))
                data = b"".join(map(frames.frame, payloads))
                whole = check_segment(segments, data, records_max)
                assert whole == payloads
                if data and change:
                    at %= len(data)
                    damaged = data[:at] + bytes((data[at] ^ (change[0] or 1),)) + data[at + 1 :]
                    sound = check_segment(segments, damaged, records_max)
                    assert sound == payloads[: len(sound)]
                    assert len(sound) < len(payloads)

        try:
            yield check
        finally:
            logging.getLogger("shortener.analytics.journal.segments").setLevel(logging.NOTSET)
