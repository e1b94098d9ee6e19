"""Checks a data directory or a backup without changing it; a server may run on it."""

import itertools
import sqlite3
import stat
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from shortener.accounts.signing_keys import parse_keys
from shortener.analytics.clients.visitors import parse_key
from shortener.analytics.journal.records import unframe
from shortener.analytics.journal.segments import Segments
from shortener.analytics.model import Position
from shortener.backup import audit, manifest
from shortener.backup.backup import Progress, position_of
from shortener.errors import OperatorError
from shortener.storage.data_dir import RESTORING
from shortener.storage.files import (
    DATABASE,
    JOURNAL,
    KEYS,
    PRIVATE_DIRECTORY,
    PRIVATE_FILE,
    SECRET,
    VISITOR_KEY,
    open_plain,
    reason,
)
from shortener.storage.sqlite.migrate import check_applied, load_migrations
from shortener.storage.sqlite.snapshot import open_snapshot

_INTEGRITY_LINES_MAX = 20
_PARTS = 3
_KEYS_SIZE_MAX = 1 << 20  # bytes
# Pauses before a record that is not whole is read again: it may just be written.
_PAUSES = (0.01, 0.1)


@dataclass(slots=True)
class Verified:
    """How much there is, and one line for each fault."""

    links: int = 0
    accounts: int = 0
    clicks: int = 0
    waiting: int = 0
    """Clicks in the journal that are not in the database yet."""
    findings: list[str] = field(default_factory=list)


def verify(directory: Path, *, has_own_secret: bool, progress: Progress) -> Verified:
    """Check a data directory, or a backup of one. `has_own_secret` tells whether the signing keys are kept in it.

    `progress` is called after each part. Raises `OperatorError` when there is nothing to check.
    """
    if not (directory / DATABASE).is_file():
        raise OperatorError(f"{directory} holds no database")
    found = Verified()
    parts = itertools.count(1)

    def on_part() -> None:
        progress(next(parts), _PARTS)

    is_backup = (directory / manifest.NAME).exists()
    if is_backup:
        found.findings += manifest.damage(directory, manifest.read(directory))
        if found.findings:  # It cannot be restored, and its files may be anything.
            return found
    found.findings += _modes(directory)
    try:
        _check_database(directory, found, is_frozen=is_backup, on_part=on_part)
    except OperatorError as error:
        found.findings.append(str(error))
    if found.links or found.accounts or found.clicks:
        found.findings += _keys(directory, has_own_secret=has_own_secret)
    return found


def _check_database(directory: Path, found: Verified, *, is_frozen: bool, on_part: Callable[[], None]) -> None:
    with open_snapshot(directory / DATABASE, is_frozen=is_frozen) as raw:
        found.findings += _integrity(raw)
        on_part()
        migrations = load_migrations()
        missing = len(migrations) - check_applied(directory / DATABASE, raw, migrations)
        if missing:
            found.findings.append(f"the database needs {missing} migrations: run `shortener migrate`, then verify")
            return
        (found.links,) = raw.execute("SELECT count(*) FROM links WHERE deleted_at = 0").fetchone()
        (found.accounts,) = raw.execute("SELECT count(*) FROM accounts").fetchone()
        (found.clicks,) = raw.execute("SELECT count(*) FROM clicks").fetchone()
        found.findings += _references(raw)
        on_part()
        found.findings += audit.check_links(raw, whole_since=_whole_since(raw), leaving=_leaving(raw))
        on_part()
        found.findings += _journal(directory / JOURNAL, position_of(raw), found)


def _integrity(raw: sqlite3.Connection) -> Iterator[str]:
    for (line,) in raw.execute(f"PRAGMA integrity_check({_INTEGRITY_LINES_MAX})"):
        if line != "ok":
            yield f"the database is damaged: {' '.join(line.split())}"


def _whole_since(raw: sqlite3.Connection) -> int:
    """Return the time from which on all raw clicks are kept."""
    (removed_before,) = raw.execute("SELECT removed_before FROM click_retention").fetchone()
    return int(removed_before)


def _leaving(raw: sqlite3.Connection) -> set[int]:
    """Return the ids of links whose numbers are being removed."""
    return {link_id for (link_id,) in raw.execute("SELECT link_id FROM click_purges")}


def _references(raw: sqlite3.Connection) -> Iterator[str]:
    for table, row, parent, _ in raw.execute("PRAGMA foreign_key_check"):
        yield f"row {row} of {table} refers to a row of {parent} that does not exist"
    (strangers,) = raw.execute(
        "SELECT count(*) FROM clicks LEFT JOIN visitors ON visitors.id = visitor_id "
        "WHERE visitor_id IS NOT NULL AND visitors.id IS NULL"
    ).fetchone()
    if strangers:
        yield f"{strangers} clicks have a visitor that does not exist"


def _journal(directory: Path, position: Position, found: Verified) -> Iterator[str]:
    if not directory.is_dir():
        return
    segments = Segments(directory)
    numbers = segments.numbers()
    if numbers and numbers[-1] < position.segment:
        yield f"the journal position {position.segment}:{position.offset} lies behind the newest segment {numbers[-1]}"
    for number in numbers:
        if number < position.segment:  # Moved; it is deleted next.
            continue
        start = position.offset if number == position.segment else 0
        try:
            offsets, size = _records(segments.path(number))
        except FileNotFoundError:  # Deleted just now.
            continue
        except OSError as error:
            yield f"{segments.path(number)} cannot be read: {reason(error)}"
            continue
        found.waiting += sum(offset > start for offset in offsets)
        end = offsets[-1] if offsets else 0
        if start and start not in offsets and start < size:
            yield f"the journal position {number}:{start} is not between two clicks"
        elif size > max(end, start):
            yield f"journal segment {number}: the last {size - max(end, start)} bytes are not clicks"


def _records(path: Path) -> tuple[list[int], int]:
    """Return the ends of all whole records and the size of the segment. Raises `OSError`.

    It waits for a record that is being written.
    """
    for pause in (*_PAUSES, None):
        with open_plain(path) as file:
            data = file.read()
        offsets = [after for _, after in unframe(data)]
        if pause is None or not data or (offsets and offsets[-1] == len(data)):
            break
        time.sleep(pause)
    return offsets, len(data)


def _modes(directory: Path) -> Iterator[str]:
    if (directory / RESTORING).exists():
        yield f"{directory} holds half a backup: run `shortener restore --force` again"
    ours = [directory, *directory.glob(f"{DATABASE}*"), *(directory / name for name in KEYS)]
    for path in [*ours, directory / JOURNAL, *(directory / JOURNAL).glob("*")]:
        try:
            status = path.stat()
        except FileNotFoundError:
            continue
        mode = stat.S_IMODE(status.st_mode)
        private = PRIVATE_DIRECTORY if stat.S_ISDIR(status.st_mode) else PRIVATE_FILE
        if mode & ~private:
            yield f"{path} can be used by others: its mode is {mode:04o}, not {private:04o}"


def _keys(directory: Path, *, has_own_secret: bool) -> Iterator[str]:
    secret, visitor_key = directory / SECRET, directory / VISITOR_KEY
    yield from _key(visitor_key, lambda text: parse_key(visitor_key, text))
    if has_own_secret:
        yield from _key(secret, lambda text: parse_keys(text, str(secret)))


def _key(path: Path, parse: Callable[[bytes], object]) -> Iterator[str]:
    try:
        with open_plain(path.resolve()) as file:  # It may be kept elsewhere, with a link to it.
            parse(file.read(_KEYS_SIZE_MAX))
    except FileNotFoundError:
        yield f"{path} is missing: restore it from a backup"
    except OSError as error:
        yield f"{path} cannot be read: {reason(error)}"
    except OperatorError as error:
        yield str(error)
