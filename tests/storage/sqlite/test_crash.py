import subprocess
import sys
from pathlib import Path

from tests.support.storage_databases import opening, texts

ROOT = Path(__file__).parents[3]
LINES = 300


def killed_while_writing(path: Path) -> list[str]:
    """Run the writer, kill it after some acknowledged writes, and return all that it acknowledged."""
    command = [sys.executable, "-m", "tests.storage.sqlite.killed_writer", str(path)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(LINES)]
        process.kill()
        lines += process.stdout.readlines()
    return [line.rstrip("\n") for line in lines if line.endswith("\n")]


async def test_what_was_acknowledged_is_there_after_kill_9(tmp_path: Path) -> None:
    acknowledged: set[str] = set()
    for _ in range(3):
        acknowledged |= set(killed_while_writing(tmp_path / "killed.db"))
        async with opening(tmp_path / "killed.db") as database:
            assert acknowledged <= set(await texts(database))
            assert await database.read(lambda q: q.row("PRAGMA integrity_check")) == ("ok",)
    assert len(acknowledged) >= 3 * LINES
