"""Runs `python -m shortener ...` as a person would, in a process of its own."""

import os
import pty
import re
import select
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from tests.support import warm

SECONDS_MAX = 30
Run = Callable[..., "subprocess.CompletedProcess[str]"]


def environment(**settings: object) -> dict[str, str]:
    """The environment of a command; `settings` are SHORTENER_ keys."""
    clean = {key: value for key, value in os.environ.items() if not key.startswith("SHORTENER_")}
    return clean | {"COLUMNS": "100"} | {f"SHORTENER_{key}": str(value) for key, value in settings.items()}


def shortener(
    *arguments: str, cwd: Path, typed: str = "", whole: bool = False, **settings: object
) -> "subprocess.CompletedProcess[str]":
    """Run one command to its end; `typed` is its standard input, a pipe. If `whole`, not as a fork (see warm.py)."""
    if warm.starter and not whole:
        return _run_warm(warm.starter, arguments, cwd=cwd, typed=typed, env=environment(**settings))
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


def _run_warm(
    starter: warm.Starter, arguments: tuple[str, ...], *, cwd: Path, typed: str, env: dict[str, str]
) -> "subprocess.CompletedProcess[str]":
    ours, theirs = os.pipe()
    with (
        os.fdopen(ours, "rb") as keys,
        tempfile.TemporaryFile("w+") as output,
        tempfile.TemporaryFile("w+") as complaint,
    ):
        with os.fdopen(theirs, "w") as writer:
            writer.write(typed)
        files = (keys.fileno(), output.fileno(), complaint.fileno())
        status = starter.start(arguments, env=env, cwd=cwd, files=files).wait(SECONDS_MAX)
        output.seek(0)
        complaint.seek(0)
        return subprocess.CompletedProcess(arguments, status, output.read(), complaint.read())


def on_a_terminal(
    *arguments: str, cwd: Path, typed: tuple[str, ...] = (), prompt: str = ": ", **settings: object
) -> tuple[int, str]:
    """Run one command on a terminal of its own; each of `typed` answers one `prompt`. Return status and output."""
    terminal, theirs = pty.openpty()
    env = environment(**settings)
    process: subprocess.Popen[bytes] | warm.Program
    if warm.starter:
        process = warm.starter.start(arguments, env=env, cwd=cwd, files=(theirs, theirs, theirs))
    else:
        script = "import os, sys; os.login_tty(0); os.execv(sys.executable, [sys.executable, '-m', *sys.argv[1:]])"
        command = [sys.executable, "-c", script, "shortener", *arguments]
        process = subprocess.Popen(command, env=env, cwd=cwd, stdin=theirs)
    os.close(theirs)
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
        if answers and output.count(prompt.encode()) > asked:
            asked += 1
            os.write(terminal, answers.pop(0).encode() + b"\n")
    os.close(terminal)
    return process.wait(SECONDS_MAX), output.decode()


def done(result: "subprocess.CompletedProcess[str]") -> str:
    assert (result.stderr, result.returncode) == ("", 0)
    return result.stdout


def failed(result: "subprocess.CompletedProcess[str]", status: int) -> str:
    """The one line on standard error of a command that failed."""
    assert (result.stdout, result.returncode) == ("", status), result.stderr
    assert re.fullmatch(r"shortener: [^\n]+\n", result.stderr), result.stderr
    return result.stderr.removeprefix("shortener: ").strip()
