"""A hostile client beside an honest one: the honest one hardly notices, and the server's memory stays where it was."""

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import grpc
import pytest

from tests.promises.attacker import ATTACKS
from tests.support import process

HONEST_P99_SECONDS = 0.1
TIMES_BEFORE = 5
"""And on a machine that is busy with other things, this often what the honest one waited before the attack."""
QUICK_P99_SECONDS = 2.0
"""Beside other tests time says little; without the server's budgets these attacks take seconds."""
QUICK = ("rapid reset", "continuations", "slow readers", "half a preface")
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
    """Asks for one link over and over on one connection, with a breath between, and times each call."""

    def __init__(self, server: process.Running, pb: SimpleNamespace) -> None:
        self._channel = grpc.insecure_channel(server.url)
        self._stub = pb.url_pb2_grpc.URLServiceStub(self._channel)
        request = pb.url_pb2.CreateURLRequest(long_url="https://example.com/", user_id="honest")
        self._request = pb.url_pb2.GetURLRequest(short_code=self._stub.CreateURL(request).short_code)
        self.seconds: list[float] = []

    def ask(self) -> None:
        started = time.perf_counter()
        assert self._stub.GetURL(self._request, timeout=10).found
        self.seconds.append(time.perf_counter() - started)
        time.sleep(0.005)

    def take(self) -> tuple[float, float]:
        """Return median and 99th percentile so far, in seconds, and begin anew."""
        times, self.seconds = sorted(self.seconds), []
        return times[len(times) // 2], times[int(len(times) * 0.99)]

    def close(self) -> None:
        self._channel.close()


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "name" in metafunc.fixturenames:
        metafunc.parametrize("name", ATTACKS if metafunc.config.getoption("--torture") else QUICK)


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
    _, p99_before = honest.take()
    before = most = memory_of(attacked)
    seconds = size(1, 10)
    command = [sys.executable, "-m", "tests.promises.attacker", attacked.url, name, str(seconds)]
    attacker = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    try:
        while attacker.poll() is None:
            honest.ask()
            most = max(most, memory_of(attacked))
    finally:
        attacker.kill()
        connections, _ = attacker.communicate()
    honest.close()
    assert attacker.returncode == 0
    assert int(connections) > 0
    assert attacked.process.poll() is None
    calls, (median, p99) = len(honest.seconds), honest.take()
    grown = most - before
    figure(
        "attacks over HTTP/2",
        f"{name}: {seconds:g} s, {int(connections)} connections; {calls} honest calls, median {1000 * median:.1f} ms, "
        f"p99 {1000 * p99:.1f} ms (before: {1000 * p99_before:.1f} ms); memory grew {grown / 1e6:.1f} MB",
    )
    assert grown < MEMORY_GROWTH_MAX
    assert p99 < (size(1, 0) * QUICK_P99_SECONDS or max(HONEST_P99_SECONDS, TIMES_BEFORE * p99_before))
