"""What a filled data directory costs to serve: `python -m tests.bench.measure --data-dir DIR` (fill it with load.py).

Starts the real server on it and prints start time, memory, and latencies over loopback from one client.
"""

import argparse
import http.client
import sqlite3
import statistics
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import grpc

from shortener.gen.analytics import GetStatsRequest
from tests.support import process

STARTS = 3
REDIRECTS = 3000
READS = 9


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data-dir", type=Path, required=True)
    data_dir = parser.parse_args().data_dir.resolve()
    codes, busiest = _codes(data_dir / "shortener.db")
    starts = []
    for _ in range(STARTS):
        began = time.perf_counter()
        with process.running(data_dir):
            starts.append(time.perf_counter() - began)
    _say("start", f"{min(starts):.2f} to {max(starts):.2f} s")
    with process.running(data_dir) as server:
        _say("memory, idle", _memory(server))
        redirects = http.client.HTTPConnection(server.redirect)
        for name in ("redirect, cold", "redirect, hot"):
            _say(name, _latency(lambda code: _follow(redirects, code), codes))
        redirects.close()
        with grpc.insecure_channel(server.analytics) as channel:
            read = channel.unary_unary("/analytics.AnalyticsService/GetStats", bytes, bytes)
            now = int(time.time())
            ragged = {"start_time": now - 200 * 86_400 + 1234, "end_time": now - 4567}
            for name, request in {
                "GetStats, busiest link": GetStatsRequest(short_code=busiest),
                "GetStats, busiest link, ragged": GetStatsRequest(short_code=busiest, **ragged),
                "GetStats, any link": GetStatsRequest(short_code=codes[0]),
            }.items():
                _say(name, _latency(read, [request] * READS))
        _say("memory, then", _memory(server))


def _codes(database: Path) -> tuple[list[str], str]:
    connection = sqlite3.connect(f"file:{database}?mode=ro", uri=True)
    some = connection.execute("SELECT short_code FROM links ORDER BY random() LIMIT ?", (REDIRECTS,)).fetchall()
    [busiest] = connection.execute("SELECT short_code FROM links ORDER BY clicks DESC LIMIT 1").fetchone()
    connection.close()
    return [code for (code,) in some], busiest


def _follow(connection: http.client.HTTPConnection, code: str) -> None:
    connection.request("GET", f"/{code}")
    answer = connection.getresponse()
    answer.read()
    if answer.status != 302:
        raise SystemExit(f"/{code} was answered {answer.status}")


def _latency(call: Callable[..., object], arguments: Iterable[object]) -> str:
    milliseconds = []
    for argument in arguments:
        began = time.perf_counter()
        call(argument)
        milliseconds.append((time.perf_counter() - began) * 1000)
    worst = sorted(milliseconds)[int(len(milliseconds) * 0.99)]
    return f"median {statistics.median(milliseconds):.2f} ms, p99 {worst:.2f} ms"


def _memory(server: process.Running) -> str:
    status = Path(f"/proc/{server.process.pid}/status").read_text()
    return f"{int(status.split('VmRSS:')[1].split()[0]) / 1024:.0f} MiB"


def _say(name: str, figure: str) -> None:
    print(f"{name:<32} {figure}")  # noqa: T201 - this is a program


if __name__ == "__main__":
    main()
