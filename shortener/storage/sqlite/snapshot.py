"""Snapshots of the database for other processes than its owner, which neither change it nor hold up its writes."""

import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from shortener.errors import OperatorError
from shortener.storage.data_dir import make_private_file
from shortener.storage.sqlite.faults import unusable

# Pages copied at a time, 4 MiB of the usual size, and the pause after them, which leaves the disk to the server.
_PAGES = 1024
_PAUSE_SECONDS = 0.005
# So much may be unsynced, or else a sync of the server would wait for gigabytes.
_UNSYNCED_BYTES_MAX = 64 << 20


@contextmanager
def open_snapshot(path: Path, *, is_frozen: bool = False) -> Iterator[sqlite3.Connection]:
    """Open the database file at `path` read-only, in one transaction that lasts until the block ends.

    The owner can write, and its write-ahead log grows meanwhile. With `is_frozen` no process may have the file open,
    and no file is made beside it. Raises `OperatorError`, also for SQLite's errors in the block.
    """
    if not path.is_file():
        raise OperatorError(f"there is no database {path}")
    query = "immutable=1" if is_frozen else "mode=ro"
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?{query}", uri=True, isolation_level=None)) as raw:
            raw.execute("PRAGMA query_only = ON")
            raw.execute("PRAGMA wal_autocheckpoint = 0")  # as for every reader: see storage/sqlite/connection.py
            raw.execute("BEGIN")
            raw.execute("SELECT count(*) FROM sqlite_schema").fetchone()  # The snapshot begins here.
            yield raw
    except sqlite3.Error as error:
        raise unusable(path, error) from error


def copy_snapshot(snapshot: sqlite3.Connection, target: Path, report: Callable[[int, int], None]) -> None:
    """Copy the whole database into the new file `target` (0600), and sync it.

    `report` is called with the number of pages copied and of all pages. Raises `sqlite3.Error` and `OSError`.
    """
    make_private_file(target)
    file = os.open(target, os.O_RDWR | os.O_CLOEXEC)
    try:
        with closing(sqlite3.connect(target, isolation_level=None)) as copy:
            copy.execute("PRAGMA journal_mode = OFF")  # Half a copy is deleted, never rolled back.
            copy.execute("PRAGMA synchronous = OFF")
            unsynced = 0
            (page_size,) = snapshot.execute("PRAGMA page_size").fetchone()

            def after_step(status: int, left: int, total: int) -> None:
                nonlocal unsynced
                unsynced += _PAGES
                if unsynced * page_size >= _UNSYNCED_BYTES_MAX:
                    os.fdatasync(file)
                    unsynced = 0
                report(total - left, total)
                if left:
                    time.sleep(_PAUSE_SECONDS)

            snapshot.backup(copy, pages=_PAGES, progress=after_step)
        os.fsync(file)
    finally:
        os.close(file)
