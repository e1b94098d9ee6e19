"""Redirects a second: the real server, every click recorded, beside nginx and a plain aiohttp application.

    python -m tests.bench.bench_redirect [--rounds 3] [--seconds 4] [--links 1000] [--cold-links 0] [--json]

All servers run on core 0 and wrk on core 1, in turn, several rounds; medians and ratios are printed. nginx answers
`return 302`, aiohttp a constant 302, once on uvloop as ours and once on asyncio. With `--cold-links` a second server
redirects uniformly over that many links with a cache of a hundredth of them. In the end the clicks that our servers
recorded are read from their databases: each redirect answered must be there once, or the run is a failure.
"""

import argparse
import asyncio
import contextlib
import json
import os
import re
import shutil
import signal
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tests.support import process as service

CONNECTIONS = 32
DESTINATION = "https://example.com/some/page?with=a&query=string"
NGINX = """
worker_processes 1; daemon off; pid {folder}/nginx.pid; error_log {folder}/error.log;
events {{ worker_connections 1024; }}
http {{
  access_log off; keepalive_requests 1000000000;
  client_body_temp_path {folder}; proxy_temp_path {folder}; fastcgi_temp_path {folder};
  uwsgi_temp_path {folder}; scgi_temp_path {folder};
  server {{ listen 127.0.0.1:{port}; location / {{ return 302 {destination}; }} }}
}}
"""


@dataclass
class Runs:
    """What wrk measured of one server."""

    rates: list[float] = field(default_factory=list)
    p99_ms: list[float] = field(default_factory=list)
    requests: int = 0

    @property
    def rate(self) -> float:
        return statistics.median(self.rates)


def pinned(core: int) -> list[str]:
    """Return the prefix that keeps a command on one core, where there are two."""
    taskset = shutil.which("taskset")
    return [taskset, "-c", str(core)] if taskset and (os.cpu_count() or 1) > 1 else []


def free_port() -> int:
    """Return a port that nobody uses now."""
    import socket

    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


@contextlib.contextmanager
def started(command: list[str], port: int) -> Iterator[str]:
    """Run a command that serves on `port`, and yield the address once it accepts."""
    import socket

    running = subprocess.Popen([*pinned(0), *command])
    try:
        for _ in range(200):
            time.sleep(0.05)
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
        yield f"127.0.0.1:{port}"
    finally:
        running.terminate()
        running.wait()


@contextlib.contextmanager
def nginx(folder: Path) -> Iterator[str]:
    """Run nginx with one worker."""
    port = free_port()
    settings = folder / "nginx.conf"
    settings.write_text(NGINX.format(folder=folder, port=port, destination=DESTINATION))
    with started(["nginx", "-c", str(settings), "-p", str(folder), "-e", str(folder / "error.log")], port) as address:
        yield address


@contextlib.contextmanager
def aiohttp(loop: str) -> Iterator[str]:
    """Run the plain aiohttp application."""
    port = free_port()
    with started([sys.executable, "-m", "tests.bench.bench_redirect", "--serve", loop, str(port)], port) as address:
        yield address


def serve_aiohttp(loop: str, port: int) -> None:
    """Answer a constant 302, as the plainest application does."""
    import uvloop
    from aiohttp import web

    async def redirect(_: web.Request) -> web.Response:
        return web.Response(status=302, headers={"Location": DESTINATION, "Cache-Control": "private, max-age=0"})

    async def run() -> None:
        app = web.Application()
        app.router.add_get("/{short_code}", redirect)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", port).start()
        await asyncio.Event().wait()

    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    (uvloop.run if loop == "uvloop" else asyncio.run)(run())


def fill(data_dir: Path, links: int) -> None:
    """Make a database with this many links."""
    command = [sys.executable, "-m", "shortener", "migrate"]
    subprocess.run(command, env=service.environment(data_dir), check=True, stdout=subprocess.DEVNULL)
    now = int(time.time())
    rows = ((f"code{number:08}", DESTINATION, "bench", now, now) for number in range(links))
    with contextlib.closing(sqlite3.connect(data_dir / "shortener.db")) as database, database:
        database.executemany(
            "INSERT INTO links (short_code, destination, owner_id, created_at, updated_at, expires_at, is_alias)"
            " VALUES (?, ?, ?, ?, ?, 0, 0)",
            rows,
        )


def wrk(address: str, links: int, seconds: float, runs: Runs, *, warm: bool = False) -> None:
    """Load a server and note what came of it; anything but a redirect is a failure."""
    script = Path(__file__).with_name("redirect.lua")
    command = [
        *pinned(1),
        "wrk",
        "-t1",
        f"-c{CONNECTIONS}",
        f"-d{max(1, round(seconds))}s",
        "--latency",
        "-s",
        str(script),
    ]
    command += [f"http://{address}/", "--", str(links), str(len(runs.rates) + 1)]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    rate = re.search(r"Requests/sec:\s+([\d.]+)", said)
    total = re.search(r"(\d+) requests in", said)
    slow = re.search(r"99%\s+([\d.]+)(us|ms|s)", said)
    if not (rate and total and slow) or "Non-2xx" in said or "Socket errors" in said:
        raise RuntimeError(said)
    runs.requests += int(total[1])
    if not warm:
        runs.rates.append(float(rate[1]))
        runs.p99_ms.append(float(slow[1]) * {"us": 0.001, "ms": 1, "s": 1000}[slow[2]])


def readings(server: service.Running) -> dict[str, float]:
    """Return the server's own counters."""
    with urllib.request.urlopen(f"http://{server.gateway}/metrics", timeout=10) as answer:
        lines = answer.read().decode().splitlines()
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines if line[0] != "#")}


def check_clicks(server: service.Running, data_dir: Path, runs: Runs, times: int) -> int:
    """Stop the server, and see that every redirect it answered is in its database once."""
    counters = readings(server)
    answered = int(sum(value for name, value in counters.items() if name.startswith("shortener_redirects_total")))
    if server.stop() != 0:
        raise RuntimeError(server.log.read_text())
    with contextlib.closing(sqlite3.connect(data_dir / "shortener.db")) as database:
        ((counted,),) = database.execute("SELECT SUM(clicks) FROM links").fetchall()
    # wrk leaves each connection with at most one request whose answer it does not wait for.
    if counted != answered or not runs.requests <= counted <= runs.requests + CONNECTIONS * times:
        raise RuntimeError(f"{runs.requests} redirects seen by wrk, {answered} answered, {counted} clicks recorded")
    return int(counted)


def our_server(data_dir: Path, **settings: object) -> service.Running:
    """Start the real server on core 0."""
    command = (*pinned(0), sys.executable, "-m", "shortener", "serve")
    return service.start(data_dir, command=command, LOG_LEVEL="error", **settings)


def measure(options: argparse.Namespace) -> dict[str, Runs]:
    """Run everybody in turn."""
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        hot, cold = folder / "hot", folder / "cold"
        fill(hot, options.links)
        ours = {"ours": (our_server(hot), hot, options.links)}
        if options.cold_links:
            fill(cold, options.cold_links)
            server = our_server(cold, CACHE_SIZE_MAX=max(100, options.cold_links // 100))
            ours["ours, cold links"] = (server, cold, options.cold_links)
        for server, _, _ in ours.values():
            stack.callback(server.stop)
        addresses = {
            "nginx return 302": (stack.enter_context(nginx(folder)), 1),
            "aiohttp, uvloop": (stack.enter_context(aiohttp("uvloop")), 1),
            "aiohttp, asyncio": (stack.enter_context(aiohttp("asyncio")), 1),
            **{name: (server.redirect, links) for name, (server, _, links) in ours.items()},
        }
        found = {name: Runs() for name in addresses}
        for name, (address, links) in addresses.items():
            wrk(address, links, 1, found[name], warm=True)
        for _ in range(options.rounds):
            for name, (address, links) in addresses.items():
                wrk(address, links, options.seconds, found[name])
        for name, (server, data_dir, _) in ours.items():
            check_clicks(server, data_dir, found[name], options.rounds + 1)
        return found


def main() -> None:
    """Measure and print, or serve."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=4)
    parser.add_argument("--links", type=int, default=1000)
    parser.add_argument("--cold-links", type=int, default=0)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--serve", nargs=2, metavar=("LOOP", "PORT"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        serve_aiohttp(options.serve[0], int(options.serve[1]))
        return
    found = measure(options)
    peers = ("nginx return 302", "aiohttp, uvloop", "aiohttp, asyncio", "ours")
    table = {
        name: {
            "requests_per_second": runs.rate,
            "p99_ms": statistics.median(runs.p99_ms),
            **{f"of {peer}": runs.rate / found[peer].rate for peer in peers},
        }
        for name, runs in found.items()
    }
    if options.json:
        print(json.dumps(table, indent=2))  # noqa: T201 - its output
        return
    print(f"{'':18}{'requests/s':>12}{'p99 ms':>9}", *(f"{'of ' + peer:>20}" for peer in peers))  # noqa: T201 - its output
    for name, row in table.items():
        rate, slow, *ratios = row.values()
        print(f"{name:18}{rate:12.0f}{slow:9.2f}", *(f"{ratio:20.2f}" for ratio in ratios))  # noqa: T201 - its output


if __name__ == "__main__":
    main()
