"""A long block list is read anew beside the running event loop, in bounded memory."""

import asyncio
import time
from collections.abc import Callable
from pathlib import Path

from shortener.links.screen import followed, load_screen
from tests.torture.scheduling import queued_seconds

HOLD_SECONDS_MAX = 0.020
"""Where the machine has a core for each thread. One that holds Python's lock may lose its core to other processes."""
BUSY_HOLD_SECONDS_MAX = 0.25
BYTES_A_HOST_MAX = 60
"""The table that is read from, the one being built, and its list of fingerprints."""


def memory_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


async def test_a_long_list_does_not_hold_the_loop(
    tmp_path: Path, size: Callable[[int, int], int], figure: Callable[[str, str], None]
) -> None:
    count = size(20_000, 1_000_000)
    path = tmp_path / "hosts"
    path.write_text("".join(f"0.0.0.0 {number:x}.host.example\n" for number in range(count)))
    began = time.monotonic()
    screen = load_screen(blocklist=str(path), blocklist_size_max=count + 1, quarantine="", quarantine_size_max=1)
    start_seconds = time.monotonic() - began
    assert screen is not None
    assert screen.hosts is not None
    held: list[float] = []

    async def beat() -> None:
        while True:
            before, queued = time.monotonic(), queued_seconds()
            await asyncio.sleep(0.001)
            held.append(time.monotonic() - before - 0.001 - (queued_seconds() - queued))

    memory, peak = memory_bytes(), 0
    beating = asyncio.create_task(beat())
    async with followed(screen, every_seconds=0.01):
        began = time.monotonic()
        with path.open("a") as file:
            file.write("0.0.0.0 one-more.example\n")
        old = screen.hosts.value
        while screen.hosts.value is old:
            await asyncio.sleep(0.01)
            peak = max(peak, memory_bytes())
            assert screen.blocks("https://1.host.example/")
        seconds = time.monotonic() - began
    beating.cancel()
    await asyncio.wait({beating})
    assert screen.blocks("https://one-more.example/")
    assert max(held) < size(1, 0) * BUSY_HOLD_SECONDS_MAX + HOLD_SECONDS_MAX
    assert peak - memory < BYTES_A_HOST_MAX * count + 4_000_000
    figure(
        "a block list is read again without holding the loop",
        f"{count} hosts: {start_seconds:.1f} s at start, {seconds:.1f} s again; loop held {max(held) * 1000:.1f} ms at "
        f"most; {(peak - memory) / 1e6:.0f} MB more at its peak",
    )
