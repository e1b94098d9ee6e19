"""Measures this checkout beside another one: `python -m tests.bench.beside OTHER [--rounds N] [--only ROW]`.

Both servers run at once, each call of a load generator goes to one of them in turn, and the ratio is that of the median
round, so that whatever else the machine does meets both alike. The servers share a core, the generator has another.
"""

import argparse
import contextlib
import statistics
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import grpc

from tests.bench.generators import CREATE_URL, GET_URL, grpc_frame, h2load, wrk
from tests.bench.machine import SERVER_CORE, pinned
from tests.bench.messages import message_class
from tests.bench.redirects import DESTINATION
from tests.bench.servers import Ours
from tests.support import process

ROOT = Path(__file__).parents[2]
SECONDS = 3.0
GET_CALLS = 60_000
CREATES = 8_000
IDLE_SECONDS = 3.0


@contextlib.contextmanager
def checkout(folder: Path, data_dir: Path) -> Iterator[Ours]:
    """Run the service as it is in the checkout `folder`."""
    command = ("env", f"PYTHONPATH={folder}", sys.executable, "-m", "shortener", "serve")
    started = process.start(data_dir, command=tuple(pinned(SERVER_CORE, *command)), LOG_LEVEL="warning")
    try:
        with grpc.insecure_channel(started.url) as channel:
            yield Ours(started, channel)
    finally:
        started.stop()


def redirects(server: Ours, folder: Path, code: str) -> float:
    """Redirects a second of a link in memory; every click is recorded."""
    return wrk(f"http://{server.running.redirect}/{code}", seconds=SECONDS, connections=32).rate


def get_urls(server: Ours, folder: Path, code: str) -> float:
    """GetURL calls a second."""
    body = folder / "get"
    body.write_bytes(grpc_frame(message_class("url.GetURLRequest")(short_code=code).SerializeToString()))
    return h2load(server.running.url, GET_URL, body=body, calls=GET_CALLS, connections=10, streams=10).rate


def creates(server: Ours, folder: Path, code: str) -> float:
    """CreateURL calls a second, durable, without QR codes, by 64 callers."""
    body = folder / "create"
    message = message_class("url.CreateURLRequest")(long_url=DESTINATION, user_id="bench", omit_qr_code=True)
    body.write_bytes(grpc_frame(message.SerializeToString()))
    return h2load(server.running.url, CREATE_URL, body=body, calls=CREATES, connections=8, streams=8).rate


ROWS: dict[str, Callable[[Ours, Path, str], float]] = {"redirect": redirects, "get-url": get_urls, "create": creates}


def starts(folder: Path, data_dir: Path) -> tuple[float, float]:
    """Return the seconds from the start until ready, and the idle memory in megabytes a little later."""
    began = time.perf_counter()
    with checkout(folder, data_dir) as server:
        took = time.perf_counter() - began
        urllib.request.urlopen(f"http://{server.running.gateway}/readyz", timeout=10).close()
        time.sleep(IDLE_SECONDS)
        return took, server.memory() / 1e6


def main() -> None:
    """Print a row for each figure: this checkout, the other one, and the ratio of the median round."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.beside", description=__doc__.splitlines()[0])
    parser.add_argument("other", type=Path, help="a checkout of another commit")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", action="append", choices=[*ROWS, "start"])
    options = parser.parse_args()
    names = options.only or [*ROWS, "start"]
    folders = (ROOT, options.other.resolve())
    with tempfile.TemporaryDirectory() as temporary:
        home = Path(temporary)
        with contextlib.ExitStack() as stack:
            servers = [stack.enter_context(checkout(folder, home / f"data-{at}")) for at, folder in enumerate(folders)]
            codes = [server.create(DESTINATION) for server in servers]
            for name in (name for name in names if name in ROWS):
                ROWS[name](servers[0], home, codes[0]), ROWS[name](servers[1], home, codes[1])
                rates = [
                    [ROWS[name](server, home, code) for server, code in zip(servers, codes, strict=True)]
                    for _ in range(options.rounds)
                ]
                show(f"{name}, a second", rates)
        if "start" in names:
            data_dirs = [home / "start-0", home / "start-1"]
            figures = []
            for _ in range(options.rounds + 1):
                (took, memory), (others, other_memory) = map(starts, folders, data_dirs)
                figures.append(((took, others), (memory, other_memory)))
            show("start until ready, s", [row[0] for row in figures[1:]])
            show("memory idle, MB", [row[1] for row in figures[1:]])


def show(name: str, figures: Sequence[Sequence[float]]) -> None:
    """Print one row."""
    ours, other = (statistics.median(column) for column in zip(*figures, strict=True))
    ratio = statistics.median(row[0] / row[1] for row in figures)
    print(f"{name:24} {ours:10,.2f} {other:10,.2f}   {ratio:.3f}", flush=True)  # noqa: T201 - what the command is for


if __name__ == "__main__":
    main()
