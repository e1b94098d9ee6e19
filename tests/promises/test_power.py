"""The power goes in the middle of everything: acknowledged writes stay, of clicks a tenth of a second may go.

The data directory lies on an XFS of its own, which is told to forget all that is not on its disk, and is mounted anew.
"""

import contextlib
import os
import threading
import time
from bisect import bisect_right
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest

from shortener.backup.verify import verify
from tests.promises.recount import copied
from tests.promises.redirect_load import RedirectClient
from tests.promises.test_faults import metric
from tests.promises.test_kill import assert_stored
from tests.promises.writers import Writer
from tests.support import process
from tests.support.clients import stubs_of
from tests.support.fault_injection import DISK_BYTES, PowerDisk, power_disk, small_disk
from tests.support.waiting import wait_for

WRITERS, REDIRECT_CLIENTS = 8, 8
SYNC_SECONDS = 0.1
QUICK_ALLOWANCE_SECONDS = 0.4
"""Only in the quick form, which runs among all other tests: the server may have to wait for a core there."""


class TimedRedirectClient(RedirectClient):
    """Remembers when each answer came."""

    def __init__(self, code: str) -> None:
        self.times: list[float] = []
        super().__init__(code)

    @property
    def answered(self) -> int:
        return len(self.times)

    @answered.setter
    def answered(self, count: int) -> None:
        if count > len(self.times):
            self.times.append(time.monotonic())
        else:
            self.times = []


class OwnSyncs(threading.Thread):
    """Syncs a file of its own again and again until the power goes, to learn how long the disk takes for that."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self._file = (folder / "own").open("wb", buffering=0)
        self._took: list[tuple[float, float]] = []
        self.start()

    def run(self) -> None:
        with contextlib.suppress(OSError), self._file:
            while True:
                began = time.monotonic()
                try:
                    self._file.write(b"x")
                    os.fdatasync(self._file.fileno())
                finally:
                    ended = time.monotonic()
                    self._took.append((ended, ended - began))
                time.sleep(0.005)

    def slowest_since(self, moment: float) -> float:
        """How long the slowest sync took that ended after that moment. To be asked after the cut."""
        self.join()
        return max(seconds for ended, seconds in self._took if ended > moment)


def cut_power(disk: PowerDisk, server: process.Running, end: Callable[[], None] = lambda: None) -> tuple[float, float]:
    """Cut it, and end the server, which can keep nothing any more. Return when the cut began and ended."""
    began = time.monotonic()
    disk.cut()
    ended = time.monotonic()
    server.kill()
    end()  # whatever else uses the disk
    disk.unplug()
    disk.plug()
    return began, ended


def sound(data_dir: Path) -> None:
    """Everything in the directory agrees. Half a record at the end of the journal is what a power cut may leave."""
    findings = verify(data_dir, has_own_secret=True, progress=lambda done, total: None).findings
    assert [line for line in findings if not line.startswith("journal segment ")] == []


@pytest.mark.timeout(7200)
def test_what_was_acknowledged_survives_a_power_cut(
    tmp_path: Path, pb: SimpleNamespace, size: Callable[[int, int], int], figure: Callable[[str, str], None]
) -> None:
    rounds = size(1, 50)
    writers = [Writer(f"w{number}", pb, number) for number in range(WRITERS)]
    with power_disk(tmp_path) as disk:
        data_dir = disk.mounted / "data"
        for number in range(rounds):
            server = process.start(data_dir)
            if number:
                with stubs_of(pb, server) as stubs:
                    for writer in writers:
                        writer.settle(stubs)
            stopping = threading.Event()
            threads = [threading.Thread(target=writer.run, args=(server, stopping)) for writer in writers]
            for thread in threads:
                thread.start()
            enough = 30 * (number + 1)
            wait_for(lambda: sum(writer.acknowledged for writer in writers) >= enough, seconds=60)  # noqa: B023 - called at once
            time.sleep(number % 10 / 20)
            stopping.set()  # Errors are right from here on.
            cut_power(disk, server)
            for thread in threads:
                thread.join()
            sound(data_dir)
            with copied(data_dir) as database:
                assert_stored(database, writers)
        acknowledged = sum(writer.acknowledged for writer in writers)
    assert acknowledged > 20 * rounds
    figure("an OK survives a power cut", f"{rounds} cuts, {acknowledged:,} writes acknowledged, 0 lost")


@pytest.mark.timeout(7200)
@pytest.mark.parametrize("durability", ["kernel", "power"])
def test_how_many_clicks_a_power_cut_takes(
    tmp_path: Path,
    pb: SimpleNamespace,
    size: Callable[[int, int], int],
    figure: Callable[[str, str], None],
    durability: str,
) -> None:
    """The oldest redirect that is lost was answered a tenth of a second before the end of the cut, or less.

    The disk is in memory, since one that other programs keep busy can take longer than that for a single sync. Two
    things are allowed on top, which a busy machine makes long: the cut itself, and a sync of the test's own just then.
    """
    rounds, lost, answered_in_all, over, longest, excess = size(1, 50), 0, 0, 0, 0.0, 0.0
    redirect_clients = [TimedRedirectClient("") for _ in range(REDIRECT_CLIENTS)]
    sure = dict.fromkeys(range(REDIRECT_CLIENTS), 0)
    with small_disk(tmp_path, DISK_BYTES) as memory, power_disk(memory) as disk:
        data_dir = disk.mounted / "data"
        for number in range(rounds):
            server = process.start(data_dir, CLICKS_DURABILITY=durability, CLICKS_SYNC_SECONDS=SYNC_SECONDS)
            with stubs_of(pb, server) as stubs:
                for client in redirect_clients:
                    if not client.code:
                        request = pb.url_pb2.CreateURLRequest(long_url="https://example.com/", user_id="x")
                        client.code = stubs.urls.CreateURL(request, timeout=30).short_code
            for client in redirect_clients:
                client.times = []
            stopping = threading.Event()
            threads = [threading.Thread(target=client.run, args=(server, stopping)) for client in redirect_clients]
            for thread in threads:
                thread.start()
            syncs = OwnSyncs(disk.mounted)
            wait_for(lambda: sum(client.answered for client in redirect_clients) >= 200, seconds=60)
            time.sleep(number % 10 / 20)
            began, ended = cut_power(disk, server, syncs.join)
            allowed = SYNC_SECONDS + (ended - began) + syncs.slowest_since(began - 3 * SYNC_SECONDS)
            stopping.set()
            for thread in threads:
                thread.join()
            again = process.start(data_dir)
            wait_for(partial(metric, again, "shortener_click_backlog_bytes"), lambda left: left == 0, seconds=60)
            again.kill()
            sound(data_dir)
            with copied(data_dir) as database:
                counts = dict(database.execute("SELECT short_code, clicks FROM links"))
            ages = [0.0]
            for index, client in enumerate(redirect_clients):
                counted = counts[client.code] - sure[index]
                answered = bisect_right(client.times, began)
                answered_in_all += answered
                assert counted <= client.sent
                if counted < answered:
                    lost += answered - counted
                    ages.append(ended - client.times[counted])
                sure[index] = counts[client.code]
                client.sent = 0
            longest, excess = max(longest, *ages), max(excess, max(ages) - allowed)
            over += max(ages) > SYNC_SECONDS
    assert answered_in_all > 100 * rounds
    if durability == "power":
        assert lost == 0
    figure(
        f'clicks and a power cut, clicks.durability = "{durability}"',
        f"{rounds} cuts, {answered_in_all:,} redirects answered, {lost:,} not counted; "
        f"the oldest of them was answered {longest * 1000:.0f} ms before the end of the cut; more than 100 ms in "
        f"{over} cuts, by {excess * 1000:.0f} ms more than the cut and a sync of the test's own took",
    )
    assert excess <= size(1, 0) * QUICK_ALLOWANCE_SECONDS
