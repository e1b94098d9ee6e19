"""A disk that fills up, and gets room again: redirects go on, writes are refused politely, nothing needs a restart."""

import http.client
import re
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import grpc
import pytest

from shortener.backup.verify import verify
from tests.promises.redirect_load import RedirectClient, follow
from tests.promises.test_faults import metric
from tests.support import process
from tests.support.clients import stubs_of
from tests.support.fault_injection import small_disk
from tests.support.waiting import wait_for

DISK_BYTES = 24 << 20  # the unpacked country data take a third of it
RECOVERY_SECONDS = 5  # on a machine of one's own; in the quick form other tests run beside
CODE = re.compile("[A-Za-z0-9]{7}")


def fill(disk: Path) -> Path:
    """Take all the room that is left."""
    ballast = disk / "ballast"
    with ballast.open("ab", buffering=0) as file:
        for size in (1 << 16, 1 << 12, 1):
            try:
                while True:
                    file.write(b"x" * size)
            except OSError:
                continue
    return ballast


def create(pb: SimpleNamespace, stubs: SimpleNamespace) -> str:
    """Try to create a link; return its code, or the status."""
    request = pb.url_pb2.CreateURLRequest(long_url="https://example.com/" + "x" * 4000, user_id="x")
    try:
        return str(stubs.urls.CreateURL(request, timeout=10).short_code)
    except grpc.RpcError as error:
        return str(error.code().name)


def register(server: process.Running, name: str) -> tuple[int, str | None]:
    """Try to register over HTTP; return status and Retry-After."""
    connection = http.client.HTTPConnection(server.gateway, timeout=20)
    body = f'{{"email": "{name}@example.com", "password": "a password", "name": "Anna"}}'
    connection.request("POST", "/api/auth/register", body, {"Content-Type": "application/json"})
    answer = connection.getresponse()
    answer.read()
    connection.close()
    return answer.status, answer.headers["Retry-After"]


def recovery(
    pb: SimpleNamespace, server: process.Running, stubs: SimpleNamespace, client: RedirectClient, seconds_max: int
) -> float:
    """Return how many seconds it takes until a link can be made, and a redirect is counted."""
    freed = time.monotonic()
    while not CODE.fullmatch(create(pb, stubs)):
        assert time.monotonic() < freed + seconds_max
    before = client.answered
    while client.answered == before:
        follow([client], server, 0.02, kill=False)
    dropped = metric(server, "shortener_clicks_dropped_total")
    stats = pb.analytics_pb2.GetStatsRequest(short_code=client.code)
    told, left = client.answered - dropped, freed + seconds_max - time.monotonic()
    wait_for(lambda: stubs.analytics.GetStats(stats, timeout=10).total_clicks >= told, seconds=left)
    return time.monotonic() - freed


@pytest.mark.timeout(7200)
def test_a_full_disk_stops_writes_alone_and_is_got_over_without_a_restart(
    tmp_path: Path, pb: SimpleNamespace, size: Callable[[int, int], int], figure: Callable[[str, str], None]
) -> None:
    rounds, slowest = size(1, 10), 0.0
    with small_disk(tmp_path, DISK_BYTES) as disk:
        data_dir = disk / "data"
        with process.running(data_dir) as server, stubs_of(pb, server) as stubs:
            client = RedirectClient(create(pb, stubs))
            for number in range(rounds):
                ballast = fill(disk)
                while (status := create(pb, stubs)) != "RESOURCE_EXHAUSTED":  # What the log has room for is taken.
                    assert CODE.fullmatch(status)
                assert register(server, f"full-{number}") == (503, "1")
                before = client.answered
                follow([client], server, 0.5, kill=False)
                assert client.answered > before
                ballast.unlink()
                slowest = max(slowest, recovery(pb, server, stubs, client, size(30, RECOVERY_SECONDS)))
                assert register(server, f"free-{number}") == (201, None)
            dropped = metric(server, "shortener_clicks_dropped_total")
            stats = pb.analytics_pb2.GetStatsRequest(short_code=client.code)
            assert stubs.analytics.GetStats(stats, timeout=10).total_clicks == client.answered - dropped
        assert dropped > 0
        found = verify(data_dir, has_own_secret=True, progress=lambda done, total: None)
        assert (found.findings, found.waiting) == ([], 0)
    figure(
        "disk full, then freed",
        f"filled {rounds} times: {client.answered:,} redirects, none refused, {dropped:,} not counted and told as "
        f"dropped; all well {slowest:.1f} s after there was room; verify clean",
    )
