"""kill -9 in the middle of creates and redirects: what was acknowledged is there, and the numbers agree."""

import sqlite3
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path
from types import SimpleNamespace

import grpc

from tests.support import process

WRITERS = 4
ROUNDS = 2
VISIBLE_SECONDS = 1.0


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *args: object) -> None:
        return None


def follow(address: str, code: str) -> int:
    opener = urllib.request.build_opener(_NoRedirect)
    try:
        opener.open(f"http://{address}/{code}", timeout=5)
    except urllib.error.HTTPError as answer:
        with answer:
            return answer.code
    raise AssertionError("an answer that is not a redirect")


class Load:
    """Creates links and follows one of them until the server dies; remembers what was acknowledged."""

    def __init__(self, server: process.Running, pb: SimpleNamespace, shared: str) -> None:
        self.server, self.pb, self.shared = server, pb, shared
        self.created: list[str] = []
        self.sent = self.followed = 0
        self.lock = threading.Lock()
        self.threads = [threading.Thread(target=target) for target in (self._create, self._follow) * WRITERS]

    def _create(self) -> None:
        with grpc.insecure_channel(self.server.url) as channel:
            stub = self.pb.url_pb2_grpc.URLServiceStub(channel)
            while True:
                request = self.pb.url_pb2.CreateURLRequest(long_url="https://example.com/", user_id="crash")
                try:
                    answer = stub.CreateURL(request, timeout=5)
                except grpc.RpcError:
                    return
                with self.lock:
                    self.created.append(answer.short_code)

    def _follow(self) -> None:
        while True:
            with self.lock:
                self.sent += 1
            try:
                assert follow(self.server.redirect, self.shared) == 302
            except OSError:
                return
            with self.lock:
                self.followed += 1


def test_kill_9_loses_nothing_that_was_acknowledged(tmp_path: Path, pb: SimpleNamespace) -> None:
    data_dir = tmp_path / "data"
    created: set[str] = set()
    sent = followed = 0
    shared = ""
    for _ in range(ROUNDS):
        server = process.start(data_dir)
        if not shared:
            with grpc.insecure_channel(server.url) as channel:
                request = pb.url_pb2.CreateURLRequest(long_url="https://example.com/shared", user_id="crash")
                shared = pb.url_pb2_grpc.URLServiceStub(channel).CreateURL(request).short_code
        load = Load(server, pb, shared)
        for thread in load.threads:
            thread.start()
        deadline = time.monotonic() + 10
        while (len(load.created) < 50 or load.followed < 50) and time.monotonic() < deadline:
            time.sleep(0.01)
        server.kill()
        for thread in load.threads:
            thread.join()
        created |= set(load.created)
        sent += load.sent
        followed += load.followed
    assert len(created) >= 50 * ROUNDS

    with process.running(data_dir) as server, grpc.insecure_channel(server.url) as channel:
        time.sleep(VISIBLE_SECONDS)  # the contract's own bound for clicks to be seen after the ready line
        stub = pb.url_pb2_grpc.URLServiceStub(channel)
        for code in created:
            assert stub.GetURL(pb.url_pb2.GetURLRequest(short_code=code)).found
        clicks = stub.GetURL(pb.url_pb2.GetURLRequest(short_code=shared)).url.clicks
        assert followed <= clicks <= sent

    with sqlite3.connect(data_dir / "shortener.db") as database:
        [(events,)] = database.execute("SELECT COUNT(*) FROM clicks")
        [(counter,)] = database.execute("SELECT SUM(clicks) FROM links")
        rollups = database.execute(
            "SELECT SUM(clicks) FROM click_rollups GROUP BY span, dimension HAVING dimension <> 'city'"
        ).fetchall()
        [(check,)] = database.execute("PRAGMA integrity_check")
    database.close()
    assert (events, counter, set(rollups), check) == (clicks, clicks, {(clicks,)}, "ok")
