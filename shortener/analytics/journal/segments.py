"""The journal's files: numbered segments in one directory, and how they are read."""

import contextlib
import logging
import os
import re
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

from shortener.analytics.journal.records import PAYLOAD_MAX, unframe
from shortener.analytics.model import Position

_log = logging.getLogger(__name__)
SEGMENT_NAME: Final = re.compile(r"clicks-((?:[0-9]{12})|[1-9][0-9]{12,17})\.journal")
"""The number has twelve digits, or more where it is greater. Nothing else in the directory is a segment."""
NEXT_MAX: Final = 10**17
"""A segment with such a number, which somebody must have put there, does not decide what the next one is called."""
_FRAME_MAX = PAYLOAD_MAX + 64


class Piece(NamedTuple):
    """What one read gave: sound payloads, the position behind them, and how many unreadable bytes were passed."""

    payloads: list[bytes]
    position: Position
    lost_bytes: int


@dataclass(frozen=True, slots=True)
class Segments:
    """The segment files of a directory. Plain blocking calls; safe beside the one that appends."""

    directory: Path

    def path(self, number: int) -> Path:
        """Return the path of a segment, whether it exists or not."""
        return self.directory / f"clicks-{number:012d}.journal"

    def numbers(self) -> list[int]:
        """Return the numbers of the segments that exist, oldest first."""
        return sorted(int(found[1]) for found in map(SEGMENT_NAME.fullmatch, os.listdir(self.directory)) if found)

    def size(self, number: int) -> int:
        """Return the size of a segment in bytes; 0 when it does not exist, or is no plain file."""
        try:
            status = self.path(number).lstat()
        except FileNotFoundError:
            return 0
        return status.st_size if stat.S_ISREG(status.st_mode) else 0

    def bytes_between(self, position: Position, end: Position) -> int:
        """Return how many bytes lie between two positions, 0 where the first one is not before the other."""
        if position.segment >= end.segment:
            return max(end.offset - position.offset, 0) if position.segment == end.segment else 0
        between = sum(self.size(number) for number in self.numbers() if position.segment < number < end.segment)
        return max(self.size(position.segment) - position.offset, 0) + between + end.offset

    def forget(self, position: Position) -> None:
        """Delete the segments that lie wholly before a position."""
        for number in self.numbers():
            if number < position.segment:
                with contextlib.suppress(FileNotFoundError, IsADirectoryError):
                    self.path(number).unlink()

    def read(self, position: Position, end: Position, *, records_max: int) -> Piece:
        """Return up to `records_max` payloads between two positions, from one segment.

        A segment that ends in a torn or damaged frame is given up there, with one warning: behind it no frame can
        be found again. No payloads and a position short of `end` means: call again.
        """
        last = position.segment == end.segment
        limit = end.offset if last else self.size(position.segment)
        wanted = min(records_max * 512, 1 << 20) + _FRAME_MAX
        data = self._bytes(position, min(limit - position.offset, wanted))
        payloads: list[bytes] = []
        offset = 0
        for payload, after in unframe(data):
            payloads.append(payload)
            offset = after
            if len(payloads) == records_max:
                break
        reached = Position(position.segment, position.offset + offset)
        if payloads or reached == end:
            return Piece(payloads, reached, 0)
        lost = max(limit - position.offset, 0)
        if lost:
            _log.warning(
                "click journal %s: %d unreadable bytes at %d skipped",
                self.path(position.segment).name,
                lost,
                position.offset,
            )
        return Piece([], end if last else self._next(position.segment, end), lost)

    def _bytes(self, position: Position, size: int) -> bytes:
        if size <= 0:
            return b""
        try:
            with self.path(position.segment).open("rb") as file:
                file.seek(position.offset)
                return file.read(size)
        except FileNotFoundError:
            return b""

    def _next(self, segment: int, end: Position) -> Position:
        later = [number for number in self.numbers() if segment < number < end.segment]
        return Position(later[0] if later else end.segment, 0)
