"""A migration that is killed at any write is whole or not begun, whatever the size of the database."""

import hashlib
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from shortener.config.sections import Storage
from shortener.storage.sqlite.database import open_database
from shortener.storage.sqlite.migrate import load_migrations
from tests.bench import load
from tests.bench.dataset import World
from tests.promises.migration_process import apply, steps
from tests.support.fault_injection import need

ROOT = Path(__file__).parents[2]
END = 1_790_000_000
NTH_MAX = 65_535
"""strace counts no further."""
FIRST = 3
"""The schema that the database is made with: the oldest that has clicks."""


async def filled(path: Path, clicks: int) -> None:
    """Make a database of the schema `FIRST` with so many clicks of one day, ten thousand for each link."""
    from rich.progress import Progress

    apply(path, load_migrations()[:FIRST])
    world = World(max(clicks // 10_000, 10), clicks, END - 86_400, END, "zipf", 1)
    async with open_database(
        path,
        Storage(readers=1, batch_max=4, queue_max=16, gather_seconds=0, busy_timeout_seconds=5, cache_bytes=256 << 20),
    ) as database:
        first_id = await load._fill_links(database, world, Progress(disable=True))
        await load._fill_clicks(database, world, first_id, Progress(disable=True))


def state(path: Path) -> tuple[int, str]:
    """The number of applied migrations, and a digest of the schema and of every row."""
    digest = hashlib.sha256()
    with closing(sqlite3.connect(path)) as raw:
        assert raw.execute("PRAGMA quick_check").fetchall() == [("ok",)]
        names = raw.execute("SELECT name, type, coalesce(sql, '') FROM sqlite_schema ORDER BY name").fetchall()
        digest.update(repr(names).encode())
        for name, kind, _ in names:
            if kind == "table":
                for row in raw.execute(f'SELECT * FROM "{name}" ORDER BY 1'):
                    digest.update(repr(row).encode())
        return raw.execute("SELECT count(*) FROM schema_migrations").fetchone()[0], digest.hexdigest()


def migrate_killed(path: Path, log: Path, nth: int) -> int:
    """Migrate in a process that is killed at its `nth` write; return its status, and leave its writes in `log`.

    At a write so late that strace cannot count to it, the process is killed when that many were just made.
    """
    inject = ("-e", f"inject=pwrite64:signal=KILL:when={nth}") if 0 < nth <= NTH_MAX else ()
    strace = ["strace", "-f", "-qqq", "-o", str(log), "-e", "trace=pwrite64", "-e", "signal=none", *inject]
    command = [*([] if nth > NTH_MAX else strace), sys.executable, "-m", "tests.promises.migration_process", str(path)]
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, cwd=ROOT, env=environ, stdout=subprocess.DEVNULL) as running:
        while nth > NTH_MAX and running.poll() is None:
            if writes_of(running.pid) >= nth:
                running.kill()
    return running.returncode


def writes_of(pid: int) -> int:
    """The calls that a process has made to write anything."""
    return int(Path(f"/proc/{pid}/io").read_text().partition("syscw: ")[2].split()[0])


def copied(source: Path, target: Path) -> Path:
    for old in target.parent.glob(f"{target.name}*"):
        old.unlink()
    shutil.copy(source, target)
    return target


@pytest.mark.timeout(7200)
async def test_a_migration_killed_at_any_write_is_whole_or_not_begun(
    tmp_path: Path, size: Callable[[int, int], int], figure: Callable[[str, str], None]
) -> None:
    need("strace")
    clicks, kills = size(300, 1_000_000), size(3, 50)
    base, log = tmp_path / "base.db", tmp_path / "strace.log"
    await filled(base, clicks)
    stepwise = copied(base, tmp_path / "stepwise.db")
    expected = [state(stepwise)]
    for count in range(FIRST + 1, len(steps()) + 1):
        apply(stepwise, steps()[:count])
        expected.append(state(stepwise))
    assert migrate_killed(copied(base, tmp_path / "killed.db"), log, 0) == 0
    with log.open() as file:
        writes = sum(1 for _ in file)
    dice, reached = random.Random(), set()
    for _ in range(kills):
        path = copied(base, tmp_path / "killed.db")
        assert migrate_killed(path, log, dice.randint(1, writes)) in (-signal.SIGKILL, 128 + signal.SIGKILL)
        after_kill = state(path)
        assert after_kill in expected
        reached.add(after_kill[0])
        apply(path, steps())
        assert state(path) == expected[-1]
    figure(
        "migrations are all or nothing",
        f"{kills} kills among {writes:,} writes on a database with {clicks:,} clicks, ending at schemas "
        f"{', '.join(map(str, sorted(reached)))}: each whole or not begun, each completed by the next start",
    )
