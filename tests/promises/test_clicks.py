"""A redirect whose 302 has reached the client is counted exactly once: killed at the next instant, and in recovery."""

import contextlib
import random
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.promises.recount import assert_counts_match_recount, copied
from tests.promises.redirect_load import RedirectClient, follow
from tests.support import process
from tests.support.clients import stubs_of

CLIENTS = 8
VISIBLE_SECONDS_MAX = 20.0
"""A second is promised, on a machine that has time for us; here the count is what matters."""
PROMISE = "a redirect whose 302 reached the client is counted exactly once"
SLOW = {"CLICKS_BATCH_MAX": 1}
"""The journal is moved more slowly than it grows, so that recovery has much to do, and takes seconds."""


def counts(pb: SimpleNamespace, server: process.Running, redirect_clients: list[RedirectClient]) -> list[int]:
    """Return the clicks of each link by its statistics; its counter, read before, is never ahead of them."""
    found = []
    with stubs_of(pb, server) as stubs:
        for client in redirect_clients:
            url = stubs.urls.GetURL(pb.url_pb2.GetURLRequest(short_code=client.code), timeout=30).url
            stats = stubs.analytics.GetStats(pb.analytics_pb2.GetStatsRequest(short_code=client.code), timeout=30)
            assert url.clicks <= stats.total_clicks, client.code
            found.append(stats.total_clicks)
    return found


def assert_counted(pb: SimpleNamespace, server: process.Running, redirect_clients: list[RedirectClient]) -> None:
    """See that acknowledged <= counted <= sent for each link; from then on the count is known."""
    deadline = time.monotonic() + VISIBLE_SECONDS_MAX
    while True:
        late = time.monotonic() > deadline
        found = counts(pb, server, redirect_clients)
        if late or all(client.answered <= counted for client, counted in zip(redirect_clients, found, strict=True)):
            break
        time.sleep(0.02)
    for client, counted in zip(redirect_clients, found, strict=True):
        assert client.answered <= counted <= client.sent, (client.code, client.answered, counted, client.sent)
        assert client.unsure <= 1
        client.sent = client.answered = counted


def assert_stored(data_dir: Path, redirect_clients: list[RedirectClient]) -> None:
    """See that the stopped server's database has these clicks and no others, everywhere."""
    assert_counts_match_recount(data_dir)
    with copied(data_dir) as database:
        stored = dict(database.execute("SELECT short_code, clicks FROM links"))
    assert stored == {client.code: client.answered for client in redirect_clients}


def make_links(pb: SimpleNamespace, server: process.Running) -> list[RedirectClient]:
    with stubs_of(pb, server) as stubs:
        request = pb.url_pb2.CreateURLRequest(long_url="https://example.com/", user_id="clicks")
        return [RedirectClient(stubs.urls.CreateURL(request, timeout=30).short_code) for _ in range(CLIENTS)]


@pytest.mark.timeout(7200)
def test_a_redirect_is_counted_once_whenever_the_server_is_killed(
    tmp_path: Path,
    pb: SimpleNamespace,
    start: Callable[..., process.Running],
    size: Callable[[int, int], int],
    figure: Callable[[str, str], None],
) -> None:
    dice, data_dir = random.Random(), tmp_path / "data"
    kills = size(1, 100)
    server = start(data_dir)
    redirect_clients = make_links(pb, server)
    for _ in range(kills):
        follow(redirect_clients, server, dice.uniform(0.05, 0.3), kill=False)
        assert [client.unsure for client in redirect_clients] == [0] * CLIENTS
        assert_counted(pb, server, redirect_clients)  # so that acknowledged, counted and sent are the same number
        follow(redirect_clients, server, dice.uniform(0.01, 0.5), kill=True)
        server.log.unlink()
        server = start(data_dir)
        assert_counted(pb, server, redirect_clients)
    assert server.stop() == 0
    assert_stored(data_dir, redirect_clients)
    total = sum(client.answered for client in redirect_clients)
    figure(PROMISE, f"{kills} kills, {total:,} redirects: acknowledged <= counted <= sent in all, equal when idle")


def position(data_dir: Path) -> tuple[int, int]:
    """Return how far the journal has been moved, also while a server does it."""
    with contextlib.closing(sqlite3.connect(f"file:{data_dir / 'shortener.db'}?mode=ro", uri=True)) as database:
        found: tuple[int, int] = database.execute("SELECT segment, offset FROM journal_position").fetchone() or (0, 0)
        return found


def killed_in_recovery(data_dir: Path, seconds: float) -> bool:
    """Start a server, kill it so long after it began to move what the journal has; tell whether something is left."""
    with copied(data_dir) as database:
        (before,) = database.execute("SELECT segment, offset FROM journal_position").fetchall() or [(0, 0)]
    with (data_dir.parent / "recovery.log").open("wb") as log:
        server = subprocess.Popen(
            (sys.executable, "-m", "shortener", "serve"),
            env=process.environment(data_dir, **SLOW),
            stdout=subprocess.DEVNULL,
            stderr=log,
        )
    try:
        while position(data_dir) == before:
            assert server.poll() is None, (data_dir.parent / "recovery.log").read_text()
            time.sleep(0.005)
        time.sleep(seconds)
    finally:
        server.kill()
        server.wait()
    segment, offset = position(data_dir)
    files = [path for path in (data_dir / "journal").iterdir() if _number(path) >= segment]
    return sum(path.stat().st_size for path in files) > offset


def _number(path: Path) -> int:
    return int(path.stem.rpartition("-")[2])


@pytest.mark.timeout(7200)
def test_a_redirect_is_counted_once_when_recovery_is_killed_too(
    tmp_path: Path,
    pb: SimpleNamespace,
    start: Callable[..., process.Running],
    size: Callable[[int, int], int],
    figure: Callable[[str, str], None],
) -> None:
    dice, data_dir = random.Random(), tmp_path / "data"
    wanted, caught, tries = size(1, 10), 0, 0
    redirect_clients: list[RedirectClient] = []
    while caught < wanted:
        server = start(data_dir, **SLOW)
        redirect_clients = redirect_clients or make_links(pb, server)
        follow(redirect_clients, server, size(3, dice.randrange(5, 15)) / 10, kill=True)
        for _ in range(size(1, 2)):  # the second one meets what the first has left
            tries += 1
            caught += killed_in_recovery(data_dir, dice.uniform(0, 0.3))
        server = start(data_dir)
        assert_counted(pb, server, redirect_clients)
        assert server.stop() == 0
        assert tries < 10 * wanted
    assert_stored(data_dir, redirect_clients)
    total = sum(client.answered for client in redirect_clients)
    figure(PROMISE, f"{caught} kills in recovery of {tries} tried, {total:,} redirects: as above")
