"""One moment of the database, read from beside the process that owns it: nothing of it is changed or held up."""

import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from shortener.errors import OperatorError
from shortener.storage.data_dir import make_private_file
from shortener.storage.sqlite.faults import unusable

# Pages copied at a time, 4 MiB of the usual ones, and the rest after each: the disk is the server's first of all.
_PAGES = 1024
_PAUSE_SECONDS = 0.005
# So much may wait for the disk, so that a sync of the server's never stands behind gigabytes.
_UNSYNCED_BYTES_MAX = 64 << 20


@contextmanager
def open_snapshot(path: Path, *, is_frozen: bool = False) -> Iterator[sqlite3.Connection]:
    """Open the database file at `path` read-only, in one transaction that shows one moment until the block ends.

    The owner goes on writing; but its write-ahead log grows meanwhile. With `is_frozen` the file is taken as one that
    nobody has open, and no file is made beside it. Raises `OperatorError`, also for what the block meets.
    """
    if not path.is_file():
        raise OperatorError(f"there is no database {path}")
    query = "immutable=1" if is_frozen else "mode=ro"
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?{query}", uri=True, isolation_level=None)) as raw:
            raw.execute("PRAGMA query_only = ON")
            raw.execute("PRAGMA wal_autocheckpoint = 0")  # as for every reader: see storage/sqlite/connection.py
            raw.execute("BEGIN")
            raw.execute("SELECT count(*) FROM sqlite_schema").fetchone()  # From here on nothing moves.
            yield raw
    except sqlite3.Error as error:
        raise unusable(path, error) from error


def copy_snapshot(snapshot: sqlite3.Connection, target: Path, report: Callable[[int, int], None]) -> None:
    """Copy the whole database into the new file `target` (0600), and sync it.

    `report` hears how many pages are done, and of how many. Raises `sqlite3.Error` and `OSError`.
    """
    make_private_file(target)
    file = os.open(target, os.O_RDWR | os.O_CLOEXEC)
    try:
        with closing(sqlite3.connect(target, isolation_level=None)) as copy:
            copy.execute("PRAGMA journal_mode = OFF")  # Nothing to go back to: half a copy is thrown away.
            copy.execute("PRAGMA synchronous = OFF")
            unsynced = 0
            unsynced_max = _UNSYNCED_BYTES_MAX // _page_size(snapshot)

            def after_step(status: int, left: int, total: int) -> None:
                nonlocal unsynced
                unsynced += _PAGES
                if unsynced >= unsynced_max:
                    os.fdatasync(file)
                    unsynced = 0
                report(total - left, total)
                if left:
                    time.sleep(_PAUSE_SECONDS)

            snapshot.backup(copy, pages=_PAGES, progress=after_step)
        os.fsync(file)
    finally:
        os.close(file)


def _page_size(raw: sqlite3.Connection) -> int:
    (size,) = raw.execute("PRAGMA page_size").fetchone()
    return int(size)
