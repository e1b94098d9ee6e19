"""A long block list is read anew beside the running event loop, in bounded memory."""

import asyncio
import gc
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from shortener.config.sections import Links
from shortener.links.lists.screen import followed, load_screen
from shortener.server import process as serving
from tests.support.scheduling import queued_by_thread

HOLD_SECONDS_MAX = 0.020
"""Beside what threads of ours wait for a core, which is the machine's doing: also one that holds Python's lock may."""
BYTES_A_HOST_MAX = 60
"""The table that is read from, the one being built, and its list of fingerprints."""


@pytest.fixture
def like_the_server() -> Iterator[None]:
    """Have the interpreter share its lock, and collect garbage, as in the server's process."""
    before = sys.getswitchinterval()
    serving._favour_the_loop()
    yield
    sys.setswitchinterval(before)
    gc.unfreeze()


def memory_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


def append(path: Path) -> None:
    with path.open("a") as file:
        file.write("0.0.0.0 one-more.example\n")


def waited_since(before: dict[str, float]) -> float:
    """How long threads that were there before, and still are, have waited for a core since."""
    now = queued_by_thread()
    return sum(now[thread] - seconds for thread, seconds in before.items() if now.get(thread, 0) > seconds)


@pytest.mark.usefixtures("like_the_server")
async def test_a_long_list_does_not_hold_the_loop(
    tmp_path: Path, size: Callable[[int, int], int], figure: Callable[[str, str], None]
) -> None:
    count = size(20_000, 1_000_000)
    path = tmp_path / "hosts"
    path.write_text("".join(f"0.0.0.0 {number:x}.host.example\n" for number in range(count)))
    began = time.monotonic()
    screen = load_screen(Links(blocklist_file=str(path), blocklist_size_max=count + 1))
    start_seconds = time.monotonic() - began
    assert screen is not None
    assert screen.hosts is not None
    held: list[float] = []

    async def beat() -> None:
        while True:
            before, queued = time.monotonic(), queued_by_thread()
            await asyncio.sleep(0.001)
            held.append(time.monotonic() - before - 0.001 - waited_since(queued))

    memory, peak = memory_bytes(), 0
    beating = asyncio.create_task(beat())
    async with followed(screen, every_seconds=0.01):
        began = time.monotonic()
        await asyncio.to_thread(append, path)  # a busy disk is not to count
        old = screen.hosts.value
        while screen.hosts.value is old:
            await asyncio.sleep(0.01)
            peak = max(peak, memory_bytes())
            assert screen.blocks("https://1.host.example/")
        seconds = time.monotonic() - began
    beating.cancel()
    await asyncio.wait({beating})
    assert screen.blocks("https://one-more.example/")
    assert max(held) < HOLD_SECONDS_MAX
    assert peak - memory < BYTES_A_HOST_MAX * count + 4_000_000
    figure(
        "a block list is read again without holding the loop",
        f"{count} hosts: {start_seconds:.1f} s at start, {seconds:.1f} s again; loop held {max(held) * 1000:.1f} ms at "
        f"most; {(peak - memory) / 1e6:.0f} MB more at its peak",
    )
