"""The load generators, wrk and h2load, on a core of their own."""

import json
import re
import statistics
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.bench.machine import CLIENT_CORE, pinned

GET_URL = "/url.URLService/GetURL"
CREATE_URL = "/url.URLService/CreateURL"
LIMIT_SECONDS = 300
REPORT = Path(__file__).parent / "report.lua"


class GeneratorError(Exception):
    """The load generator failed, or what it saw was not an answer."""


@dataclass(frozen=True, slots=True)
class Load:
    """What one run of a generator saw. `p99` is in seconds; 0 where it was not asked for."""

    answered: int
    rate: float
    p99: float = 0.0
    body_bytes: int = 0


def wrk(
    url: str,
    *,
    seconds: float,
    connections: int,
    headers: Sequence[str] = (),
    script: Path | None = None,
    codes: Path | None = None,
) -> Load:
    """Requests as fast as they are answered. `script` makes the requests from the file `codes`."""
    command = pinned(
        CLIENT_CORE, "wrk", "-t1", f"-c{connections}", f"-d{max(1, round(seconds))}s", "-s", str(script or REPORT)
    )
    for header in headers:
        command += ["-H", header]
    said = _run([*command, url, "--", *([str(codes)] if codes else [])])
    summary = json.loads(said.splitlines()[-1])
    if summary["bad"]:
        raise GeneratorError(f"wrk saw {summary['bad']} errors: {said}")
    return Load(summary["answered"], summary["answered"] / summary["seconds"], summary["p99"])


def grpc_frame(message: bytes) -> bytes:
    """A message as a request body."""
    return b"\0" + len(message).to_bytes(4, "big") + message


def h2load(
    address: str, path: str, *, body: Path, calls: int, connections: int, streams: int, rate: float = 0.0
) -> Load:
    """gRPC calls, as fast as they are answered or at `rate` a second; every one must have been answered."""
    headers = ["-d", str(body), "-H", "content-type: application/grpc", "-H", "te: trailers"]
    return _h2load(f"http://{address}{path}", headers, calls=calls, connections=connections, streams=streams, rate=rate)


def steady_gets(url: str, *, calls: int, connections: int, rate: float) -> Load:
    """HTTP/1.1 requests at `rate` a second."""
    return _h2load(url, ["--h1"], calls=calls, connections=connections, streams=1, rate=rate)


def _h2load(url: str, options: list[str], *, calls: int, connections: int, streams: int, rate: float) -> Load:
    calls = max(connections, calls - calls % connections)
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "log"
        command = pinned(CLIENT_CORE, "h2load", "-n", str(calls), "-c", str(connections), "-m", str(streams), *options)
        if rate:
            command += ["--rps", f"{rate / connections:.3f}", "--log-file", str(log)]
        said = _run([*command, url])
        p99 = _p99(log) if rate else 0.0
    answered, speed = _found(r"(\d+) succeeded", said), _found(r"([\d.]+) req/s", said)
    size = re.search(r"\((\d+)\) data", said)
    if answered != calls or size is None:
        raise GeneratorError(said)
    return Load(int(answered), speed, p99, int(size[1]))


def _p99(log: Path) -> float:
    took = [int(line.split("\t")[2]) for line in log.read_text().splitlines()]
    return statistics.quantiles(took, n=100)[98] / 1e6


def _found(pattern: str, said: str) -> float:
    found = re.search(pattern, said)
    if found is None:
        raise GeneratorError(said)
    return float(found[1])


def _run(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT_SECONDS, check=False)
    if done.returncode:
        raise GeneratorError(f"{' '.join(command)} ended with {done.returncode}: {done.stdout}{done.stderr}")
    return done.stdout
