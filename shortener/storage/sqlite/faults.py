"""What SQLite's errors mean to operators and to callers."""

import logging
import sqlite3
from pathlib import Path
from typing import NoReturn

from shortener import errors
from shortener.errors import OperatorError

_log = logging.getLogger(__name__)

_UNIQUE = {sqlite3.SQLITE_CONSTRAINT_UNIQUE, sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY, sqlite3.SQLITE_CONSTRAINT_ROWID}
_HINTS = {
    sqlite3.SQLITE_NOTADB: "it is not an SQLite database",
    sqlite3.SQLITE_CORRUPT: "the file is damaged; restore a backup",
    sqlite3.SQLITE_CANTOPEN: "it cannot be opened or created",
    sqlite3.SQLITE_READONLY: "it is read-only",
    sqlite3.SQLITE_PERM: "permission denied",
    sqlite3.SQLITE_FULL: "the disk is full",
    sqlite3.SQLITE_BUSY: "another process has it locked",
    sqlite3.SQLITE_LOCKED: "another process has it locked",
}


class UniqueViolation(Exception):  # noqa: N818 - named like the domain's errors; it never leaves a store
    """A UNIQUE or PRIMARY KEY constraint refused a row. `column` is `table.column` where the engine says so."""

    def __init__(self, column: str) -> None:
        super().__init__(column)
        self.column = column


def unusable(path: Path, error: sqlite3.Error) -> OperatorError:
    """Return the operator's line for an error that came while a database was opened or migrated."""
    return OperatorError(f"cannot use database {path}: {_HINTS.get(_primary_code(error), str(error))}")


def raise_translated(error: sqlite3.Error) -> NoReturn:
    """Raise a statement's error as the caller knows it.

    That is `UniqueViolation`, `errors.Exhausted` (the disk is full) or `errors.Unavailable` (locked past the timeout,
    or a read that the close has interrupted). Other errors are bugs or a damaged file: logged, and raised unchanged.
    """
    if getattr(error, "sqlite_errorcode", 0) in _UNIQUE:
        raise UniqueViolation(str(error).partition(": ")[2]) from error
    code = _primary_code(error)
    if code == sqlite3.SQLITE_FULL:
        _log.error("the disk is full")
        raise errors.Exhausted("disk full", overload=True) from error
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        _log.warning("the database is locked by another process")
        raise errors.Unavailable("the database is busy") from error
    if code == sqlite3.SQLITE_INTERRUPT:
        raise errors.Unavailable("the read was interrupted") from error
    _log.error("database error %s: %s", getattr(error, "sqlite_errorname", type(error).__name__), error)
    raise error


def _primary_code(error: sqlite3.Error) -> int:
    """Return SQLite's result code without its extension; 0 when the driver itself raised the error."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF
