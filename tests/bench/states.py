"""Rows about statistics, memory and start."""

import contextlib
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

from tests.bench.bench import WORLD_END, Bench, Must
from tests.bench.dataset import YEAR_SECONDS, short_code
from tests.bench.generators import Load, wrk
from tests.bench.redirects import CONNECTIONS, HERE, check_clicks, codes_file
from tests.bench.servers import Ours, ours

MB = 1_000_000
STARTS = 3
SOAK_SECONDS = 600
SOAK_WARM_SECONDS = 60


def statistics(bench: Bench) -> None:
    """GetStats over a year with ragged ends, over a link with many clicks and one with few."""
    row = bench.row("GetStats, one year", "ms")
    sizes, code = bench.sizes, short_code(0)
    with contextlib.ExitStack() as stack:
        servers: dict[str, Ours] = {}
        for clicks in (sizes.busy_clicks, sizes.some_clicks):
            data_dir = stack.enter_context(bench.copy(bench.data_set(1, clicks, "one")))
            servers[f"{clicks:,} clicks"] = stack.enter_context(ours(data_dir))
        whole = bench.data_set(sizes.links, sizes.clicks, "zipf")
        server = servers["the busiest of all links"] = stack.enter_context(ours(stack.enter_context(bench.copy(whole))))
        row.notes["clicks_on_the_busiest"] = server.stats(code).total_clicks
        for who, each in servers.items():
            each.stats(code)
            row.notes[f"unbounded, {who}, ms"] = median(_seconds(lambda: each.stats(code)) for _ in range(5)) * 1000  # noqa: B023 - called at once
        for number in bench.rounds(row, rounds=5):
            for who, each in servers.items():
                start, end = WORLD_END - YEAR_SECONDS + 61 * number, WORLD_END - 67 * number
                row.add(who, 1000 * _seconds(lambda: each.stats(code, start_time=start, end_time=end)))  # noqa: B023 - called at once
    busy, some = f"{sizes.busy_clicks:,} clicks", f"{sizes.some_clicks:,} clicks"
    row.musts = [
        Must("ms", row.median(busy), 20, at_least=False),
        Must(f"times as long as with {some}", row.median(busy) / row.median(some), 2, at_least=False),
    ]


def _seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def memory(bench: Bench) -> None:
    """Resident memory, idle and with links in the cache."""
    sizes = bench.sizes
    idle = bench.row("memory, idle", "MB")
    cached = bench.row("memory, each cached link", "bytes")
    for data_set in (bench.data_set(sizes.links, 0, "one"), bench.data_set(sizes.links, sizes.clicks, "zipf")):
        with bench.copy(data_set) as data_dir, ours(data_dir, CACHE_SIZE_MAX=sizes.cached) as server:
            time.sleep(2)
            idle.add(data_set.name, server.memory() / MB)
    with bench.folder() as folder, ours(folder / "data") as server:
        time.sleep(2)
        idle.add("no links", server.memory() / MB)
    with bench.copy(bench.data_set(sizes.links, 0, "one")) as data_dir:
        settings = {"CACHE_SIZE_MAX": sizes.links, "CACHE_TTL_SECONDS": 3600}
        with ours(data_dir, **settings) as server:
            # Moving clicks on a few thousand links at a time takes memory once; links are measured after that.
            seen = _walk(server, codes_file(data_dir.parent, sizes.cached // 5), sizes.cached // 5)
            before, held = server.memory(), _held(server)
            seen += _walk(server, codes_file(data_dir.parent, sizes.cached), sizes.cached)
            cached.add("ours", (server.memory() - before) / (_held(server) - held))
            cached.notes["cached"] = _held(server)
            check_clicks(server, seen)
    idle.musts = [Must("MB", max(max(figures) for figures in idle.figures.values()), 150, at_least=False)]
    cached.musts = [Must("bytes", cached.median("ours"), 1000, at_least=False)]


def _walk(server: Ours, codes: Path, links: int) -> list[Load]:
    """Follow each link of the file; wrk may leave out the first."""
    seconds, url = max(1.0, links / 5000), f"http://{server.running.redirect}/"
    seen: list[Load] = []
    while _held(server) < links * 0.99:
        seen.append(wrk(url, seconds=seconds, connections=CONNECTIONS, script=HERE / "inorder.lua", codes=codes))
        server.settle()
        seconds *= 2
    return seen


def _held(server: Ours) -> int:
    return int(server.metrics()["shortener_cache_links"])


def start(bench: Bench) -> None:
    """From the command to the ready line, best of three, in turn."""
    row = bench.row("start until ready", "ms")
    sizes = bench.sizes
    with contextlib.ExitStack() as stack:
        full = stack.enter_context(bench.copy(bench.data_set(sizes.links, sizes.clicks, "zipf")))
        empty = stack.enter_context(bench.folder()) / "data"
        for _ in range(2):
            _start(empty)
            _start(full)
        for _ in bench.rounds(row, rounds=STARTS):
            row.add("empty", _start(empty) * 1000)
            row.add("full", _start(full) * 1000)
    best, least = min(row.figures["full"]), min(row.figures["empty"])
    row.musts = [
        Must("ms, best of three", best, 2500, at_least=False),
        Must("ms more than empty", best - least, 500, at_least=False),
    ]


def _start(data_dir: Path) -> float:
    started = time.perf_counter()
    with ours(data_dir, core=None):
        return time.perf_counter() - started


def soak(bench: Bench) -> None:
    """Ten minutes of redirects to all links: memory must not grow. Only when asked for by name."""
    row = bench.row("memory, ten minutes of redirects", "MB")
    sizes = bench.sizes
    seconds, warm = (SOAK_SECONDS, SOAK_WARM_SECONDS) if sizes.rounds > 1 else (10, 5)
    with bench.copy(bench.data_set(sizes.links, 0, "one")) as data_dir, ours(data_dir) as server:
        codes = codes_file(data_dir.parent, sizes.links)
        url, seen = f"http://{server.running.redirect}/", []
        for number in range(seconds // warm + 1):
            script = HERE / "zipf.lua"
            seen.append(wrk(url, seconds=warm, connections=CONNECTIONS, script=script, codes=codes))
            if number:
                row.add("ours", server.memory() / MB)
        check_clicks(server, seen)
    figures = row.figures["ours"]
    half = len(figures) // 2
    row.musts = [
        Must(
            "MB grown, second half to first",
            median(figures[half:]) - median(figures[:half] or figures),
            10,
            at_least=False,
        )
    ]
