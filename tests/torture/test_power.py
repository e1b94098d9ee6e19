"""The power goes in the middle of everything: acknowledged writes stay, of clicks a tenth of a second may go.

The data directory lies on an XFS of its own, which is told to forget all that is not on its disk, and is mounted anew.
"""

import threading
import time
from bisect import bisect_right
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest

from shortener.vault.verify import verify
from tests.contract.clients import stubs_of
from tests.e2e import process
from tests.torture.agreement import copied
from tests.torture.clickers import Clicker
from tests.torture.machine import PowerDisk, power_disk
from tests.torture.test_faults import metric
from tests.torture.test_kill import assert_stored
from tests.torture.writers import Writer
from tests.waiting import wait_for

WRITERS, CLICKERS = 8, 8
SYNC_SECONDS = 0.1


class TimedClicker(Clicker):
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


def cut_power(disk: PowerDisk, server: process.Running) -> float:
    """Cut it, and end the server, which can keep nothing any more. Return when the cut began."""
    began = time.monotonic()
    disk.cut()
    server.kill()
    disk.unplug()
    disk.plug()
    return began


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
    """The last redirect that is not lost was answered a tenth of a second before the cut, and what the sync takes."""
    rounds, lost, answered_in_all, longest = size(1, 50), 0, 0, 0.0
    clickers = [TimedClicker("") for _ in range(CLICKERS)]
    sure = dict.fromkeys(range(CLICKERS), 0)
    with power_disk(tmp_path) as disk:
        data_dir = disk.mounted / "data"
        for number in range(rounds):
            server = process.start(data_dir, CLICKS_DURABILITY=durability, CLICKS_SYNC_SECONDS=SYNC_SECONDS)
            with stubs_of(pb, server) as stubs:
                for clicker in clickers:
                    if not clicker.code:
                        request = pb.url_pb2.CreateURLRequest(long_url="https://example.com/", user_id="x")
                        clicker.code = stubs.urls.CreateURL(request, timeout=30).short_code
            for clicker in clickers:
                clicker.times = []
            stopping = threading.Event()
            threads = [threading.Thread(target=clicker.run, args=(server, stopping)) for clicker in clickers]
            for thread in threads:
                thread.start()
            wait_for(lambda: sum(clicker.answered for clicker in clickers) >= 200, seconds=60)
            time.sleep(number % 10 / 20)
            began = cut_power(disk, server)
            stopping.set()
            for thread in threads:
                thread.join()
            again = process.start(data_dir)
            wait_for(partial(metric, again, "shortener_click_backlog_bytes"), lambda left: left == 0, seconds=60)
            again.kill()
            sound(data_dir)
            with copied(data_dir) as database:
                counts = dict(database.execute("SELECT short_code, clicks FROM links"))
            for index, clicker in enumerate(clickers):
                counted = counts[clicker.code] - sure[index]
                answered = bisect_right(clicker.times, began)
                answered_in_all += answered
                assert counted <= clicker.sent
                if counted < answered:
                    lost += answered - counted
                    longest = max(longest, began - clicker.times[counted])
                sure[index] = counts[clicker.code]
                clicker.sent = 0
    assert answered_in_all > 100 * rounds
    if durability == "power":
        assert lost == 0
    figure(
        f'clicks and a power cut, clicks.durability = "{durability}"',
        f"{rounds} cuts, {answered_in_all:,} redirects answered, {lost:,} not counted; "
        f"the oldest of them was answered {longest * 1000:.0f} ms before the cut",
    )
    assert longest < SYNC_SECONDS + 0.4  # what waits is synced every 100 ms; the sync itself takes its time
