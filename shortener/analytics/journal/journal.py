"""The click journal: what the kernel has before an answer leaves, it keeps through kill -9.

`append` collects the clicks of one turn of the event loop, `flush` hands them to the kernel with one write. A task of
the journal's own brings them to the disk. A write that fails costs the clicks in it, never a redirect: they are counted
as dropped, and the next flush tries anew.
"""

import asyncio
import contextlib
import errno
import logging
import os
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

from shortener.analytics.journal.records import Malformed, decode, encode, encode_client, frame, which_and_when
from shortener.analytics.journal.segments import NEXT_MAX, Segments
from shortener.analytics.journal.sync import DiskSync
from shortener.analytics.model import Observation, Position
from shortener.analytics.ports import LogPiece
from shortener.config.sections import Clicks
from shortener.errors import OperatorError
from shortener.links.model import LinkRef
from shortener.net.memo import Memo
from shortener.observe.log import OncePerSecond
from shortener.tasks import finish

_log = logging.getLogger(__name__)
_CLOSED: Final = -1
# Decoding this many records takes about a millisecond; then the event loop may have Python's lock.
_RECORDS_AT_ONCE: Final = 100
_SEEN_MAX: Final = 2_000
_NO_SPACE: Final = {errno.ENOSPC, errno.EDQUOT}


class Journal:
    """The open journal, a `ClickLog` in segment files. Open it with `open_journal`."""

    encode_client = staticmethod(encode_client)

    def __init__(self, segments: Segments, number: int, settings: Clicks) -> None:
        self.segments = segments
        self.sync = DiskSync(segments.directory, durability=settings.durability, sync_seconds=settings.sync_seconds)
        self.settled = self.sync.settled
        self.records = 0
        """Clicks handed to the kernel since the start."""
        self.dropped = 0
        """Clicks lost since the start because a write failed."""
        # Clicks of one link by one client are equal but for which link and when: those of late, by all else in them.
        self._seen: Memo[bytes, Observation] = Memo(_SEEN_MAX)
        self._acknowledged = 0
        self._segment_size_max = settings.segment_size_max
        self._number = number
        self._offset = 0
        self._file = _CLOSED
        self._pending: list[bytes] = []
        self._may_log = OncePerSecond()

    @property
    def end(self) -> Position:
        """Where the flushed clicks end."""
        return Position(self._number, self._offset)

    def append(self, ref: LinkRef, at: int, client: bytes, referrer: bytes, user_agent: str) -> None:
        """Take one click; it is in the kernel after the next `flush`."""
        self.add(encode(ref, at, client, referrer, user_agent))

    def add(self, payload: bytes) -> None:
        """Take one record."""
        self._pending.append(frame(payload))

    def flush(self) -> None:
        """Hand all that was appended to the kernel with one write. Never raises."""
        if not self._pending:
            return
        pending, self._pending = self._pending, []
        data = b"".join(pending)
        try:
            self._make_room(len(data))
            _write_all(self._file, data)
        except OSError as error:
            self._drop(len(pending), error)
            return
        self._offset += len(data)
        self.records += len(pending)
        if self._file != self.sync.dirty_file:
            self.sync.written(self._file)

    def read(self, position: Position, end: Position, *, clicks_max: int) -> LogPiece:
        """Return the clicks behind a position, before `end`. Blocking; on one thread at a time."""
        piece = self.segments.read(position, end, records_max=clicks_max)
        lost_bytes = piece.lost_bytes
        while not piece.payloads and piece.position < end:  # The end of a segment.
            piece = self.segments.read(piece.position, end, records_max=clicks_max)
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

    def acknowledge(self, position: Position) -> None:
        """Delete what lies before a position, as far as whole files do. Blocking."""
        if position.segment > self._acknowledged:
            self.segments.forget(position)
            self._acknowledged = position.segment

    def bytes_after(self, position: Position) -> int:
        """Return how many bytes of flushed clicks lie behind a position. Looks at the files: a few system calls."""
        return self.segments.bytes_between(position, self.end)

    def open_segment(self) -> None:
        """Create the file that is written next. Raises `OSError`."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC
        while self._file == _CLOSED:
            try:
                self._file = os.open(self.segments.path(self._number), flags, 0o600)
            except FileExistsError:  # Somebody put it there; nothing of theirs is written over.
                self._number += 1
        self.sync.created()

    async def close(self, task: asyncio.Task[None]) -> None:
        """Flush, sync, end the task that runs `DiskSync.run`, and close all files."""
        self.flush()
        try:
            await self.sync.close(task)
        finally:
            if self._file != _CLOSED:
                os.close(self._file)
            self._file = _CLOSED

    def _observation(self, payload: bytes) -> Observation:
        link_id, at, rest = which_and_when(payload)
        seen = self._seen.get(rest)
        if seen is None:
            seen = decode(payload)
            self._seen.put(rest, seen)
            return seen
        return Observation(LinkRef(link_id, seen.ref.short_code), at, *seen[2:])

    def _make_room(self, size: int) -> None:
        """Begin a new segment when there is none, or when this one would grow too long."""
        if self._file == _CLOSED:
            self.open_segment()
        elif self._offset and self._offset + size > self._segment_size_max:
            old = self._file, self._number, self._offset
            self._file, self._number, self._offset = _CLOSED, self._number + 1, 0
            try:
                self.open_segment()
            except OSError:  # Out of file handles, say: a segment that is too long is no harm.
                self._file, self._number, self._offset = old
            else:
                self.sync.retire(old[0])

    def _drop(self, count: int, error: OSError) -> None:
        self.dropped += count
        if self._may_log():
            _log.error("clicks cannot be written: %s; %d dropped since the start", error.strerror, self.dropped)
        if self._file == _CLOSED:
            return
        try:
            os.ftruncate(self._file, self._offset)  # Half a record must not lie between whole ones.
        except OSError:
            self.sync.retire(self._file)
            self._file, self._number, self._offset = _CLOSED, self._number + 1, 0


def _write_all(file: int, data: bytes) -> None:
    """Write everything, also where the system takes it in parts. Raises `OSError`."""
    written = os.write(file, data)
    while written < len(data):
        written += os.write(file, data[written:])


@contextlib.asynccontextmanager
async def open_journal(directory: Path, settings: Clicks, *, after: Position) -> AsyncIterator[Journal]:
    """Open the journal in `directory` (made where missing, mode 0700) with a fresh segment, and close it at the end.

    `after` is how far the clicks have been stored already (`LogProgress.position`); what lies before it is deleted.
    A fresh segment each time means that nothing is ever appended to what a crash may have torn.
    Raises `OperatorError`.
    """
    journal = _prepare(directory, settings, after)
    task = asyncio.create_task(journal.sync.run(), name="journal-sync")
    try:
        yield journal
    finally:
        await finish(journal.close(task))


def _prepare(directory: Path, settings: Clicks, after: Position) -> Journal:
    segments = Segments(directory)
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        segments.forget(after)
        number = max([after.segment, *(number for number in segments.numbers() if number < NEXT_MAX)]) + 1
    except OSError as error:
        raise _unusable(directory, error) from None
    journal = Journal(segments, number, settings)
    try:
        journal.open_segment()
    except OSError as error:
        if error.errno not in _NO_SPACE:  # A full disk must not keep redirects from being served.
            raise _unusable(directory, error) from None
    return journal


def _unusable(directory: Path, error: OSError) -> OperatorError:
    return OperatorError(f"cannot use click journal {directory}: {error.strerror}")
