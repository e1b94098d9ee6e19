import json
import os
import shutil
import sqlite3
import stat
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from shortener.backup import files as files_of_backups
from shortener.backup import manifest
from shortener.backup import restore as restoring
from shortener.backup.backup import back_up
from shortener.backup.manifest import Manifest
from shortener.backup.restore import restore
from shortener.backup.verify import Verified, verify
from shortener.errors import OperatorError
from shortener.storage.data_dir import lock_data_dir
from tests.backup.conftest import CLICKS, LINKS, WAITING

GOOD = {"size": 1, "sha256": "0" * 64}
WELL = Verified(LINKS, 0, CLICKS, WAITING, [])


def silent(done: int, total: int) -> None:
    assert done <= total + (1 << 20)


def verified(directory: Path) -> Verified:
    return verify(directory, has_own_secret=True, progress=silent)


def content(directory: Path) -> list[str]:
    with closing(sqlite3.connect(f"file:{directory}/shortener.db?mode=ro", uri=True)) as raw:
        return list(raw.iterdump())


def files(directory: Path) -> dict[str, bytes]:
    """All that is no database and nobody's lock."""
    paths = (path for path in directory.rglob("*") if path.is_file())
    return {
        str(path.relative_to(directory)): path.read_bytes()
        for path in paths
        if not path.name.startswith(("shortener.db", "lock", "manifest.json"))
    }


def modes(directory: Path) -> set[tuple[bool, int]]:
    return {(path.is_dir(), stat.S_IMODE(path.stat().st_mode)) for path in [directory, *directory.rglob("*")]}


@pytest.fixture
def kept(data_dir: Path, tmp_path: Path) -> Path:
    """A backup."""
    back_up(data_dir, tmp_path / "backup", silent)
    return tmp_path / "backup"


def test_what_is_backed_up_and_restored_is_what_was_there(data_dir: Path, tmp_path: Path) -> None:
    heard: list[tuple[int, int]] = []
    os.umask(os.umask(0))
    made = back_up(data_dir, tmp_path / "kept" / "monday", lambda done, total: heard.append((done, total)))
    assert heard[-1][0] == heard[-1][1] > 0
    backup, copy = tmp_path / "kept" / "monday", tmp_path / "copy"
    assert [path.name for path in backup.parent.iterdir()] == ["monday"]
    keys = {"secret", "visitor.key", "idempotency.key"}
    assert set(made.files) == {"shortener.db", *keys, "journal/clicks-000000000001.journal"}
    assert verified(backup) == WELL
    heard.clear()
    restore(backup, copy, force=False, progress=lambda done, total: heard.append((done, total)))
    assert heard[-1] == (made.size, made.size)
    assert sorted(path.name for path in copy.iterdir()) == [
        "idempotency.key",
        "journal",
        "lock",
        "secret",
        "shortener.db",
        "visitor.key",
    ]
    assert (content(copy), files(copy), verified(copy)) == (content(data_dir), files(data_dir), WELL)
    assert modes(backup) | modes(copy) == {(True, 0o700), (False, 0o600)}


def test_a_backup_is_of_one_moment_though_the_owner_writes(data_dir: Path, tmp_path: Path) -> None:
    """The copy is made in steps; a write between two of them is not in it, and does not make it begin anew."""
    with closing(sqlite3.connect(data_dir / "shortener.db")) as owner:
        before = content(data_dir)

        def write(done: int, total: int) -> None:
            owner.execute("UPDATE links SET clicks = clicks + 1, destination = destination || ?", ("x" * 5000,))
            owner.commit()
            steps.append(done)

        steps: list[int] = []
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("shortener.storage.sqlite.snapshot._PAGES", 8)
            back_up(data_dir, tmp_path / "backup", write)
    assert len(steps) > 5
    assert steps == sorted(steps)
    assert (content(tmp_path / "backup"), verified(tmp_path / "backup")) == (before, WELL)
    assert verified(data_dir).findings != []


def test_what_the_database_has_by_now_is_not_copied_from_the_journal(data_dir: Path, tmp_path: Path) -> None:
    segment = data_dir / "journal" / "clicks-000000000001.journal"
    with closing(sqlite3.connect(data_dir / "shortener.db")) as raw:
        raw.execute("INSERT INTO journal_position VALUES (1, 1, ?)", (segment.stat().st_size,))
        raw.commit()
    shutil.copy(segment, data_dir / "journal" / "clicks-000000000000.journal")
    back_up(data_dir, tmp_path / "backup", silent)
    assert list((tmp_path / "backup" / "journal").iterdir()) == []


def test_half_a_record_at_the_growing_end_is_not_copied(data_dir: Path, tmp_path: Path) -> None:
    segment = data_dir / "journal" / "clicks-000000000001.journal"
    whole = segment.read_bytes()
    segment.write_bytes(whole + whole[:20])
    back_up(data_dir, tmp_path / "backup", silent)
    assert (tmp_path / "backup" / "journal" / segment.name).read_bytes() == whole


def test_where_a_backup_cannot_go(data_dir: Path, tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x").touch()
    for target, line in [
        (tmp_path / "full", f"{tmp_path}/full is not empty: give each backup a directory of its own"),
        (tmp_path / "full" / "x", f"cannot use {tmp_path}/full/x: Not a directory"),
        (tmp_path / "full" / "x" / "y", f"cannot write backup {tmp_path}/full/x/y: File exists"),
        (data_dir / "b", f"{data_dir}/b lies in the data directory {data_dir}: a backup belongs somewhere else"),
    ]:
        with pytest.raises(OperatorError) as caught:
            back_up(data_dir, target, silent)
        assert str(caught.value) == line
    with pytest.raises(OperatorError, match="holds no database"):
        back_up(tmp_path / "full", tmp_path / "b", silent)


def damage(file: Path, at: int) -> None:
    with file.open("r+b") as opened:
        opened.seek(at)
        opened.write(b"\xff" * 200)


def test_a_damaged_database_does_not_become_a_backup(data_dir: Path, tmp_path: Path) -> None:
    damage(data_dir / "shortener.db", 4096 * 5)
    with pytest.raises(OperatorError, match="damaged"):
        back_up(data_dir, tmp_path / "backup", silent)
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


def test_a_used_directory_is_replaced_by_force_alone_and_never_under_a_server(data_dir: Path, tmp_path: Path) -> None:
    backup = tmp_path / "backup"
    back_up(data_dir, backup, silent)
    shutil.copy(data_dir / "secret", data_dir / "journal" / "clicks-000000000007.journal")
    (data_dir / "mine.mmdb").write_bytes(b"kept")
    with closing(sqlite3.connect(data_dir / "shortener.db")) as raw:
        raw.execute("DELETE FROM links")
        raw.commit()
    with pytest.raises(OperatorError) as caught:
        restore(backup, data_dir, force=False, progress=silent)
    assert str(caught.value).startswith(f"data directory {data_dir} holds data already")
    with lock_data_dir(data_dir), pytest.raises(OperatorError, match="is in use by process"):
        restore(backup, data_dir, force=True, progress=silent)
    assert verified(data_dir).links == 0
    restore(backup, data_dir, force=True, progress=silent)
    assert verified(data_dir) == WELL
    assert files(data_dir) == {**files(backup), "mine.mmdb": b"kept"}


@pytest.mark.parametrize("name", ["shortener.db", "secret", "journal/clicks-000000000001.journal"])
def test_a_backup_that_was_changed_is_refused_before_anything_is_touched(
    data_dir: Path, tmp_path: Path, name: str
) -> None:
    back_up(data_dir, tmp_path / "backup", silent)
    damage(tmp_path / "backup" / name, 10)
    assert verified(tmp_path / "backup").findings[0] == (
        f"{tmp_path}/backup/{name} is not what was backed up: its checksum differs"
    )
    before = content(data_dir), files(data_dir)
    with pytest.raises(OperatorError, match="its checksum differs"):
        restore(tmp_path / "backup", data_dir, force=True, progress=silent)
    assert (content(data_dir), files(data_dir)) == before
    (tmp_path / "backup" / name).unlink()
    with pytest.raises(OperatorError, match=r"is missing: the backup cannot be used"):
        restore(tmp_path / "backup", data_dir, force=True, progress=silent)


LONG = 10**400


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"format": 2}, "{path} is of another version of shortener"),
        ({"schema": 9998}, "{backup} is of a newer shortener: its schema is 9998, known is {known}"),
        ({"schema": 1}, "{path} is damaged: the schema is {known}, not 0001"),
        (
            {"files": {"shortener.db": {"size": 1, "sha256": "0" * 64}}},
            "{backup}/shortener.db is not what was backed up: ",
        ),
        *(
            (change, "{path} is damaged")
            for change in (
                *({"format": value} for value in (True, 1.0, "1", None, -1, LONG)),
                *({"created_at": value} for value in (1e999, -1, 1.5, True, "1", None, [], LONG, 10**15)),
                *({"schema": value} for value in (-5, 10_000, 1e999, False, "1", None, {}, LONG)),
                *({"files": value} for value in ([], {}, None, "shortener.db", {"secret": GOOD})),
                *(
                    {"files": {"shortener.db": GOOD, name: GOOD}}
                    for name in (
                        "../x",
                        "journal/../../x",
                        "/etc/passwd",
                        "journal",
                        "journal/",
                        "",
                        "manifest.json",
                        "lock",
                    )
                ),
                *(
                    {"files": {"shortener.db": entry}}
                    for entry in (
                        {"size": -1, "sha256": "0" * 64},
                        {"size": 1e999, "sha256": "0" * 64},
                        {"size": True, "sha256": "0" * 64},
                        {"size": LONG, "sha256": "0" * 64},
                        {"size": 1, "sha256": "0" * 63},
                        {"size": 1, "sha256": "Z" * 64},
                        {"size": 1, "sha256": 5},
                        {"size": 1},
                        [1, "0" * 64],
                        None,
                    )
                ),
            )
        ),
    ],
)
def test_a_list_that_cannot_be_trusted_is_refused(
    kept: Path, tmp_path: Path, change: dict[str, object], line: str
) -> None:
    path = kept / "manifest.json"
    text = json.dumps(json.loads(path.read_text()) | change)
    path.write_text(text.replace("Infinity", "1e999"))
    known = len(list((Path(__file__).parents[2] / "migrations" / "sqlite").iterdir()))
    with pytest.raises(OperatorError) as caught:
        restore(kept, tmp_path / "copy", force=False, progress=silent)
    assert str(caught.value).startswith(line.format(path=path, backup=kept, known=f"{known:04}"))
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "copy" / "shortener.db").exists()


@pytest.mark.parametrize(
    "text", ["", "[]", "5", "{", "[" * 100_000, '{"format": 1, "format": 1}', "\ud800", "NaN", '{"format": 1}']
)
def test_a_list_that_is_no_list_is_refused(kept: Path, tmp_path: Path, text: str) -> None:
    (kept / "manifest.json").write_bytes(text.encode("utf-8", "surrogatepass"))
    with pytest.raises(OperatorError) as caught:
        restore(kept, tmp_path / "copy", force=False, progress=silent)
    assert str(caught.value) == f"{kept}/manifest.json is damaged"


def replace_by_pipe(path: Path) -> None:
    os.mkfifo(path)


def replace_by_endless_device(path: Path) -> None:
    path.symlink_to("/dev/zero")


def replace_by_link(path: Path) -> None:
    path.symlink_to(path.with_name(f"{path.name}.elsewhere"))


def replace_by_directory(path: Path) -> None:
    path.mkdir()


@pytest.mark.parametrize("name", ["shortener.db", "secret", "journal/clicks-000000000001.journal", "manifest.json"])
@pytest.mark.parametrize("put", [replace_by_pipe, replace_by_endless_device, replace_by_link, replace_by_directory])
def test_only_plain_files_are_restored(kept: Path, tmp_path: Path, name: str, put: Callable[[Path], None]) -> None:
    path = kept / name
    path.rename(path.with_name(f"{path.name}.elsewhere"))
    put(path)
    with pytest.raises(OperatorError) as caught:
        restore(kept, tmp_path / "copy", force=False, progress=silent)
    verb = "read" if name == "manifest.json" else "use"
    assert str(caught.value) == f"cannot {verb} {path}: it is not a plain file"
    assert not (tmp_path / "copy" / "shortener.db").exists()


def test_a_journal_that_is_a_link_is_refused(kept: Path, tmp_path: Path) -> None:
    (kept / "journal").rename(tmp_path / "elsewhere")
    (kept / "journal").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OperatorError) as caught:
        restore(kept, tmp_path / "copy", force=False, progress=silent)
    assert str(caught.value) == f"cannot use {kept}/journal: it is a link, not a directory"


def test_of_a_file_that_is_too_long_no_more_is_copied_than_was_backed_up(kept: Path, tmp_path: Path) -> None:
    with (kept / "secret").open("r+b") as file:
        file.truncate(1 << 40)
    done: list[int] = []
    with pytest.raises(OperatorError, match="its checksum differs"):
        restore(kept, tmp_path / "copy", force=False, progress=lambda size, total: done.append(size))
    assert done[-1] < 10 << 20
    assert verified(kept).findings == [f"{kept}/secret is not what was backed up: its checksum differs"]


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE TRIGGER evil AFTER INSERT ON links BEGIN UPDATE links SET destination = 'https://evil.example/'; END",
        "CREATE VIEW v AS SELECT * FROM accounts",
        "DROP TRIGGER links_forgotten",
        "ALTER TABLE links ADD COLUMN more TEXT",
    ],
)
def test_a_schema_that_no_migration_makes_is_refused_though_all_checksums_are_right(
    kept: Path, tmp_path: Path, statement: str
) -> None:
    with closing(sqlite3.connect(kept / "shortener.db")) as raw:
        raw.execute("PRAGMA journal_mode = DELETE")
        raw.execute(statement)
    listed = manifest.read(kept)
    (kept / "manifest.json").unlink()
    sums = {name: files_of_backups.checksum(kept / name) for name in listed.files}
    manifest.write(kept, Manifest(listed.created_at, listed.schema, sums))
    with pytest.raises(OperatorError, match="it is not what its migrations make") as caught:
        restore(kept, tmp_path / "copy", force=False, progress=silent)
    assert str(caught.value).startswith(f"database {kept}/shortener.db ")
    assert [path.name for path in (tmp_path / "copy").iterdir()] == ["lock"]
    assert verified(kept).findings == [str(caught.value)]


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to give files away")
@pytest.mark.parametrize("is_new", [False, True])
def test_what_root_restores_belongs_to_the_directorys_owner(kept: Path, tmp_path: Path, is_new: bool) -> None:
    owner, group = 64_123, 64_124
    target = tmp_path / "theirs" / "data"
    (target.parent if is_new else target).mkdir(parents=True)
    os.chown(target.parent, owner, group)
    if not is_new:
        os.chown(target, owner, group)
    restore(kept, target, force=False, progress=silent)
    restore(kept, target, force=True, progress=silent)
    found = {path: (path.lstat().st_uid, path.lstat().st_gid) for path in [target, *target.rglob("*")]}
    assert found == dict.fromkeys(found, (owner, group))
    assert len(found) == 8
    with pytest.raises(OperatorError) as caught, lock_data_dir(target):
        pytest.fail("opened")
    assert str(caught.value) == f"cannot use data directory {target}: it belongs to user {owner}, and this is user 0"


def test_what_is_no_backup_is_refused(tmp_path: Path) -> None:
    with pytest.raises(OperatorError) as caught:
        restore(tmp_path, tmp_path / "copy", force=False, progress=silent)
    assert str(caught.value) == f"{tmp_path} is not a backup: it holds no manifest.json"


def test_a_restore_that_was_cut_short_keeps_a_server_away_until_it_is_done_again(
    data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    back_up(data_dir, tmp_path / "backup", silent)

    def fail(path: Path) -> None:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(restoring, "_remove", fail)
        with pytest.raises(OperatorError, match="Input/output error"):
            restore(tmp_path / "backup", data_dir, force=True, progress=silent)
    with pytest.raises(OperatorError) as caught, lock_data_dir(data_dir):
        pytest.fail("opened")
    line = f"data directory {data_dir} holds half a backup: run `shortener restore --force` again"
    assert str(caught.value) == line
    assert f"{data_dir} holds half a backup: run `shortener restore --force` again" in verified(data_dir).findings
    restore(tmp_path / "backup", data_dir, force=True, progress=silent)
    assert verified(data_dir) == WELL
    with lock_data_dir(data_dir):
        pass
