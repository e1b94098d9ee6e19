"""What the figures were measured on, and how much of it somebody else was using."""

import atexit
import contextlib
import os
import platform
import resource
import statistics
import time
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")
SERVER_CORE, CLIENT_CORE = 0, 1


def pinned(core: int | None, *command: str) -> list[str]:
    """The command, on one core where there are several; at the priority that this process has, which it inherits."""
    return ["taskset", "-c", str(core), *command] if core is not None and (os.cpu_count() or 1) > 1 else [*command]


def describe(folder: Path) -> dict[str, object]:
    """The machine in words that name nobody."""
    models = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    memory = Path("/proc/meminfo").read_text().split()[1]
    return {
        "cpu": models[0].partition(":")[2].strip() if models else platform.processor(),
        "cores": os.cpu_count(),
        "memory_gib": round(int(memory) / 1024**2, 1),
        "kernel": platform.release().partition("-")[0],
        "python": platform.python_version(),
        "disk_sync_ms": round(sync_seconds(folder) * 1000, 3),
    }


def sync_seconds(folder: Path) -> float:
    """How long the disk takes for one appended page: median of 200."""
    path = folder / "sync.probe"
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    took = []
    try:
        for _ in range(200):
            os.write(file, bytes(4096))
            started = time.perf_counter()
            os.fdatasync(file)
            took.append(time.perf_counter() - started)
    finally:
        os.close(file)
        path.unlink()
    return statistics.median(took)


def take_priority(nice: int) -> None:
    """Give this process, and all that it starts, a priority; below 0 only root may.

    Where the kernel groups processes by session it is the group's priority that counts; that is set back at the end.
    """
    if not nice:
        return
    os.nice(nice)
    group = Path("/proc/self/autogroup")
    with contextlib.suppress(OSError):
        before = group.read_text().split()[-1]
        group.write_text(str(nice))
        atexit.register(group.write_text, before)


class Neighbours:
    """Measures what share of the machine others used since it was made: 0.0 is a quiet machine, 1.0 a full one."""

    def __init__(self) -> None:
        self._started, self._busy, self._own = time.monotonic(), _busy(), _own()

    def share(self) -> float:
        whole = (time.monotonic() - self._started) * (os.cpu_count() or 1)
        others = (_busy() - self._busy) - (_own() - self._own)
        return max(0.0, others / whole) if whole else 0.0


def _busy() -> float:
    """CPU seconds that this machine has worked (user, nice, system, irq, softirq, steal)."""
    fields = [int(text) for text in Path("/proc/stat").read_text().splitlines()[0].split()[1:]]
    return sum(fields[index] for index in (0, 1, 2, 5, 6, 7)) / TICKS


def _own() -> float:
    """CPU seconds of this process and all its descendants, living or not."""
    used = sum(
        resource.getrusage(who)[0] + resource.getrusage(who)[1]
        for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    )
    pending = _children(os.getpid())
    while pending:
        pid = pending.pop()
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        used += sum(int(text) for text in fields[11:15]) / TICKS
        pending += _children(pid)
    return used


def _children(pid: int) -> list[int]:
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            found += [int(text) for text in task.read_text().split()]
        except OSError:
            continue
    return found
