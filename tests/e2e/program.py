"""Runs `python -m shortener ...` as a person would, in a process of its own."""

import os
import pty
import select
import subprocess
import sys
import time
from pathlib import Path

SECONDS_MAX = 30


def environment(**settings: str) -> dict[str, str]:
    """The environment of a command; `settings` are SHORTENER_ keys."""
    clean = {key: value for key, value in os.environ.items() if not key.startswith("SHORTENER_")}
    return clean | {"COLUMNS": "100"} | {f"SHORTENER_{key}": value for key, value in settings.items()}


def shortener(*arguments: str, cwd: Path, typed: str = "", **settings: str) -> "subprocess.CompletedProcess[str]":
    """Run one command to its end; `typed` is its standard input, a pipe."""
    return subprocess.run(
        [sys.executable, "-m", "shortener", *arguments],
        cwd=cwd,
        env=environment(**settings),
        input=typed,
        capture_output=True,
        text=True,
        timeout=SECONDS_MAX,
        check=False,
    )


def on_a_terminal(*arguments: str, cwd: Path, typed: tuple[str, ...] = (), **settings: str) -> tuple[int, str]:
    """Run one command on a terminal of its own; each of `typed` answers one prompt. Return status and output."""
    pid, terminal = pty.fork()
    if pid == 0:  # pragma: no cover - the child
        os.chdir(cwd)
        os.execve(sys.executable, [sys.executable, "-m", "shortener", *arguments], environment(**settings))
    output, answers = b"", list(typed)
    deadline = time.monotonic() + SECONDS_MAX
    asked = 0
    while time.monotonic() < deadline:
        readable, _, _ = select.select([terminal], [], [], 0.2)
        if not readable:
            continue
        try:
            piece = os.read(terminal, 4096)
        except OSError:  # the other end is gone
            break
        if not piece:
            break
        output += piece
        if answers and output.count(b": ") > asked:
            asked += 1
            os.write(terminal, answers.pop(0).encode() + b"\n")
    os.close(terminal)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), output.decode()
