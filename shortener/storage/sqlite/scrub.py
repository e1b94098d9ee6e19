"""Overwriting what deleted rows have left in the unused space inside pages of the database file.

`PRAGMA secure_delete` overwrites what is deleted where it lies. But when SQLite splits or merges pages, rows that move
leave stale copies between a page's list of cells and its cells, where no statement reaches them; only `VACUUM` gets rid
of them, which writes the file anew and keeps writers waiting all the while. So that space is overwritten in the file
itself, in steps of some milliseconds on the writer's thread, each of which finds the write-ahead log empty:

- the file is the whole database then, and nobody changes it: the writer is here, and holds the lock against others;
- readers never look at these bytes, and both versions of a page mean the same, so that neither a read meanwhile nor a
  power cut in the middle of a page does harm;
- the writer forgets its cached pages afterwards, so that none of the stale bytes comes back with the next change.

The format is that of https://sqlite.org/fileformat2.html#b_tree_pages. Decision 8 says what else was weighed.
"""

import asyncio
import logging
import os
import sqlite3
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from shortener.storage.sqlite.connection import SqliteThread
from shortener.tasks import in_thread, lower_thread_priority
from shortener.tx import for_a_moment

_log = logging.getLogger(__name__)

_READ_PAGES: Final = 64
_LOOK_BYTES: Final = 16 << 20
"""How much of the file is looked at between two awaits: some 10 ms on a thread of its own."""
_REST: Final = 2
"""The writer is left alone for this many times as long as a step took."""
_BACKOFF_SECONDS_MAX: Final = 2.0

_HEADER: Final = struct.Struct(">BHHHB")
"""Kind of page, first free block, number of cells, start of their content, fragmented bytes."""
_HEADER_SIZES: Final = {2: 12, 5: 12, 10: 8, 13: 8}
"""By kinds of b-tree pages: those inside an index and a table, and their leaves."""
_PAGES_MAX: Final = 2 << 24
"""Other pages in use begin with the number of a page, its highest byte first: with no more pages than these (128 GiB of
the usual size) that is not the kind of a b-tree page."""
_SIZE_MAX: Final = 65_536
_ZEROS: Final = bytes(_SIZE_MAX)


def unused(page: bytes) -> tuple[int, int]:
    """Return where the space that belongs to no cell begins and ends; (0, 0) when there is nothing in it.

    Also for pages that are not of a b-tree or make no sense, and not for the first page of a file.
    """
    kind, _, cells, content, _ = _HEADER.unpack_from(page)
    if kind not in _HEADER_SIZES:
        return (0, 0)
    start, end = _HEADER_SIZES[kind] + 2 * cells, content or _SIZE_MAX
    if not start < end <= len(page) or page[start:end] == _ZEROS[: end - start]:
        return (0, 0)
    return (start, end)


@dataclass(slots=True)
class _Outcome:
    is_done: bool = False
    error: Exception | None = None


class Scrubber:
    """Overwrites unused space in the database at `path`, which is also open as the descriptor `file`.

    The descriptor must stay open for as long as any connection is: closing it frees all locks that this process has on
    the file, those of SQLite too.
    """

    def __init__(self, writer: SqliteThread, path: Path, file: int) -> None:
        self._writer = writer
        self._log_path = path.with_name(f"{path.name}-wal")
        self._file = file

    async def run(self) -> None:
        """Leave nothing of what was deleted until now in the database file and the write-ahead log.

        Waits for reads that still need the log. Can be cancelled at any await; what is done stays done. Raises
        `sqlite3.Error` and `OSError`.
        """
        await self._on_writer(lambda: _empty_log(self._writer.raw))
        size = _page_size(self._file)
        count = os.fstat(self._file).st_size // size
        if count > _PAGES_MAX or _has_pointer_maps(self._file):
            _log.warning("the unused space of a database like this one is not overwritten: VACUUM does it")
            return
        at_once = _LOOK_BYTES // size
        for first in range(1, count, at_once):  # The first page holds nothing but the schema.
            numbers = range(first, min(first + at_once, count))
            found = await in_thread("scrub", partial(self._look, numbers, size))
            while found:
                await self._on_writer(partial(self._overwrite, found, size))
        await in_thread("scrub", partial(os.fdatasync, self._file))

    def _look(self, numbers: range, size: int) -> list[int]:
        """Return which of these pages, counted from 0, have something in their unused space. Waits for the disk."""
        lower_thread_priority()
        found = []
        for begin in numbers[::_READ_PAGES]:
            part = os.pread(self._file, size * min(_READ_PAGES, numbers.stop - begin), begin * size)
            pages = (part[at : at + size] for at in range(0, len(part), size))
            found += [number for number, page in enumerate(pages, begin) if unused(page) != (0, 0)]
        return found

    async def _on_writer(self, step: Callable[[], bool]) -> None:
        """Run `step` on the writer's thread until it returns true, with rests in which the writer is others'."""
        pause, outcome = 0.01, _Outcome()
        while not outcome.is_done:
            started = time.monotonic()
            await self._writer.run(partial(_attempt, step, outcome))
            if outcome.error is not None:
                raise outcome.error
            await asyncio.sleep((time.monotonic() - started) * _REST)
            if not outcome.is_done:  # A read is in the way.
                await asyncio.sleep(pause)
                pause = min(pause * 2, _BACKOFF_SECONDS_MAX)

    def _overwrite(self, found: list[int], size: int) -> bool:
        """Overwrite for a moment, taking the pages done from the list. False when that is not possible now."""
        raw = self._writer.raw
        if not _empty_log(raw):
            return False
        raw.execute("BEGIN IMMEDIATE")  # Should another program be writing here, against all advice.
        try:
            if self._log_path.stat().st_size:
                return False
            for_a_moment(partial(self._overwrite_last, found, size))
        finally:
            raw.execute("ROLLBACK")
            raw.execute("PRAGMA shrink_memory").fetchall()  # which drops every page that is not in use
        return True

    def _overwrite_last(self, found: list[int], size: int) -> bool:
        place = found.pop() * size
        start, end = unused(os.pread(self._file, size, place))  # It may have changed since it was looked at.
        os.pwrite(self._file, _ZEROS[: end - start], place + start)
        return bool(found)


def _attempt(step: Callable[[], bool], outcome: _Outcome) -> None:
    try:
        outcome.is_done = step()
    except (sqlite3.Error, OSError) as error:
        outcome.error = error


def _empty_log(raw: sqlite3.Connection) -> bool:
    """Move all of the write-ahead log into the file and leave nothing in it. False when a read still needs it."""
    (timeout,) = raw.execute("PRAGMA busy_timeout").fetchone()
    try:
        raw.execute("PRAGMA busy_timeout = 0").fetchall()
        (is_busy, _, _) = raw.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    finally:
        raw.execute(f"PRAGMA busy_timeout = {int(timeout)}").fetchall()
    return not is_busy


def _has_pointer_maps(file: int) -> bool:
    """Whether the database was made with `auto_vacuum`: pages of pointers may begin like those of a b-tree."""
    return os.pread(file, 4, 52) != bytes(4)


def _page_size(file: int) -> int:
    size = int.from_bytes(os.pread(file, 2, 16))
    return _SIZE_MAX if size == 1 else size
