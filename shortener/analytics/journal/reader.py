"""Reading the click journal: from records to what was observed."""

import logging
import time
from typing import Final

from shortener.analytics.journal.records import Malformed, decode, which_and_when
from shortener.analytics.journal.segments import Segments
from shortener.analytics.model import Observation, Position
from shortener.analytics.ports import LogPiece
from shortener.links.model import LinkRef
from shortener.net.memo import Memo

_log = logging.getLogger(__name__)

# Decoding this many records takes about a millisecond; then the event loop may have Python's lock.
_RECORDS_AT_ONCE: Final = 100
_SEEN_MAX: Final = 2_000


class JournalReader:
    """Decodes records, and remembers those of late: clicks of one link by one client are equal but for the time."""

    def __init__(self, segments: Segments) -> None:
        self._segments = segments
        self._seen: Memo[bytes, Observation] = Memo(_SEEN_MAX)  # by all but which link and when

    def read(self, position: Position, end: Position, *, clicks_max: int) -> LogPiece:
        """Return up to `clicks_max` clicks between two positions; none only where there are none up to `end`."""
        piece = self._segments.read(position, end, records_max=clicks_max)
        lost_bytes = piece.lost_bytes
        while not piece.payloads and piece.position < end:  # The end of a segment.
            piece = self._segments.read(piece.position, end, records_max=clicks_max)
            lost_bytes += piece.lost_bytes
        clicks: list[Observation] = []
        lost_records = 0
        for index, payload in enumerate(piece.payloads, 1):
            try:
                clicks.append(self._observation(payload))
            except Malformed as error:
                lost_records += 1
                _log.warning("click journal: a record of another version is skipped: %s", error)
            if index % _RECORDS_AT_ONCE == 0:
                time.sleep(0)
        return LogPiece(clicks, piece.position, lost_bytes, lost_records)

    def _observation(self, payload: bytes) -> Observation:
        link_id, at, rest = which_and_when(payload)
        seen = self._seen.get(rest)
        if seen is None:
            seen = decode(payload)
            self._seen.put(rest, seen)
            return seen
        return Observation(LinkRef(link_id, seen.ref.short_code), at, *seen[2:])
