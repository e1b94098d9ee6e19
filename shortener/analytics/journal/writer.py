"""Writing the click journal's segments: one system call for all clicks of a turn of the event loop."""

import asyncio
import contextlib
import logging
import os
import time
from pathlib import Path
from typing import Final

from shortener.analytics.journal.records import frame
from shortener.analytics.journal.segments import Segments
from shortener.analytics.model import Position
from shortener.observe.log import OncePerSecond

_log = logging.getLogger(__name__)
_CLOSED: Final = -1


class Unsynced:
    """Files with data that only the kernel has."""

    def __init__(self, directory: Path | None, current: int | None, retired: list[int]) -> None:
        self._directory = directory
        self._current = current
        self._retired = retired

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to do."""
        return self._current is None and not self._retired and self._directory is None

    def sync(self) -> None:
        """Wait for the disk, and close the segments that are full. Blocking. Raises `OSError`."""
        with contextlib.ExitStack() as stack:
            for file in self._retired:
                stack.callback(os.close, file)
            for file in self._retired:
                os.fdatasync(file)
            if self._current is not None:
                os.fdatasync(self._current)
            if self._directory is not None:
                directory = os.open(self._directory, os.O_RDONLY | os.O_DIRECTORY)
                stack.callback(os.close, directory)
                os.fsync(directory)


class SegmentWriter:
    """Appends to the newest segment. Used on the event loop alone; `segment_size_max` is in bytes."""

    def __init__(self, segments: Segments, number: int, *, segment_size_max: int) -> None:
        self.segments = segments
        self.records = 0
        """Clicks handed to the kernel since the start."""
        self.dropped = 0
        """Clicks lost since the start because a write failed."""
        self.sync_failures = 0
        """How often the disk refused to confirm."""
        self.dirty_since = 0.0
        """When the oldest click was flushed that no sync has begun for; by the monotonic clock."""
        self._segment_size_max = segment_size_max
        self._number = number
        self._offset = 0
        self._file = _CLOSED
        self._retired: list[int] = []
        self._pending: list[bytes] = []
        self._created = False
        self._dirty = False
        self._dirtied = asyncio.Event()  # or somebody waits to hear that nothing is
        self._may_log = OncePerSecond()

    @property
    def end(self) -> Position:
        """Where the flushed clicks end."""
        return Position(self._number, self._offset)

    def add(self, payload: bytes) -> None:
        """Take one click; it is in the kernel after the next `flush`."""
        self._pending.append(frame(payload))

    def flush(self) -> None:
        """Hand all that was added to the kernel with one write. Never raises."""
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
        if not self._dirty:
            self._dirty = True
            self.dirty_since = time.monotonic()
            self._dirtied.set()

    def open_segment(self) -> None:
        """Create the segment that is written next. Raises `OSError`."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC
        while self._file == _CLOSED:
            try:
                self._file = os.open(self.segments.path(self._number), flags, 0o600)
            except FileExistsError:  # Somebody put it there; nothing of theirs is written over.
                self._number += 1
        self._created = True

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
                self._retired.append(old[0])

    def _drop(self, count: int, error: OSError) -> None:
        self.dropped += count
        if self._may_log():
            _log.error("clicks cannot be written: %s; %d dropped since the start", error.strerror, self.dropped)
        if self._file == _CLOSED:
            return
        try:
            os.ftruncate(self._file, self._offset)  # Half a record must not lie between whole ones.
        except OSError:
            self._retired.append(self._file)
            self._file, self._number, self._offset = _CLOSED, self._number + 1, 0

    async def wait_dirty(self) -> None:
        """Return when something was flushed since the last `take_unsynced`, or on `wake`."""
        await self._dirtied.wait()

    def wake(self) -> None:
        """Let `wait_dirty` return."""
        self._dirtied.set()

    def take_unsynced(self) -> "Unsynced":
        """Return what must be brought to the disk so that all that was flushed is there."""
        files = Unsynced(
            self.segments.directory if self._created else None,
            self._file if self._dirty and self._file != _CLOSED else None,
            self._retired,
        )
        self._retired, self._created, self._dirty = [], False, False
        self._dirtied.clear()
        return files

    def sync_failed(self, error: OSError) -> None:
        """Count and log that the disk refused to confirm."""
        self.sync_failures += 1
        if self._may_log():
            _log.error("clicks cannot be synced to disk: %s", error.strerror)

    def close(self) -> None:
        """Close all files. What was not synced is still in the kernel."""
        for file in [*self._retired, self._file]:
            if file != _CLOSED:
                os.close(file)
        self._retired, self._file = [], _CLOSED


def _write_all(file: int, data: bytes) -> None:
    """Write everything, also where the system takes it in parts. Raises `OSError`."""
    written = os.write(file, data)
    while written < len(data):
        written += os.write(file, data[written:])
