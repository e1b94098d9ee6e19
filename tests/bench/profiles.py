"""Where the time of the hot paths goes, as text: CPU by thread, and samples of who holds Python's lock, by py-spy.

pip install py-spy
python -m tests.bench.profiles redirect|redirect-cold|get-url|create-url|create-qr [--seconds 8]
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
from tests.bench.machine import TICKS
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


def sample(pid: int, run: Run, seconds: float) -> Counter[tuple[str, ...]]:
    """Return how often each stack was seen to hold Python's lock while `run` loaded the server."""
    with tempfile.TemporaryDirectory() as folder:
        raw = Path(folder) / "raw"
        command = [str(Path(sys.executable).with_name("py-spy")), "record", "--pid", str(pid), "--gil", "--function"]
        command += ["--duration", str(int(seconds)), "--rate", str(SAMPLES_PER_SECOND), "--format", "raw"]
        spy = subprocess.Popen([*command, "--output", str(raw)], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        run(seconds + 1)
        _, said = spy.communicate()
        if spy.returncode:
            raise RuntimeError(said.decode())
        stacks: Counter[tuple[str, ...]] = Counter()
        for line in raw.read_text().splitlines():
            stack, _, count = line.rpartition(" ")
            stacks[tuple(stack.split(";"))] += int(count)
    return stacks


def thread_seconds(pid: int) -> dict[int, float]:
    """CPU seconds of each thread so far. Threads are numbered in order of their start; 0 is the event loop's."""
    used = []
    for task in sorted(Path(f"/proc/{pid}/task").iterdir(), key=lambda path: int(path.name)):
        fields = (task / "stat").read_text().rpartition(")")[2].split()
        used.append((int(fields[11]) + int(fields[12])) / TICKS)
    return dict(enumerate(used))


def text(stacks: Counter[tuple[str, ...]]) -> str:
    """Functions by their own time and by that of all they call, in per cent of all samples."""
    whole = sum(stacks.values())
    own: Counter[str] = Counter()
    total: Counter[str] = Counter()
    for stack, count in stacks.items():
        own[stack[-1]] += count
        for frame in set(stack):
            total[frame] += count
    lines = [f"{whole} samples", "   own   total  function"]
    lines += [f"{count / whole:6.1%}  {total[name] / whole:6.1%}  {name}" for name, count in own.most_common(SHOWN)]
    return "\n".join(lines)


def main() -> None:
    """Load a server, sample it, print."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.profiles", description=__doc__.splitlines()[0])
    parser.add_argument("path", choices=("redirect", "redirect-cold", "get-url", "create-url", "create-qr"))
    parser.add_argument("--seconds", type=float, default=8)
    options = parser.parse_args()
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        if options.path == "redirect-cold":
            fill(folder / "data", LINKS)
        server = stack.enter_context(ours(folder / "data", CACHE_SIZE_MAX=LINKS // 10))
        run = loads(server, folder)[options.path]
        run(1)
        server.settle()
        pid = server.running.process.pid
        before = thread_seconds(pid)
        run(options.seconds)
        used = {thread: now - before.get(thread, 0) for thread, now in thread_seconds(pid).items()}
        server.settle()
        stacks = sample(pid, run, options.seconds)
    busy = ", ".join(f"{thread}: {seconds:.1f} s" for thread, seconds in used.items() if seconds >= 0.1)
    sys.stdout.write(f"CPU by thread (0 is the event loop's) in {options.seconds:g} s: {busy}\n{text(stacks)}\n")


if __name__ == "__main__":
    main()
