"""System calls that fail in the middle of writing: an error is told, and whatever was acknowledged is there.

strace makes the Nth call of each thread fail, for N from 1 on, so that every step of a commit has its turn.
"""

import contextlib
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import grpc
import pytest

from shortener.backup.verify import verify
from tests.promises.recount import copied
from tests.promises.redirect_load import RedirectClient, follow
from tests.support import process
from tests.support.clients import stubs_of
from tests.support.fault_injection import failing, need
from tests.support.waiting import wait_for

CALLS = 8
PROMISE = "a failing fsync or write never becomes an acknowledgement"


@dataclass
class Told:
    """What the server acknowledged, and how often it told of an error instead."""

    created: set[str] = field(default_factory=set)
    deleted: set[str] = field(default_factory=set)
    clicked: list[int] = field(default_factory=list)
    unsure: set[str] = field(default_factory=set)
    errors: int = 0

    @contextlib.contextmanager
    def attempt(self) -> Any:
        try:
            yield
        except grpc.RpcError:
            self.errors += 1


def write(pb: SimpleNamespace, stubs: SimpleNamespace, told: Told) -> None:
    """Create, click and delete, one after the other."""
    for number in range(CALLS):
        code = f"alias-{number}"
        with told.attempt():
            request = pb.url_pb2.CreateCustomURLRequest(alias=code, long_url="https://example.com/", user_id="x")
            stubs.urls.CreateCustomURL(request, timeout=20)
            told.created.add(code)
        with told.attempt():
            click = pb.analytics_pb2.TrackClickRequest(short_code=code, ip_address="192.0.2.1")
            told.clicked.append(int(stubs.analytics.TrackClick(click, timeout=20).click_id.removeprefix("evt_")))
        if number % 2:
            told.unsure.add(code)
            with told.attempt():
                stubs.urls.DeleteURL(pb.url_pb2.DeleteURLRequest(short_code=code), timeout=20)
                told.deleted.add(code)


def one_line(failed: AssertionError) -> None:
    """A server that could not start said why, in one line and without a traceback."""
    assert re.search(r"exit 1: (\{.*\}\n)*shortener: [^\n]+\n$", str(failed)), failed


def started(data_dir: Path, fault: str, nth: int, log: Path) -> process.Running | None:
    calls = "pwrite64" if fault == "write" else "fdatasync,fsync"
    try:
        return process.start(data_dir, command=failing(calls, f"error=EIO:when={nth}", log))
    except AssertionError as error:
        one_line(error)
        return None


def well(data_dir: Path) -> None:
    assert verify(data_dir, has_own_secret=True, progress=lambda done, total: None).findings == []


@pytest.mark.timeout(7200)
@pytest.mark.parametrize("fault", ["sync", "write"])
def test_nothing_is_acknowledged_that_failed(
    tmp_path: Path, pb: SimpleNamespace, size: Callable[[int, int], int], figure: Callable[[str, str], None], fault: str
) -> None:
    need("strace")
    starts, acknowledged, errors = 0, 0, 0
    sweep = range(1, 41) if size(0, 1) else [3 if fault == "sync" else 20]
    with process.running(tmp_path / "made"):
        pass
    for nth in sweep:
        data_dir, told = tmp_path / f"{nth}" / "data", Told()
        data_dir.parent.mkdir()
        if fault == "write":  # Migrating alone takes more writes than the sweep has.
            shutil.copytree(tmp_path / "made", data_dir)
        server = started(data_dir, fault, nth, tmp_path / "strace.log")
        if server is not None:
            with stubs_of(pb, server) as stubs:
                write(pb, stubs, told)
            server.kill()
            starts += 1
        with process.running(data_dir) as again, stubs_of(pb, again) as stubs, told.attempt():
            request = pb.url_pb2.CreateCustomURLRequest(alias="later", long_url="https://a.example/", user_id="x")
            stubs.urls.CreateCustomURL(request, timeout=20)
            told.created.add("later")
        assert "later" in told.created
        well(data_dir)
        with copied(data_dir) as database:
            links = dict(database.execute("SELECT short_code, deleted_at <> 0 FROM links"))
            clicks = {number for (number,) in database.execute("SELECT id FROM clicks")}
        assert told.created <= links.keys(), nth
        assert {code for code in told.deleted if not links[code]} == set(), nth
        assert {code for code in told.created - told.unsure if links[code]} == set(), nth
        assert set(told.clicked) <= clicks, nth
        # After the one error, whatever it was, the server writes on.
        assert server is None or len(told.created) > CALLS / 2, nth
        acknowledged += len(told.created) + len(told.deleted) + len(told.clicked)
        errors += told.errors
    assert fault == "sync" or errors > 0
    figure(
        f"{PROMISE} ({fault})",
        f"{len(sweep)} failing calls, {len(sweep) - starts} of them at the start, one line each; {errors} errors told, "
        f"{acknowledged} writes acknowledged, 0 lost",
    )


@pytest.mark.timeout(7200)
def test_a_click_whose_journal_write_fails_is_told_as_dropped(
    tmp_path: Path, pb: SimpleNamespace, size: Callable[[int, int], int], figure: Callable[[str, str], None]
) -> None:
    need("strace")
    sweep, answered, dropped_in_all = (range(1, 41) if size(0, 1) else [2]), 0, 0
    for nth in sweep:
        data_dir = tmp_path / f"{nth}" / "data"
        data_dir.parent.mkdir()
        segment = data_dir / "journal" / "clicks-000000000001.journal"
        fault = failing("write", f"error=EIO:when={nth}", tmp_path / "strace.log", path=segment)
        server = process.start(data_dir, command=fault)
        with stubs_of(pb, server) as stubs:
            request = pb.url_pb2.CreateURLRequest(long_url="https://example.com/", user_id="x")
            client = RedirectClient(stubs.urls.CreateURL(request, timeout=20).short_code)
        while client.answered <= nth:
            follow([client], server, 0.1, kill=False)
        dropped = metric(server, "shortener_clicks_dropped_total")
        server.kill()
        assert dropped == 1  # One client has one request open; it got its redirect all the same.
        again = process.start(data_dir)
        wait_for(partial(metric, again, "shortener_click_backlog_bytes"), lambda left: left == 0)
        again.kill()
        well(data_dir)
        with copied(data_dir) as database:
            assert database.execute("SELECT clicks FROM links").fetchall() == [(client.answered - 1,)], nth
        answered += client.answered
        dropped_in_all += dropped
    figure(
        f"{PROMISE} (click journal)",
        f"{len(sweep)} failing writes, {answered:,} redirects answered, {dropped_in_all} told as dropped in the "
        "metrics, all others counted once",
    )


def metric(server: process.Running, name: str) -> int:
    """Read one number of /metrics."""
    import urllib.request

    with urllib.request.urlopen(f"http://{server.gateway}/metrics", timeout=10) as answer:
        [line] = re.findall(rf"^{name} (.*)$", answer.read().decode(), re.MULTILINE)
    return int(float(line))
