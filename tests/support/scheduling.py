"""The time that threads ran and waited for a core, from Linux's schedstat."""

import os
from pathlib import Path


def cpu_seconds(pid: int) -> float:
    """How long the threads of a process have run."""
    return sum(_statistics(task)[0] for task in Path(f"/proc/{pid}/task").iterdir()) / 1e9


def queued_seconds(thread: str = "") -> float:
    """How long a thread of this process, the first one by default, was ready to run while others ran."""
    return _statistics(Path(f"/proc/{os.getpid()}/task/{thread or os.getpid()}"))[1] / 1e9


def queued_by_thread() -> dict[str, float]:
    """How long each thread of this process was ready to run while others ran."""
    return {thread: queued_seconds(thread) for thread in os.listdir("/proc/self/task")}


def _statistics(task: Path) -> tuple[int, int]:
    try:
        ran, waited, _ = (task / "schedstat").read_text().split()
    except (FileNotFoundError, ProcessLookupError):  # it has just ended
        return 0, 0
    return int(ran), int(waited)
