import hashlib
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Sequence
from contextlib import closing, suppress
from pathlib import Path

import pytest

from shortener.errors import OperatorError
from shortener.storage.sqlite.migrate import Migration, load_migrations, migrate, migrations_folder, pending
from tests.support.fakes import FakeClock

ROOT = Path(__file__).parents[3]
NOW = 1_800_000_000


def a_migration(version: int, script: str, name: str = "step") -> Migration:
    return Migration(version, name, script, hashlib.sha256(script.encode()).hexdigest())


STEPS = [
    a_migration(1, "CREATE TABLE a (x INTEGER) STRICT; -- first; with a comment\nINSERT INTO a VALUES (1);"),
    a_migration(2, "CREATE TABLE b (text TEXT) STRICT;\nINSERT INTO b VALUES ('one; two'), ('''');\n/* done; */\n"),
    a_migration(3, "CREATE TRIGGER t AFTER INSERT ON a BEGIN INSERT INTO b VALUES ('t'); SELECT 1; END;\nDROP TABLE a"),
]


def apply(path: Path, migrations: Sequence[Migration]) -> list[int]:
    heard: list[Migration] = []
    applied = migrate(path, migrations, busy_timeout_seconds=0.05, clock=FakeClock(NOW), on_applied=heard.append)
    assert heard == applied
    return [migration.version for migration in applied]


def missing(path: Path, migrations: Sequence[Migration]) -> list[int]:
    return [migration.version for migration in pending(path, migrations, busy_timeout_seconds=0.05)]


def rows(path: Path, statement: str) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(statement).fetchall()


def schema(path: Path) -> list[tuple[object, ...]]:
    return rows(path, "SELECT type, name, sql FROM sqlite_schema ORDER BY name")


def refusal(path: Path, migrations: Sequence[Migration]) -> str:
    """Try to migrate, make sure that nothing changed and that `pending` says the same, and return the message."""
    before = rows(path, "SELECT name FROM sqlite_schema"), rows(path, "PRAGMA journal_mode")
    with pytest.raises(OperatorError) as caught:
        apply(path, migrations)
    with pytest.raises(OperatorError) as seen:
        missing(path, migrations)
    assert str(caught.value) == str(seen.value)
    assert (rows(path, "SELECT name FROM sqlite_schema"), rows(path, "PRAGMA journal_mode")) == before
    return str(caught.value)


def test_an_empty_database_gets_every_migration_once(tmp_path: Path) -> None:
    path = tmp_path / "test.db"
    assert missing(path, STEPS) == [1, 2, 3]
    assert not path.exists()
    assert apply(path, STEPS) == [1, 2, 3]
    assert (missing(path, STEPS), apply(path, STEPS)) == ([], [])
    assert rows(path, "SELECT text FROM b") == [("one; two",), ("'",)]
    assert rows(path, "SELECT * FROM schema_migrations") == [
        (step.version, "step", step.checksum, NOW) for step in STEPS
    ]
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("done", [0, 1, 2])
def test_a_database_at_any_step_gets_what_it_lacks(tmp_path: Path, done: int) -> None:
    whole, stepwise = tmp_path / "whole.db", tmp_path / "stepwise.db"
    apply(whole, STEPS)
    apply(stepwise, STEPS[:done])
    assert missing(stepwise, STEPS) == [1, 2, 3][done:]
    assert apply(stepwise, STEPS) == [1, 2, 3][done:]
    assert schema(stepwise) == schema(whole)


def test_the_migrations_of_the_program_apply_and_make_strict_tables(tmp_path: Path) -> None:
    path = tmp_path / "test.db"
    migrations = load_migrations()
    assert apply(path, migrations) == list(range(1, len(migrations) + 1))
    tables = rows(path, "SELECT name, strict FROM pragma_table_list WHERE type = 'table' AND name NOT LIKE 'sqlite_%'")
    assert {name for name, strict in tables if not strict} == set()
    assert {"links", "accounts", "clicks", "schema_migrations"} <= {name for name, _ in tables}


def test_a_failing_migration_leaves_those_before_it_and_nothing_of_itself(tmp_path: Path) -> None:
    path = tmp_path / "test.db"
    bad = a_migration(2, "CREATE TABLE c (x INTEGER); INSERT INTO nowhere VALUES (1);")
    with pytest.raises(OperatorError) as caught:
        apply(path, [STEPS[0], bad])
    assert str(caught.value) == "migration 0002_step.sql failed: no such table: nowhere"
    assert missing(path, STEPS) == [2, 3]
    assert rows(path, "SELECT name FROM sqlite_schema WHERE name = 'c'") == []


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("CREATE TABLE c (x INTEGER); SELECT * FROM nowhere;", "failed: no such table: nowhere"),
        ("CREATE TABLE c (x INTEGER", """failed: near ";": syntax error"""),
        ("SELECT 'open;", """failed: unrecognized token: "'open;\n;\""""),
        (
            "CREATE TABLE p (id INTEGER PRIMARY KEY); CREATE TABLE c (p REFERENCES p (id)); INSERT INTO c VALUES (1);",
            "leaves broken references in table c",
        ),
    ],
)
def test_a_migration_that_fails_leaves_nothing_of_itself(tmp_path: Path, script: str, message: str) -> None:
    path = tmp_path / "test.db"
    with pytest.raises(OperatorError) as caught:
        apply(path, [a_migration(1, script)])
    assert str(caught.value) == f"migration 0001_step.sql {message}"
    assert schema(path) == []


LEAVING = (sqlite3.SQLITE_TRANSACTION, sqlite3.SQLITE_SAVEPOINT, sqlite3.SQLITE_ATTACH, sqlite3.SQLITE_DETACH)
"""What ends a transaction or works on another file; VACUUM attaches one."""


def stays_in_its_transaction(raw: sqlite3.Connection, script: str) -> bool:
    refused: list[int] = []

    def authorize(action: int, *_: object) -> int:
        refused.extend([action] * (action in LEAVING))
        return sqlite3.SQLITE_DENY if action in LEAVING else sqlite3.SQLITE_OK

    raw.set_authorizer(authorize)
    with suppress(sqlite3.DatabaseError):
        raw.executescript(script)
    return not refused


def test_no_migration_of_the_program_leaves_its_transaction() -> None:
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as raw:
        for migration in load_migrations():
            assert stays_in_its_transaction(raw, migration.script), migration.file_name
        assert raw.execute("SELECT count(*) FROM links").fetchone() == (0,)


@pytest.mark.parametrize("script", ["SELECT 1; COMMIT;", "SAVEPOINT s;", "ATTACH 'x.db' AS x;", "VACUUM;", "BEGIN"])
def test_a_script_that_leaves_its_transaction_is_known(script: str) -> None:
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as raw:
        assert not stays_in_its_transaction(raw, script)


@pytest.mark.parametrize(
    ("statement", "message"),
    [
        ("CREATE TRIGGER evil AFTER INSERT ON b BEGIN DELETE FROM b; END", "holds a foreign 'trigger evil'"),
        ("CREATE VIEW v AS SELECT 1", "holds a foreign 'view v'"),
        ("CREATE TABLE c (x)", "holds a foreign 'table c'"),
        ("CREATE INDEX i ON b (text)", "holds a foreign 'index i'"),
        ('CREATE TABLE "c\nd" (x)', "holds a foreign 'table c\\nd'"),
        ("DROP TRIGGER t", "lacks 'trigger t'"),
        ("ALTER TABLE b ADD COLUMN more TEXT", "has a changed 'table b'"),
        ("DROP TABLE b", "lacks 'table b'"),
    ],
)
def test_a_schema_that_the_migrations_do_not_make_is_refused(tmp_path: Path, statement: str, message: str) -> None:
    path = tmp_path / "test.db"
    steps = [
        *STEPS[:1],
        a_migration(2, STEPS[1].script),
        a_migration(3, "CREATE TRIGGER t AFTER INSERT ON a BEGIN INSERT INTO b VALUES ('t'); END;"),
    ]
    apply(path, steps)
    rows(path, "ANALYZE")
    assert apply(path, steps) == []
    rows(path, statement)
    assert refusal(path, steps) == f"database {path} {message}: it is not what its migrations make"


def test_a_newer_database_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "test.db"
    apply(path, STEPS)
    assert refusal(path, STEPS[:2]) == (
        f"database {path} is newer than this program: its schema is 0003, the newest known here is 0002"
    )


def test_an_edited_migration_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "test.db"
    apply(path, STEPS[:2])
    edited = [STEPS[0], a_migration(2, STEPS[1].script + " "), STEPS[2]]
    assert refusal(path, edited) == f"migration 0002_step.sql was edited after it was applied to {path}"


def test_a_renamed_migration_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "test.db"
    apply(path, STEPS[:2])
    renamed = [STEPS[0], a_migration(2, STEPS[1].script, "other"), STEPS[2]]
    assert refusal(path, renamed) == f"migration 0002_other.sql was applied to {path} as 0002_step.sql"


def test_a_gap_in_what_was_applied_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "test.db"
    apply(path, STEPS)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("DELETE FROM schema_migrations WHERE version = 2")
    assert refusal(path, STEPS) == f"database {path} lacks migration 0002_step.sql but has a later one"


def test_the_database_of_another_program_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "test.db"
    rows(path, "CREATE TABLE recipes (title TEXT)")
    assert refusal(path, STEPS) == (
        f"database {path} belongs to another program: it has tables but no schema_migrations"
    )


def test_a_file_that_is_no_database_is_one_clear_line(tmp_path: Path) -> None:
    path = tmp_path / "test.db"
    path.write_text("not a database at all" * 100)
    with pytest.raises(OperatorError) as caught:
        apply(path, STEPS)
    assert str(caught.value) == f"cannot use database {path}: it is not an SQLite database"


def test_a_locked_database_is_one_clear_line(tmp_path: Path) -> None:
    path = tmp_path / "test.db"
    apply(path, STEPS[:1])
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(OperatorError) as caught:
            apply(path, STEPS)
    assert str(caught.value) == f"cannot use database {path}: another process has it locked"
    assert apply(path, STEPS) == [2, 3]


KILLED = """
import os, pathlib, signal, sys
from shortener.storage.sqlite import migrate as runner
from tests.storage.sqlite.test_migrate import STEPS, apply
steps, statement = 0, int(sys.argv[2])
connect = runner.connect
def counting(*args):
    raw = connect(*args)
    def trace(text):
        global steps
        steps += 1
        if steps == statement:
            os.kill(os.getpid(), signal.SIGKILL)
    raw.set_trace_callback(trace)
    return raw
runner.connect = counting
apply(pathlib.Path(sys.argv[1]), STEPS)
"""


@pytest.mark.parametrize("statement", [4, 7, 9, 12, 15, 17, 20])
def test_a_process_killed_while_it_migrates_leaves_each_migration_whole_or_not_begun(
    tmp_path: Path, statement: int
) -> None:
    whole, killed = tmp_path / "whole.db", tmp_path / "killed.db"
    apply(whole, STEPS)
    done = subprocess.run([sys.executable, "-c", KILLED, str(killed), str(statement)], cwd=ROOT, check=False)
    assert done.returncode == -9
    recorded = len(rows(killed, "SELECT * FROM sqlite_schema")) and len(rows(killed, "SELECT * FROM schema_migrations"))
    assert missing(killed, STEPS) == [1, 2, 3][recorded:]
    stepwise = tmp_path / "stepwise.db"
    apply(stepwise, STEPS[:recorded])
    assert schema(killed) == (schema(stepwise) if recorded else [])
    apply(killed, STEPS)
    assert schema(killed) == schema(whole)


def test_files_are_read_in_order_with_their_checksums(tmp_path: Path) -> None:
    (tmp_path / "0002_two.sql").write_text("SELECT 2;\n")
    (tmp_path / "0001_one.sql").write_text("SELECT 'ü';\n")
    (tmp_path / ".hidden").write_text("")
    assert load_migrations(tmp_path) == [
        a_migration(1, "SELECT 'ü';\n", "one"),
        a_migration(2, "SELECT 2;\n", "two"),
    ]
    assert load_migrations(tmp_path)[1].file_name == "0002_two.sql"


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("0003_three.sql", b"", "migration 0002 is missing: the next one is 0003_three.sql"),
        ("0001_also.sql", b"", "migration 0002 is missing: the next one is 0001_one.sql"),
        ("2_two.sql", b"", "{folder}/2_two.sql is not a migration: names are like 0001_links.sql"),
        ("0002_Two.sql", b"", "{folder}/0002_Two.sql is not a migration: names are like 0001_links.sql"),
        ("notes.txt", b"", "{folder}/notes.txt is not a migration: names are like 0001_links.sql"),
        ("0002_two.sql", b"SELECT '\xff';", "migration 0002_two.sql is not UTF-8 text"),
    ],
)
def test_bad_files_are_refused_with_one_clear_line(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / "0001_one.sql").write_text("SELECT 1;")
    (tmp_path / name).write_bytes(content)
    with pytest.raises(OperatorError) as caught:
        load_migrations(tmp_path)
    assert str(caught.value) == message.format(folder=tmp_path)


def test_a_missing_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(OperatorError) as caught:
        load_migrations(tmp_path / "none")
    assert str(caught.value) == f"cannot read migrations from {tmp_path}/none: No such file or directory"


def test_an_installed_package_brings_its_own_migrations(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "shortener"
    shutil.copytree(ROOT / "migrations", package / "_migrations")
    monkeypatch.setattr("shortener.storage.sqlite.migrate.__file__", str(package / "storage" / "sqlite" / "migrate.py"))
    assert migrations_folder() == package / "_migrations" / "sqlite"
    monkeypatch.undo()
    assert migrations_folder() == ROOT / "migrations" / "sqlite"
