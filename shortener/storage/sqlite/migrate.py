"""Schema migrations: numbered SQL files, forward only, each applied in one transaction and recorded by checksum."""

import hashlib
import re
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from shortener.clock import Clock
from shortener.errors import OperatorError
from shortener.storage.data_dir import make_private_file
from shortener.storage.files import reason
from shortener.storage.sqlite.connection import connect, use_wal
from shortener.storage.sqlite.faults import unusable

_NAME = re.compile(r"([0-9]{4})_([a-z0-9_]+)\.sql")
# Rebuilding a table that others refer to needs foreign keys off; they are checked before each commit instead.
_PRAGMAS = ("PRAGMA synchronous = FULL", "PRAGMA foreign_keys = OFF")
_STATISTICS = {  # made by ANALYZE
    ("table", "sqlite_stat1", "sqlite_stat1", "CREATE TABLE sqlite_stat1(tbl,idx,stat)"),
    ("table", "sqlite_stat4", "sqlite_stat4", "CREATE TABLE sqlite_stat4(tbl,idx,neq,nlt,ndlt,sample)"),
}
# It must stay as it is, to the letter: see `_check_schema`.
_CREATE = """
    CREATE TABLE IF NOT EXISTS schema_migrations (
        version INTEGER PRIMARY KEY,
        name TEXT NOT NULL,
        checksum TEXT NOT NULL,
        applied_at INTEGER NOT NULL
    ) STRICT
"""


@dataclass(frozen=True, slots=True)
class Migration:
    """One file `NNNN_name.sql`. `checksum` is the SHA-256 of its bytes in hexadecimal digits."""

    version: int
    name: str
    script: str
    checksum: str

    @property
    def file_name(self) -> str:
        """The name of its file."""
        return f"{self.version:04}_{self.name}.sql"


def migrations_folder() -> Path:
    """Return where this program's migrations are: in the installed package, else in the checkout."""
    package = Path(__file__).parents[2]
    installed = package / "_migrations"
    return (installed if installed.is_dir() else package.parent / "migrations") / "sqlite"


def load_migrations(folder: Path | None = None) -> list[Migration]:
    """Read the migrations of a folder, by default this program's, in order.

    Raises `OperatorError` for a bad name or text, and for a gap in the numbers.
    """
    folder = folder or migrations_folder()
    try:
        files = sorted(file for file in folder.iterdir() if not file.name.startswith("."))
    except OSError as error:
        raise OperatorError(f"cannot read migrations from {folder}: {reason(error)}") from error
    migrations = [_load(file) for file in files]
    for expected, migration in enumerate(migrations, start=1):
        if migration.version != expected:
            raise OperatorError(f"migration {expected:04} is missing: the next one is {migration.file_name}")
    return migrations


def pending(path: Path, migrations: Sequence[Migration], *, busy_timeout_seconds: float) -> list[Migration]:
    """Return the migrations that the database at `path` still needs, all of them when there is no such file.

    Changes nothing. Raises `OperatorError` when the database does not fit or cannot be read.
    """
    if not path.exists():
        return list(migrations)
    with _opened(path, (*_PRAGMAS, "PRAGMA query_only = ON"), busy_timeout_seconds) as raw:
        return list(migrations[check_applied(path, raw, migrations) :])


def migrate(
    path: Path,
    migrations: Sequence[Migration],
    *,
    busy_timeout_seconds: float,
    clock: Clock,
    on_applied: Callable[[Migration], object] = lambda _: None,
) -> list[Migration]:
    """Bring the database at `path`, made if missing, up to date; return the migrations applied now.

    `on_applied` hears of each one after its commit. A process killed at any time leaves each migration whole or not
    begun. Raises `OperatorError` when the database or a migration does not fit, or cannot be used.
    """
    make_private_file(path)
    with _opened(path, _PRAGMAS, busy_timeout_seconds) as raw:
        missing = list(migrations[check_applied(path, raw, migrations) :])
        use_wal(path, raw)
        for migration in missing:
            _apply(raw, migration, clock())
            on_applied(migration)
    return missing


@contextmanager
def _opened(path: Path, pragmas: tuple[str, ...], busy_timeout_seconds: float) -> Iterator[sqlite3.Connection]:
    with closing(connect(path, pragmas, busy_timeout_seconds)) as raw:
        try:
            yield raw
        except sqlite3.Error as error:
            raise unusable(path, error) from error


def _load(file: Path) -> Migration:
    matched = _NAME.fullmatch(file.name)
    if matched is None:
        raise OperatorError(f"{file} is not a migration: names are like 0001_links.sql")
    try:
        content = file.read_bytes()
        script = content.decode("utf-8")
    except UnicodeDecodeError:
        raise OperatorError(f"migration {file.name} is not UTF-8 text") from None
    except OSError as error:
        raise OperatorError(f"cannot read migration {file}: {reason(error)}") from error
    return Migration(int(matched[1]), matched[2], script, hashlib.sha256(content).hexdigest())


def check_applied(path: Path, raw: sqlite3.Connection, migrations: Sequence[Migration]) -> int:
    """Return how many migrations are applied, after making sure that they are the first ones of ours.

    Raises `OperatorError` otherwise.
    """
    tables = {name for (name,) in raw.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}
    if "schema_migrations" not in tables:
        if tables:
            raise OperatorError(f"database {path} belongs to another program: it has tables but no schema_migrations")
        return 0
    applied = raw.execute("SELECT version, name, checksum FROM schema_migrations ORDER BY version").fetchall()
    newest = applied[-1][0] if applied else 0
    if newest > len(migrations):
        raise OperatorError(
            f"database {path} is newer than this program: its schema is {newest:04}, "
            f"the newest known here is {len(migrations):04}"
        )
    for migration, (version, name, checksum) in zip(migrations, applied, strict=False):
        if version != migration.version:
            raise OperatorError(f"database {path} lacks migration {migration.file_name} but has a later one")
        if name != migration.name:
            raise OperatorError(f"migration {migration.file_name} was applied to {path} as {version:04}_{name}.sql")
        if checksum != migration.checksum:
            raise OperatorError(f"migration {migration.file_name} was edited after it was applied to {path}")
    _check_schema(path, raw, migrations[: len(applied)])
    return len(applied)


def _check_schema(path: Path, raw: sqlite3.Connection, applied: Sequence[Migration]) -> None:
    """See that the schema is word for word what the migrations make: a foreign trigger could change what is stored."""
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as fresh:
        fresh.executescript("\n;".join((_CREATE, *(migration.script for migration in applied))))
        made = _objects(fresh)
    found = _objects(raw)
    for key in sorted({**made, **found}):
        if made.get(key) != found.get(key):
            what = "lacks" if key not in found else "has a changed" if key in made else "holds a foreign"
            raise OperatorError(f"database {path} {what} {' '.join(key)[:80]!r}: it is not what its migrations make")


def _objects(raw: sqlite3.Connection) -> dict[tuple[str, str], tuple[object, ...]]:
    """Return tables, indexes, triggers and views by kind and name."""
    # SQLite keeps the blanks before a statement's semicolon.
    rows = raw.execute("SELECT type, name, tbl_name, rtrim(sql, char(9, 10, 13, 32)) FROM sqlite_schema").fetchall()
    return {(str(row[0]), str(row[1])): row for row in rows if row not in _STATISTICS}


def _apply(raw: sqlite3.Connection, migration: Migration, now: int) -> None:
    try:
        # No script ends the transaction or leaves the file: a test looks at all of them.
        raw.executescript(f"BEGIN IMMEDIATE; {_CREATE}; {migration.script}\n;")
        broken = raw.execute("PRAGMA foreign_key_check").fetchone()
        if broken is not None:
            raise OperatorError(f"migration {migration.file_name} leaves broken references in table {broken[0]}")
        raw.execute(
            "INSERT INTO schema_migrations (version, name, checksum, applied_at) VALUES (?, ?, ?, ?)",
            (migration.version, migration.name, migration.checksum, now),
        )
        raw.execute("COMMIT")
    except sqlite3.Error as error:
        if not raw.in_transaction:  # It never began, or the engine gave it up: the disk is full, another has it locked.
            raise
        raise OperatorError(f"migration {migration.file_name} failed: {error}") from error
    finally:
        if raw.in_transaction:
            raw.execute("ROLLBACK")
