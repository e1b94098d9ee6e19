"""Nothing that was deleted is left in any file after a compaction, and nothing else is lost, whatever happens."""

import os
import random
import resource
import shutil
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from shortener.backup.compact import compact
from shortener.errors import OperatorError
from shortener.storage.data_dir import lock_data_dir
from tests.backup.conftest import LINKS
from tests.backup.test_backup import WELL, content, damage, silent, verified
from tests.support import fault_injection

ROOT = Path(__file__).parents[2]
STILL_WELL = replace(WELL, links=LINKS + 1500)
SECRET = b"secret-of-somebody"
MAKE = """INSERT INTO links (short_code, destination, owner_id, created_at, updated_at, expires_at, is_alias)
    VALUES (?, ?, ?, 1, 1, 0, 0)"""
GROW = "UPDATE links SET destination = destination || '/more' WHERE id = ?"


def churn(data_dir: Path) -> None:
    """Make links of two people and let them grow, so that they move and leave copies; then forget one's."""
    dice = random.Random(1)
    with closing(sqlite3.connect(data_dir / "shortener.db")) as raw:
        raw.execute("PRAGMA secure_delete = ON")
        for number in range(3000):
            owner = ("somebody", "other")[number % 2]
            length = dice.choice((0, 50, 200, 3000 * (number % 50 == 0)))
            code = f"{dice.getrandbits(40):x}-secret-of-{owner}"
            raw.execute(MAKE, (code, f"https://example.com/secret-of-{owner}/{'-' * length}", owner))
        for _ in range(6000):
            raw.execute(GROW, (dice.randint(LINKS + 1, LINKS + 3000),))
        raw.execute("DELETE FROM links WHERE owner_id = 'somebody'")
        raw.execute("DELETE FROM click_purges")
        raw.commit()


def rows(data_dir: Path) -> list[str]:
    """All that is in the database. Tables and indexes come in another order from a compaction."""
    return sorted(content(data_dir))


def bytes_of(data_dir: Path) -> bytes:
    return b"".join(file.read_bytes() for file in data_dir.rglob("*") if file.is_file())


def names(data_dir: Path) -> list[str]:
    return sorted(path.name for path in data_dir.iterdir())


def test_nothing_is_left_and_nothing_else_is_lost(data_dir: Path) -> None:
    churn(data_dir)
    before, size = rows(data_dir), (data_dir / "shortener.db").stat().st_size
    assert SECRET in bytes_of(data_dir)
    heard: list[tuple[int, int]] = []
    assert compact(data_dir, lambda done, total: heard.append((done, total)))[0] == size
    assert SECRET not in bytes_of(data_dir)
    assert (rows(data_dir), verified(data_dir)) == (before, STILL_WELL)
    assert (data_dir / "shortener.db").stat().st_size < size
    assert heard == sorted(heard)
    assert heard[-1] == (size, size)
    assert names(data_dir) == ["idempotency.key", "journal", "lock", "secret", "shortener.db", "visitor.key"]
    assert (data_dir / "shortener.db").stat().st_mode & 0o777 == 0o600


KILLED = """
import os, signal, sys
from pathlib import Path
from shortener.backup import compact as module
calls, at = 0, int(sys.argv[2])
def step(*args):
    global calls
    calls += 1
    if calls == at:
        os.kill(os.getpid(), signal.SIGKILL)
replace, sync, make = os.replace, module.sync_directory, module.make_private_file
def replacing(*args):
    step(); replace(*args); step()
def making(path):
    make(path); step()
os.replace, module.make_private_file, module._INSTRUCTIONS = replacing, making, 500
print(module.compact(Path(sys.argv[1]), step), calls, flush=True)
"""


def test_a_process_that_is_killed_leaves_the_old_database_or_the_new_one(data_dir: Path) -> None:
    churn(data_dir)
    before, at, outcomes = rows(data_dir), 1, []
    while True:
        command = [sys.executable, "-c", KILLED, str(data_dir), str(at)]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
        outcomes.append(done.returncode)
        assert rows(data_dir) == before
        with lock_data_dir(data_dir):
            assert "shortener.db.compacted" not in names(data_dir)
        if done.returncode == 0:
            break
        assert done.returncode == -signal.SIGKILL, done.stderr
        at += max(1, at // 3)
    assert len(outcomes) > 4
    assert verified(data_dir) == STILL_WELL
    assert SECRET not in bytes_of(data_dir)


def test_a_full_disk_leaves_everything_as_it_was(data_dir: Path) -> None:
    churn(data_dir)
    before = rows(data_dir)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
    try:
        with pytest.raises(OperatorError) as caught:
            compact(data_dir, silent)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert str(caught.value) == f"cannot use database {data_dir}/shortener.db: disk I/O error"
    assert (rows(data_dir), verified(data_dir)) == (before, STILL_WELL)
    assert "shortener.db.compacted" not in names(data_dir)


def test_a_disk_without_room_is_one_clear_line(data_dir: Path, tmp_path: Path) -> None:
    fault_injection.need(root=True)
    churn(data_dir)
    size = sum(path.stat().st_size for path in data_dir.rglob("*") if path.is_file()) + 150_000
    with fault_injection.small_disk(tmp_path, size) as disk:
        copy = Path(shutil.copytree(data_dir, disk / "copy"))
        before = rows(copy)
        with pytest.raises(OperatorError) as caught:
            compact(copy, silent)
        assert str(caught.value) == f"cannot use database {copy}/shortener.db: the disk is full"
        assert (rows(copy), verified(copy)) == (before, STILL_WELL)


def test_it_is_refused_while_the_database_is_in_use(data_dir: Path) -> None:
    with lock_data_dir(data_dir), pytest.raises(OperatorError) as caught:
        compact(data_dir, silent)
    assert str(caught.value) == f"data directory {data_dir} is in use by process {os.getpid()}"
    with closing(sqlite3.connect(data_dir / "shortener.db", isolation_level=None)) as reader:
        reader.execute("BEGIN")
        assert reader.execute("SELECT count(*) FROM links").fetchone() == (LINKS,)
        with pytest.raises(OperatorError) as caught:
            compact(data_dir, silent)
    assert str(caught.value) == f"cannot use database {data_dir}/shortener.db: another process has it locked"
    assert verified(data_dir) == WELL


def test_what_is_no_sound_database_is_refused(data_dir: Path, tmp_path: Path) -> None:
    with pytest.raises(OperatorError, match=r"holds no database$"):
        compact(tmp_path / "nowhere", silent)
    assert not (tmp_path / "nowhere").exists()
    damage(data_dir / "shortener.db", 4096 * 5)
    before = (data_dir / "shortener.db").read_bytes()[100:]
    with pytest.raises(OperatorError) as caught:
        compact(data_dir, silent)
    assert str(caught.value) == f"cannot use database {data_dir}/shortener.db: the file is damaged; restore a backup"
    assert (data_dir / "shortener.db").read_bytes()[100:] == before


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to give files away")
def test_what_root_compacts_belongs_to_the_directorys_owner(data_dir: Path) -> None:
    for path in [data_dir, *data_dir.rglob("*")]:
        os.chown(path, 64_123, 64_124)
    compact(data_dir, silent)
    found = {(path.stat().st_uid, path.stat().st_gid) for path in [data_dir, *data_dir.rglob("*")]}
    assert found == {(64_123, 64_124)}
