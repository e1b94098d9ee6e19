"""Who tries again with an idempotency key after `kill -9` has done it exactly once."""

import contextlib
import random
import sqlite3
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import grpc

from tests.support import process
from tests.support.waiting import wait_for

PROMISE = "a call with an idempotency key happens once, also when tried again after kill -9"
WRITERS = 8
KEY = "idempotency-key"
BASE_URL = "https://s.example.com"
"""Otherwise short URLs name the port that the system picks at each start."""


class Callers:
    """Make links and clicks, each with a key of its own, and try each until it is answered, whatever dies meanwhile."""

    def __init__(self, pb: SimpleNamespace) -> None:
        self.pb = pb
        self.server: process.Running | None = None
        self.answers: dict[str, set[bytes]] = {}
        self.retries = 0
        self.stopping = threading.Event()
        self._lock = threading.Lock()
        self._code = ""

    def begin(self, server: process.Running) -> list[threading.Thread]:
        self.server = server
        with grpc.insecure_channel(server.url) as channel:
            request = self.pb.url_pb2.CreateURLRequest(long_url="https://example.com/clicked", user_id="clicked")
            self._code = self.pb.url_pb2_grpc.URLServiceStub(channel).CreateURL(request).short_code
        threads = [threading.Thread(target=self._run, args=(number,)) for number in range(WRITERS)]
        for thread in threads:
            thread.start()
        return threads

    def wait_for_answers(self, more: int) -> None:
        """Wait until so many more calls have been answered."""
        wanted = len(self.answers) + more
        wait_for(lambda: len(self.answers) >= wanted, seconds=30)

    def _run(self, number: int) -> None:
        channels: dict[str, grpc.Channel] = {}
        calls = 0
        while not self.stopping.is_set():
            calls += 1
            kind = ("create", "custom", "track")[calls % 3]
            self._insist(channels, kind, f"{kind}-{number}-{calls}")
        for channel in channels.values():
            channel.close()

    def _insist(self, channels: dict[str, grpc.Channel], kind: str, key: str) -> None:
        """Call until there is an answer, and then once more: it must be the same."""
        answers: set[bytes] = set()
        times = 0
        while times < 2:
            server = self.server
            if server is None:
                time.sleep(0.005)
                continue
            channel = channels.get(server.url) or channels.setdefault(server.url, grpc.insecure_channel(server.url))
            path, request = self._call(kind, key)
            try:
                answers.add(channel.unary_unary(path)(request.SerializeToString(), metadata=((KEY, key),), timeout=2))
                times += 1
            except grpc.RpcError as error:
                assert error.code() in (  # noqa: PT017 - each retry may fail, and in these ways alone
                    grpc.StatusCode.UNAVAILABLE,
                    grpc.StatusCode.DEADLINE_EXCEEDED,
                ), error
                self.retries += 1
        with self._lock:
            self.answers[key] = answers

    def _call(self, kind: str, key: str) -> tuple[str, Any]:
        urls, clicks = self.pb.url_pb2, self.pb.analytics_pb2
        long_url = f"https://example.com/{key}"
        if kind == "create":
            return "/url.URLService/CreateURL", urls.CreateURLRequest(long_url=long_url, user_id="once")
        if kind == "custom":
            request = urls.CreateCustomURLRequest(alias=key, long_url=long_url, user_id="once")
            return "/url.URLService/CreateCustomURL", request
        request = clicks.TrackClickRequest(short_code=self._code, ip_address="203.0.113.9", user_agent=key)
        return "/analytics.AnalyticsService/TrackClick", request


def test_what_is_tried_again_after_a_kill_has_happened_once(
    tmp_path: Path, pb: SimpleNamespace, size: Callable[[int, int], int], figure: Callable[[str, str], None]
) -> None:
    rounds, data_dir = size(1, 50), tmp_path / "data"
    callers, dice = Callers(pb), random.Random(20_260_801)
    server = process.start(data_dir, REDIRECT_BASE_URL=BASE_URL)
    threads = callers.begin(server)
    for _ in range(rounds):
        callers.wait_for_answers(10)
        time.sleep(dice.random() * 0.3)
        callers.server = None
        server.kill()
        server = process.start(data_dir, REDIRECT_BASE_URL=BASE_URL)
        callers.server = server
    callers.stopping.set()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()
    assert server.stop() == 0

    keys = list(callers.answers)
    assert [key for key in keys if len(callers.answers[key]) != 1] == []
    with contextlib.closing(sqlite3.connect(data_dir / "shortener.db")) as database:
        made = [url for (url,) in database.execute("SELECT destination FROM links WHERE owner_id = 'once'")]
        assert sorted(made) == sorted(f"https://example.com/{key}" for key in keys if not key.startswith("track"))
        [(clicks, counter)] = database.execute(
            "SELECT (SELECT count(*) FROM clicks), clicks FROM links WHERE owner_id = 'clicked'"
        )
        tracked = [key for key in keys if key.startswith("track")]
        ids = {bytes(answer) for key in tracked for answer in callers.answers[key]}
        assert (clicks, counter, len(ids)) == (len(tracked),) * 3
        assert database.execute("SELECT count(*) FROM replays").fetchone() == (len(keys),)
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    assert callers.retries > 0
    figure(PROMISE, f"{rounds} kills, {len(keys)} calls, {callers.retries} retries: each happened once")
