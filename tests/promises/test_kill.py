"""kill -9 in the middle of every kind of write: what was acknowledged is there, each thing once, and all agrees."""

import random
import sqlite3
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.promises.recount import copied, differences_from_recount
from tests.promises.writers import Writer
from tests.support import process
from tests.support.clients import stubs_of

WRITERS = 8
WRITES_MAX = 300
PROMISE = "an OK survives kill -9"


def round_of(server: process.Running, writers: list[Writer], writes: int, seconds: float) -> None:
    """Let all write until so many writes are acknowledged and so long after, then kill the server."""
    stopping = threading.Event()
    threads = [threading.Thread(target=writer.run, args=(server, stopping)) for writer in writers]
    enough = sum(writer.acknowledged for writer in writers) + writes
    for thread in threads:
        thread.start()
    while sum(writer.acknowledged for writer in writers) < enough and all(thread.is_alive() for thread in threads):
        time.sleep(0.001)
    time.sleep(seconds)
    stopping.set()
    server.kill()
    for thread in threads:
        thread.join()
    assert [error for writer in writers for error in writer.errors] == []


def assert_stored(database: sqlite3.Connection, writers: list[Writer]) -> None:
    """See that everything acknowledged since the first round lies in the database as it was acknowledged."""
    links = {
        code: row
        for code, *row in database.execute(
            "SELECT short_code, id, destination, owner_id, deleted_at <> 0, clicks, increments FROM links"
        )
    }
    clicks = dict(database.execute("SELECT id, link_id FROM clicks"))
    names = dict(database.execute("SELECT email, name FROM accounts"))
    for writer in writers:
        for code, link in writer.links.items():
            assert (code in links) in link.exists, code
            if code in links:
                link_id, destination, owner, deleted, count, increments = links[code]
                assert (destination, owner) == (link.destination, link.owner), code
                assert bool(deleted) in link.deleted, code
                assert (count in link.clicks, increments in link.increments) == (True, True), (code, links[code], link)
                assert {clicks[click_id] for click_id in link.click_ids} <= {link_id}, code
        for email, account in writer.accounts.items():
            assert (email in names) in account.exists, email
            assert names.get(email) in {*account.names, None}, email


@pytest.mark.timeout(7200)
def test_what_was_acknowledged_survives_kill_9(
    tmp_path: Path,
    pb: SimpleNamespace,
    start: Callable[..., process.Running],
    size: Callable[[int, int], int],
    figure: Callable[[str, str], None],
) -> None:
    dice = random.Random()
    data_dir = tmp_path / "data"
    writers = [Writer(f"w{number}", pb, dice.randrange(1 << 30)) for number in range(WRITERS)]
    rounds, read = size(1, 200), 0
    server = start(data_dir)
    for _ in range(rounds):
        round_of(server, writers, dice.randrange(WRITES_MAX), dice.uniform(0, 0.01))
        with copied(data_dir) as database:
            assert differences_from_recount(database) == []
            assert_stored(database, writers)
        server = start(data_dir)
        with stubs_of(pb, server) as stubs:
            read += sum(writer.settle(stubs) for writer in writers)
            for writer in writers:
                writer.log_in(stubs)
        server.log.unlink()
    assert server.stop() == 0
    with copied(data_dir) as database:
        assert differences_from_recount(database) == []
        assert_stored(database, writers)
    acknowledged = sum(writer.acknowledged for writer in writers)
    assert acknowledged > rounds
    figure(PROMISE, f"{rounds} kills, {acknowledged:,} writes acknowledged, 0 lost; {read:,} links read back over gRPC")
