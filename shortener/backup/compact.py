"""Writes the database anew, without what deleted rows have left in it, and gives unused space back to the disk."""

import os
import sqlite3
from pathlib import Path

from shortener.backup.backup import Progress
from shortener.errors import OperatorError
from shortener.storage.data_dir import lock_data_dir, make_private_file
from shortener.storage.files import COMPACTED, DATABASE, reason, sync_directory
from shortener.storage.sqlite.connection import connect
from shortener.storage.sqlite.faults import unusable
from shortener.storage.sqlite.migrate import check_applied, load_migrations

_PRAGMAS = ("PRAGMA trusted_schema = OFF",)
_INSTRUCTIONS = 20_000
"""SQLite's own, between two looks at how far the copy is: some milliseconds."""


def compact(data_dir: Path, progress: Progress) -> tuple[int, int]:
    """Compact the database in `data_dir` and return its size in bytes before and after.

    It needs as much space again while it runs. No server may run; a process that is killed leaves the old database or
    the new one. Raises `OperatorError`.
    """
    path, draft = data_dir / DATABASE, data_dir / COMPACTED
    if not path.is_file():
        raise OperatorError(f"data directory {data_dir} holds no database")
    with lock_data_dir(data_dir, for_owner=True):
        before = path.stat().st_size
        try:
            _write_anew(path, draft, progress)
            os.replace(draft, path)
            sync_directory(data_dir)
        except sqlite3.Error as error:
            raise unusable(path, error) from error
        except OSError as error:
            raise OperatorError(f"cannot compact database {path}: {reason(error)}") from error
        finally:
            draft.unlink(missing_ok=True)
        return before, path.stat().st_size


def _write_anew(path: Path, draft: Path, progress: Progress) -> None:
    make_private_file(draft)
    raw = connect(path, _PRAGMAS, busy_timeout_seconds=1.0)
    try:
        check_applied(path, raw, load_migrations())
        # Nobody else has it open from here on, and the file is all of it: nothing waits in a write-ahead log.
        raw.execute("PRAGMA locking_mode = EXCLUSIVE").fetchall()
        raw.execute("PRAGMA journal_mode = DELETE").fetchall()
        total = path.stat().st_size
        raw.set_progress_handler(lambda: progress(min(draft.stat().st_size, total), total), _INSTRUCTIONS)
        raw.execute("VACUUM INTO ?", (str(draft.absolute()),))
        progress(total, total)
        with draft.open("rb+") as file:
            os.fsync(file.fileno())
    finally:
        raw.close()
