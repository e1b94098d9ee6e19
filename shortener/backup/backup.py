"""Makes a backup beside a running server or a stopped one: a snapshot of everything, in a directory of its own.

The journal is copied before the database. A click that is moved meanwhile is then in both, and the position in the
database tells that it was counted; the other way round it would be in neither.
"""

import os
import secrets
import shutil
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path
from typing import cast

from shortener.analytics.journal.records import unframe
from shortener.analytics.journal.segments import Segments
from shortener.analytics.model import START, Position
from shortener.backup import files, manifest
from shortener.backup.manifest import Manifest
from shortener.errors import OperatorError
from shortener.storage.files import DATABASE, JOURNAL, KEYS, make_directory, reason, sync_directory, write
from shortener.storage.sqlite.migrate import check_applied, load_migrations
from shortener.storage.sqlite.snapshot import copy_snapshot, open_snapshot

Progress = Callable[[int, int], None]
"""Is called with how much is done, and of how much."""


def back_up(data_dir: Path, target: Path, progress: Progress) -> Manifest:
    """Copy what `data_dir` holds into the directory `target`, new or empty, which appears when all of it is written.

    Raises `OperatorError`.
    """
    _check_target(data_dir, target)
    draft = target.absolute().with_name(f".{target.name}.{secrets.token_hex(4)}.partial")
    try:
        target.absolute().parent.mkdir(parents=True, exist_ok=True)
        make_directory(draft)
        try:
            made = _fill(data_dir, draft, progress)
            os.replace(draft, target.absolute())
            sync_directory(target.absolute().parent)
        finally:
            with suppress(OSError):
                shutil.rmtree(draft)
    except OSError as error:
        raise OperatorError(f"cannot write backup {target}: {reason(error)}") from error
    except sqlite3.Error as error:
        raise OperatorError(f"cannot copy database {data_dir / DATABASE}: {error}") from error
    return made


def _check_target(data_dir: Path, target: Path) -> None:
    if not (data_dir / DATABASE).exists():
        raise OperatorError(f"data directory {data_dir} holds no database")
    try:
        if target.exists() and any(target.iterdir()):
            raise OperatorError(f"{target} is not empty: give each backup a directory of its own")
    except OSError as error:
        raise OperatorError(f"cannot use {target}: {reason(error)}") from None
    if target.resolve().is_relative_to(data_dir.resolve()):
        raise OperatorError(f"{target} lies in the data directory {data_dir}: a backup belongs somewhere else")


def _fill(data_dir: Path, draft: Path, progress: Progress) -> Manifest:
    now = int(time.time())
    _copy_journal(data_dir / JOURNAL, draft / JOURNAL)
    with open_snapshot(data_dir / DATABASE) as snapshot:
        copy_snapshot(snapshot, draft / DATABASE, progress)
        schema = check_applied(data_dir / DATABASE, snapshot, load_migrations())
        position = position_of(snapshot)
    _drop_moved(Segments(draft / JOURNAL), position)
    for name in KEYS:
        # Some may be missing: it was never served, or the secret is configured elsewhere.
        with suppress(FileNotFoundError), (data_dir / name).open("rb") as key:
            files.copy(key, draft / name)
    _check_copy(draft / DATABASE)
    names = sorted(str(path.relative_to(draft)) for path in draft.rglob("*") if path.is_file())
    made = Manifest(now, schema, {name: files.checksum(draft / name) for name in names})
    sync_directory(draft / JOURNAL)
    manifest.write(draft, made)
    sync_directory(draft)
    return made


def position_of(snapshot: sqlite3.Connection) -> Position:
    """Return how far the journal has been moved into the database, whose schema may be an old one."""
    table = "SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = 'journal_position'"
    if snapshot.execute(table).fetchone() is None:
        return START
    row = snapshot.execute("SELECT segment, offset FROM journal_position").fetchone()
    return Position(*cast("tuple[int, int]", row)) if row else START


def _copy_journal(source: Path, target: Path) -> None:
    """Copy the segments; of the newest, which may be growing, whole records only."""
    make_directory(target)
    segments = Segments(source)
    numbers = segments.numbers() if source.is_dir() else []
    for number in numbers:
        copied = target / segments.path(number).name
        try:
            with segments.path(number).open("rb") as segment:
                if number == numbers[-1]:
                    write(copied, _whole_records(segment.read()))
                else:
                    files.copy(segment, copied)
        except FileNotFoundError:  # All of it is in the database by now.
            continue


def _whole_records(data: bytes) -> bytes:
    end = 0
    for _, after in unframe(data):
        end = after
    return data[:end]


def _drop_moved(segments: Segments, position: Position) -> None:
    """Delete the copies of segments that are wholly in the database."""
    segments.forget(position)
    if segments.size(position.segment) <= position.offset:
        segments.path(position.segment).unlink(missing_ok=True)


def _check_copy(path: Path) -> None:
    """Raise `OperatorError` for a damaged copy: nobody is to delete an older, sound backup for it."""
    with closing(sqlite3.connect(f"{path.absolute().as_uri()}?immutable=1", uri=True)) as raw:
        try:
            (answer,) = raw.execute("PRAGMA quick_check(1)").fetchone()
        except sqlite3.DatabaseError as error:
            answer = str(error)
    if answer != "ok":
        line = " ".join(str(answer).split())
        raise OperatorError(f"the database is damaged ({line}): nothing was backed up; restore the last backup")
