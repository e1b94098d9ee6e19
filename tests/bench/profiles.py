"""Where the time of the three hot paths goes: samples by py-spy (`pip install py-spy`), as text.

python -m tests.bench.profiles redirect|redirect-cold|get-url|create-url|create-qr [--seconds 8] [--native]
"""

import argparse
import contextlib
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from tests.bench.calls import create_body
from tests.bench.generators import CREATE_URL, GET_URL, grpc_frame, h2load, wrk
from tests.bench.messages import message_class
from tests.bench.redirects import CONNECTIONS, DESTINATION, HERE, codes_file
from tests.bench.servers import Ours, ours

SAMPLES_PER_SECOND = 400
SHOWN = 32
LINKS = 200_000
Run = Callable[[float], object]


def loads(server: Ours, folder: Path) -> dict[str, Run]:
    """What each path is loaded with, for about so many seconds."""
    code = server.create(DESTINATION)
    get, create, draw = folder / "get", create_body(folder, "create", omit_qr_code=True), create_body(folder, "draw")
    get.write_bytes(grpc_frame(message_class("url.GetURLRequest")(short_code=code).SerializeToString()))

    def calls(path: str, body: Path, connections: int, streams: int) -> Run:
        def run(seconds: float) -> object:
            shape = {"body": body, "connections": connections, "streams": streams}
            rate = h2load(server.running.url, path, calls=500, **shape).rate  # type: ignore[arg-type] # as they are
            return h2load(server.running.url, path, calls=int(rate * seconds), **shape)  # type: ignore[arg-type] # too

        return run

    return {
        "redirect": lambda seconds: wrk(
            f"http://{server.running.redirect}/{code}", seconds=seconds, connections=CONNECTIONS
        ),
        "redirect-cold": lambda seconds: wrk(
            f"http://{server.running.redirect}/",
            seconds=seconds,
            connections=CONNECTIONS,
            script=HERE / "uniform.lua",
            codes=codes_file(folder, LINKS),
        ),
        "get-url": calls(GET_URL, get, 10, 10),
        "create-url": calls(CREATE_URL, create, 64, 1),
        "create-qr": calls(CREATE_URL, draw, 64, 1),
    }


def fill(data_dir: Path, links: int) -> None:
    """Make a data directory with so many links."""
    command = [sys.executable, "-m", "tests.bench.load", "--data-dir", str(data_dir), "--links", str(links)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def sample(pid: int, run: Run, seconds: float, *, native: bool) -> Counter[tuple[str, ...]]:
    """Return how often each stack was seen while `run` loaded the server."""
    with tempfile.TemporaryDirectory() as folder:
        raw = Path(folder) / "raw"
        command = ["py-spy", "record", "--pid", str(pid), "--duration", str(int(seconds)), "--format", "raw"]
        command += ["--rate", str(SAMPLES_PER_SECOND), "--function", "--threads", "--output", str(raw)]
        spy = subprocess.Popen(
            [str(Path(sys.executable).with_name(command[0])), *command[1:], *(["--native"] if native else [])],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        run(seconds + 1)
        _, said = spy.communicate()
        if spy.returncode:
            raise RuntimeError(said.decode())
        stacks: Counter[tuple[str, ...]] = Counter()
        for line in raw.read_text().splitlines():
            stack, _, count = line.rpartition(" ")
            stacks[tuple(stack.split(";"))] += int(count)
    return stacks


def text(stacks: Counter[tuple[str, ...]]) -> str:
    """Threads, then functions by their own time and by that of all they call, in per cent of all samples."""
    whole = sum(stacks.values())
    threads: Counter[str] = Counter()
    own: Counter[str] = Counter()
    total: Counter[str] = Counter()
    for stack, count in stacks.items():
        threads[stack[0]] += count
        own[stack[-1]] += count
        for frame in set(stack):
            total[frame] += count
    lines = [f"{whole} samples"]
    lines += [f"{count / whole:6.1%}          {name}" for name, count in threads.most_common(8)]
    lines += ["   own   total  function"]
    lines += [f"{count / whole:6.1%}  {total[name] / whole:6.1%}  {name}" for name, count in own.most_common(SHOWN)]
    return "\n".join(lines)


def main() -> None:
    """Load a server, sample it, print."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.profiles", description=__doc__.splitlines()[0])
    parser.add_argument("path", choices=("redirect", "redirect-cold", "get-url", "create-url", "create-qr"))
    parser.add_argument("--seconds", type=float, default=8)
    parser.add_argument("--native", action="store_true", help="C functions too")
    options = parser.parse_args()
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        if options.path == "redirect-cold":
            fill(folder / "data", LINKS)
        server = stack.enter_context(ours(folder / "data", CACHE_SIZE_MAX=LINKS // 10))
        run = loads(server, folder)[options.path]
        run(1)
        server.settle()
        stacks = sample(server.running.process.pid, run, options.seconds, native=options.native)
    sys.stdout.write(text(stacks) + "\n")


if __name__ == "__main__":
    main()
