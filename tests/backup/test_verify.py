import os
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from shortener.backup.verify import Verified
from shortener.errors import OperatorError
from shortener.storage.sqlite.migrate import load_migrations, migrate
from tests.backup.conftest import CLICKS, LINKS, NOW, WAITING
from tests.backup.test_backup import WELL, verified


def change(data_dir: Path, *statements: str) -> None:
    with closing(sqlite3.connect(data_dir / "shortener.db")) as raw:
        for statement in statements:
            assert raw.execute(statement).rowcount != 0, statement
        raw.commit()


def one(data_dir: Path, query: str) -> object:
    with closing(sqlite3.connect(data_dir / "shortener.db")) as raw:
        return raw.execute(query).fetchone()[0]


def test_a_sound_directory_has_no_findings_and_is_not_changed(data_dir: Path) -> None:
    before = {path: path.read_bytes() for path in data_dir.rglob("*") if path.is_file()}
    assert verified(data_dir) == WELL
    assert {path: path.read_bytes() for path in before} == before


@pytest.mark.parametrize(
    ("statement", "finding"),
    [
        (
            "UPDATE links SET clicks = clicks + 1 WHERE id = {link}",
            "link {code}: its counter is {more}, the roll-ups of months by device add up to {clicks}",
        ),
        (
            "DELETE FROM clicks WHERE id = (SELECT min(id) FROM clicks WHERE link_id = {link})",
            "link {code}: the roll-ups of hours differ from the events at",
        ),
        (
            "UPDATE click_rollups SET clicks = clicks + 1 WHERE link_id = {link} AND span = 'd' AND dimension = 'city'",
            "link {code}: the roll-ups of days differ from the hours at",
        ),
        (
            "DELETE FROM click_rollups WHERE link_id = {link} AND span = 'm'",
            "link {code}: its counter is {clicks}, the roll-ups of months by country add up to 0",
        ),
        (
            "DELETE FROM visitor_sets WHERE link_id = {link} AND span = 'h'",
            "link {code}: the visitor sets of hours differ from the events at",
        ),
        (
            "UPDATE visitor_sets SET visitors = visitors + 1 WHERE link_id = {link} AND span = 'd'",
            "link {code}: the visitor set d ",
        ),
        ("UPDATE visitor_sets SET members = x'00' WHERE link_id = {link}", "link {code}: the visitor set h "),
        ("UPDATE click_rollups SET span = 'y' WHERE link_id = {link} AND span = 'm'", "link {code}: a roll-up has"),
        ("UPDATE clicks SET visitor_id = 99999 WHERE link_id = {link}", "{clicks} clicks have a visitor that does"),
        ("UPDATE clicks SET link_id = 99999 WHERE link_id = {link}", "clicks belong to link 99999, which never"),
        ("INSERT INTO journal_position VALUES (1, 1, 5)", "the journal position 1:5 is not between two clicks"),
        ("INSERT INTO journal_position VALUES (1, 9, 0)", "the journal position 9:0 lies behind the newest segment 1"),
        ("UPDATE schema_migrations SET checksum = 'x'", "migration 0001_links.sql was edited after it was applied to"),
        (
            "CREATE TRIGGER evil AFTER INSERT ON links BEGIN DELETE FROM accounts; END",
            "database {path} holds a foreign 'trigger evil': it is not what its migrations make",
        ),
        (
            "DROP INDEX links_by_owner",
            "database {path} lacks 'index links_by_owner': it is not",
        ),
    ],
)
def test_every_disagreement_is_found(data_dir: Path, statement: str, finding: str) -> None:
    link = one(data_dir, "SELECT id FROM links ORDER BY clicks DESC LIMIT 1")
    clicks = one(data_dir, "SELECT max(clicks) FROM links")
    assert isinstance(clicks, int)
    code = one(data_dir, f"SELECT short_code FROM links WHERE id = {link}")
    change(data_dir, statement.format(link=link))
    findings = verified(data_dir).findings
    expected = finding.format(code=code, clicks=clicks, more=clicks + 1, path=data_dir / "shortener.db")
    assert [line for line in findings if line.startswith(expected)], findings
    assert all("\n" not in line for line in findings)


def test_a_database_of_an_older_program_is_told_from_a_damaged_one(tmp_path: Path) -> None:
    older = load_migrations()[:-1]
    migrate(tmp_path / "shortener.db", older, busy_timeout_seconds=1, clock=lambda: NOW, on_applied=lambda done: None)
    tmp_path.chmod(0o700)
    assert verified(tmp_path).findings == ["the database needs 1 migrations: run `shortener migrate`, then verify"]


@pytest.mark.parametrize("name", ["secret", "visitor.key", "journal/clicks-000000000001.journal"])
def test_a_pipe_in_place_of_a_file_is_found_and_not_waited_for(data_dir: Path, name: str) -> None:
    (data_dir / name).unlink()
    os.mkfifo(data_dir / name, 0o600)
    assert verified(data_dir).findings == [f"{data_dir / name} cannot be read: it is not a plain file"]


def test_a_link_whose_alias_was_taken_again_may_leave_clicks(data_dir: Path) -> None:
    change(data_dir, "DELETE FROM links WHERE id = 1")
    assert verified(data_dir) == Verified(LINKS - 1, 0, CLICKS, WAITING, [])


def test_old_raw_clicks_may_be_gone_where_that_is_told(data_dir: Path) -> None:
    middle = one(data_dir, "SELECT clicked_at - clicked_at % 3600 FROM clicks ORDER BY clicked_at LIMIT 1 OFFSET 150")
    change(
        data_dir,
        f"DELETE FROM clicks WHERE clicked_at < {middle} AND id % 2",
        f"UPDATE click_retention SET removed_before = {middle}",
    )
    assert verified(data_dir).findings == []
    change(data_dir, f"DELETE FROM clicks WHERE clicked_at > {middle} AND id % 2")
    assert verified(data_dir).findings != []


def test_numbers_of_erased_links_go_part_by_part(data_dir: Path) -> None:
    change(data_dir, "INSERT INTO click_purges VALUES (1)", "DELETE FROM click_rollups WHERE link_id = 1")
    assert verified(data_dir).findings == []
    change(data_dir, "DELETE FROM click_purges")
    assert verified(data_dir).findings != []


def test_a_torn_record_in_the_journal_is_found(data_dir: Path) -> None:
    segment = data_dir / "journal" / "clicks-000000000001.journal"
    segment.write_bytes(segment.read_bytes()[:-7])
    [finding] = verified(data_dir).findings
    assert finding.startswith("journal segment 1: the last ")


@pytest.mark.parametrize("name", ["", "shortener.db", "secret", "visitor.key", "idempotency.key", "journal"])
def test_what_others_can_read_is_found(data_dir: Path, name: str) -> None:
    path = data_dir / name
    was = path.stat().st_mode & 0o777
    path.chmod(was | 0o040)
    assert verified(data_dir).findings == [f"{path} can be used by others: its mode is {was | 0o40:04o}, not {was:04o}"]


@pytest.mark.parametrize("name", ["secret", "visitor.key"])
@pytest.mark.parametrize(
    ("spoil", "finding"),
    [(Path.unlink, "{path} is missing: restore it from a backup"), (lambda path: path.write_bytes(b"x"), "{path}")],
)
def test_keys_that_cannot_be_used_are_found(
    data_dir: Path, name: str, spoil: Callable[[Path], object], finding: str
) -> None:
    path = data_dir / name
    spoil(path)
    [line] = verified(data_dir).findings
    assert finding.format(path=path) in line


def test_damaged_pages_are_found_and_end_nothing(data_dir: Path) -> None:
    size = (data_dir / "shortener.db").stat().st_size
    for page in range(1, size // 4096, 4):
        shutil.copy(data_dir / "shortener.db", data_dir.parent / "whole.db")
        with (data_dir / "shortener.db").open("r+b") as file:
            file.seek(page * 4096)
            file.write(b"\xff" * 4096)
        assert [line for line in verified(data_dir).findings if "damaged" in line], page
        shutil.copy(data_dir.parent / "whole.db", data_dir / "shortener.db")


def test_there_must_be_something_to_verify(tmp_path: Path) -> None:
    with pytest.raises(OperatorError) as caught:
        verified(tmp_path)
    assert str(caught.value) == f"{tmp_path} holds no database"
