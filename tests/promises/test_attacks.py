"""A hostile client beside honest ones: they hardly notice, and the server's memory stays where it was."""

import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import NamedTuple

import grpc
import pytest

from tests.promises.hostile_client import NAMES, PACED
from tests.support import process

HONEST_P99_SECONDS = 0.1
PACED_P99_SECONDS = 0.025
"""Beside one connection that sends 1 MB a second of anything."""
TIMES_BEFORE = 5
"""And on a machine that is busy with other things, this often what the honest ones waited before the attack."""
QUICK_P99_SECONDS = 2.0
"""Beside other tests time says little; without the server's budgets these attacks take seconds."""
QUICK = (
    "rapid reset", "continuations", "slow readers", "half a preface", "silent readers", "indexed fields",
    "many gzip messages",
)  # fmt: skip
"""What the quick form tries; tests/rpc/http2/test_limits.py has each flood in a form of its own."""
MEMORY_GROWTH_MAX = 32 * 1024 * 1024
LINKS = 150
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def attacked(tmp_path_factory: pytest.TempPathFactory, pb: SimpleNamespace) -> Iterator[process.Running]:
    """A server whose owner "many" has links for an answer of 300 KB, and that has been busy showing them."""
    with process.running(tmp_path_factory.mktemp("attacks") / "data") as server:
        with grpc.insecure_channel(server.url) as channel:
            stub = pb.url_pb2_grpc.URLServiceStub(channel)
            long_url = "https://example.com/" + "a" * 2000
            request = pb.url_pb2.CreateURLRequest(long_url=long_url, user_id="many")
            calls = [stub.CreateURL.future(request, timeout=60) for _ in range(LINKS)]
            assert len({call.result().short_code for call in calls}) == LINKS
            whole = pb.url_pb2.ListURLsRequest(user_id="many", limit=LINKS)
            pages = [stub.ListURLs.future(whole, timeout=60) for _ in range(50)]
            assert {len(page.result().urls) for page in pages} == {LINKS}
        yield server


def memory_of(server: process.Running) -> int:
    """What the server has resident now, in bytes."""
    text = Path(f"/proc/{server.process.pid}/status").read_text()
    return int(text.partition("VmRSS:")[2].split()[0]) * 1024


class Honest:
    """Asks for one link and follows it over and over, with a breath between, and times both.

    Each way has a connection of its own.
    """

    def __init__(self, server: process.Running, pb: SimpleNamespace) -> None:
        self._channel = grpc.insecure_channel(server.url)
        self._stub = pb.url_pb2_grpc.URLServiceStub(self._channel)
        request = pb.url_pb2.CreateURLRequest(long_url="https://example.com/", user_id="honest")
        self._request = pb.url_pb2.GetURLRequest(short_code=self._stub.CreateURL(request).short_code)
        host, _, port = server.redirect.rpartition(":")
        self._socket = socket.create_connection((host, int(port)), timeout=10)
        self.calls: list[float] = []
        self._redirects: list[float] = []

    def ask(self) -> None:
        started = time.perf_counter()
        assert self._stub.GetURL(self._request, timeout=10).found
        asked = time.perf_counter()
        self._socket.sendall(f"GET /{self._request.short_code} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        assert self._socket.recv(4096).startswith(b"HTTP/1.1 302 ")
        self.calls.append(asked - started)
        self._redirects.append(time.perf_counter() - asked)
        time.sleep(0.005)

    def take(self) -> "Waited":
        """Return what both ways took so far, and begin anew."""
        calls, redirects = sorted(self.calls), sorted(self._redirects)
        self.calls, self._redirects = [], []
        return Waited(len(calls), *(times[int(len(times) * 0.99)] for times in (calls, redirects)))

    def close(self) -> None:
        self._channel.close()
        self._socket.close()


class Waited(NamedTuple):
    """How many times both were asked, and their 99th percentiles in seconds."""

    times: int
    calls: float
    redirects: float

    @property
    def worse(self) -> float:
        return max(self.calls, self.redirects)

    def __str__(self) -> str:
        return f"GetURL {1000 * self.calls:.1f} ms, redirects {1000 * self.redirects:.1f} ms"


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "name" in metafunc.fixturenames:
        metafunc.parametrize("name", NAMES if metafunc.config.getoption("--torture") else QUICK)


def test_an_attack_is_hardly_noticed(
    name: str,
    attacked: process.Running,
    pb: SimpleNamespace,
    size: Callable[[int, int], int],
    figure: Callable[[str, str], None],
) -> None:
    honest = Honest(attacked, pb)
    for _ in range(50):
        honest.ask()
    p99_before = honest.take()
    before = most = memory_of(attacked)
    seconds = size(1, 10)
    command = [sys.executable, "-m", "tests.promises.hostile_client", attacked.url, name, str(seconds)]
    attacker = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    try:
        while attacker.poll() is None:
            honest.ask()
            most = max(most, memory_of(attacked))
    finally:
        attacker.kill()
        connections, _ = attacker.communicate()
    honest.close()
    p99 = honest.take()
    assert attacker.returncode == 0
    assert int(connections) > 0
    assert attacked.process.poll() is None
    grown = most - before
    figure(
        "attacks over HTTP/2",
        f"{name}: {seconds:g} s, {int(connections)} connections; p99 of {p99.times}: {p99} (before: {p99_before}); "
        f"memory grew {grown / 1e6:.1f} MB",
    )
    assert grown < MEMORY_GROWTH_MAX
    bar = PACED_P99_SECONDS if name in PACED else HONEST_P99_SECONDS
    assert p99.worse < (size(1, 0) * QUICK_P99_SECONDS or max(bar, TIMES_BEFORE * p99_before.worse))
