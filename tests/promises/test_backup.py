"""A backup while everybody writes and clicks, put back elsewhere and compared link by link."""

import shutil
import sqlite3
import threading
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import pytest

from shortener.backup import verify as checking
from shortener.backup.restore import restore
from shortener.backup.verify import Verified
from tests.promises.redirect_load import RedirectClient
from tests.promises.writers import Writer
from tests.support import process, program
from tests.support.clients import stubs_of

PROMISE = "backup while running, restore, verify"


@dataclass(frozen=True)
class Known:
    """What was acknowledged of a link at some moment, at least."""

    destination: str
    owner: str
    is_deleted: bool
    clicks: int
    increments: int


def known(writers: list[Writer]) -> dict[str, Known]:
    return {
        code: Known(link.destination, link.owner, link.deleted == {True}, min(link.clicks), min(link.increments))
        for writer in writers
        for code, link in list(writer.links.items())
        if link.exists == {True}
    }


def verify(data_dir: Path) -> Verified:
    found = checking.verify(data_dir, has_own_secret=True, progress=silent)
    assert found.findings == []
    return found


def silent(done: int, total: int) -> None:
    assert done <= total


def back_up_under_load(
    data_dir: Path,
    backup: Path,
    server: process.Running,
    writers: list[Writer],
    redirect_clients: list[RedirectClient],
    links: int,
) -> tuple[dict[str, Known], list[int], list[int], float]:
    """Make a backup while all write and click, and kill the server.

    Return the links known before it, each client's answers before it and requests after it, and how long it took.
    """
    stopping, resting = threading.Event(), threading.Event()
    threads = [threading.Thread(target=writer.run, args=(server, stopping)) for writer in writers]
    threads += [threading.Thread(target=client.run, args=(server, resting)) for client in redirect_clients]
    enough = len(known(writers)) + links
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + 60
    while len(known(writers)) < enough and time.monotonic() < deadline:
        time.sleep(0.01)
    before, answered = known(writers), [client.answered for client in redirect_clients]
    started = time.monotonic()
    done = program.shortener("backup", str(backup), cwd=data_dir.parent, STORAGE_DATA_DIR=str(data_dir))
    seconds = time.monotonic() - started
    assert (done.returncode, done.stderr) == (0, ""), done
    sent = [client.sent for client in redirect_clients]
    resting.set()
    stopping.set()
    server.kill()
    for thread in threads:
        thread.join()
    assert [error for writer in writers for error in writer.errors] == []
    return before, answered, sent, seconds


def compare(data_dir: Path, before: dict[str, Known], after: list[Writer]) -> None:
    """Every link acknowledged before is there with all its clicks, and nothing is there that was never asked for."""
    most = {code: (max(link.clicks), max(link.increments)) for writer in after for code, link in writer.links.items()}
    with closing(sqlite3.connect(data_dir / "shortener.db")) as database:
        rows = {
            code: row
            for code, *row in database.execute(
                "SELECT short_code, destination, owner_id, deleted_at <> 0, clicks, increments FROM links"
            )
        }
    for code, link in before.items():
        destination, owner, deleted, clicks, increments = rows[code]
        assert (destination, owner) == (link.destination, link.owner), code
        assert deleted or not link.is_deleted, code
        assert link.clicks <= clicks <= most[code][0], code
        assert link.increments <= increments <= most[code][1], code


@pytest.mark.timeout(7200)
def test_a_backup_under_load_is_whole(
    tmp_path: Path, pb: SimpleNamespace, size: Callable[[int, int], int], figure: Callable[[str, str], None]
) -> None:
    data_dir, rounds, compared, clicks, slowest = tmp_path / "data", size(1, 20), 0, 0, 0.0
    writers = [Writer(f"w{number}", pb, number) for number in range(size(2, 8))]
    redirect_clients = [RedirectClient("") for _ in range(size(1, 4))]
    for number in range(rounds):
        server = process.start(data_dir)
        with stubs_of(pb, server) as stubs:
            if number:
                for writer in writers:
                    writer.settle(stubs)
            for client in redirect_clients:
                if not client.code:
                    request = pb.url_pb2.CreateURLRequest(long_url="https://example.com/", user_id="clicked")
                    client.code = stubs.urls.CreateURL(request, timeout=30).short_code
        backup, restored = tmp_path / "backup", tmp_path / "restored"
        before, answered, sent, seconds = back_up_under_load(
            data_dir, backup, server, writers, redirect_clients, size(10, 200)
        )
        slowest = max(slowest, seconds)
        verify(data_dir)
        verify(backup)
        restore(backup, restored, force=False, progress=silent)
        verify(restored)
        with process.running(restored):
            pass
        assert verify(restored).waiting == 0
        compare(restored, before, writers)
        with closing(sqlite3.connect(restored / "shortener.db")) as database:
            counts = dict(database.execute("SELECT short_code, clicks FROM links WHERE owner_id = 'clicked'"))
        for client, low, high in zip(redirect_clients, answered, sent, strict=True):
            assert low <= counts[client.code] <= high
        compared += len(before)
        clicks += sum(counts.values())
        shutil.rmtree(backup)
        shutil.rmtree(restored)
    figure(
        PROMISE,
        f"{rounds} backups under {len(writers)} writers and {len(redirect_clients)} redirect clients, "
        f"the slowest {slowest:.1f} s; "
        f"{compared:,} links and {clicks:,} redirects compared, 0 missing; verify clean before and after each restore",
    )
