"""Starts the real server as its own process, on ports that the system picks."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from tests.support import warm

START_SECONDS = 30
STOP_SECONDS = 20
SERVE = (sys.executable, "-m", "shortener", "serve")
PORT_KEYS = ("GRPC_URL_PORT", "GRPC_USER_PORT", "GRPC_ANALYTICS_PORT", "GATEWAY_PORT", "REDIRECT_PORT")


@dataclass
class Running:
    """A server that said it is ready, and where it listens."""

    process: "subprocess.Popen[bytes] | warm.Program"
    url: str
    user: str
    analytics: str
    gateway: str
    redirect: str
    ready: dict[str, object]
    log: Path
    settings: dict[str, object]

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(STOP_SECONDS)
        self._close()

    def stop(self) -> int:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        status = self.process.wait(STOP_SECONDS)
        self._close()
        return status

    def _close(self) -> None:
        assert self.process.stdout is not None
        self.process.stdout.close()


def environment(data_dir: Path, **settings: object) -> dict[str, str]:
    """The environment of a server that picks free ports and ends without notice; `settings` are SHORTENER_ keys."""
    clean = {key: value for key, value in os.environ.items() if not key.startswith("SHORTENER_")}
    ports = {f"SHORTENER_{key}": "0" for key in PORT_KEYS} | {"SHORTENER_SERVER_NOTICE_SECONDS": "0"}
    chosen = {f"SHORTENER_{key}": str(value) for key, value in settings.items()}
    return clean | ports | {"SHORTENER_STORAGE_DATA_DIR": str(data_dir)} | chosen


def start(
    data_dir: Path, *, command: tuple[str, ...] = (), pass_fds: tuple[int, ...] = (), **settings: object
) -> Running:
    """Start `shortener serve` and wait for its ready line; with a `command`, such as `SERVE`, not as a fork."""
    handle, log = tempfile.mkstemp(suffix=".log", dir=data_dir.parent)
    process: subprocess.Popen[bytes] | warm.Program
    env, cwd = environment(data_dir, **settings), data_dir.parent
    with os.fdopen(handle, "wb") as errors:
        if warm.starter and not command and not pass_fds:
            process = _start_warm(warm.starter, data_dir, env, errors)
        else:
            process = subprocess.Popen(
                command or SERVE, env=env, cwd=cwd, stdout=subprocess.PIPE, stderr=errors, pass_fds=pass_fds
            )
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        process.wait(START_SECONDS)
        process.stdout.close()
        raise AssertionError(f"no ready line, exit {process.returncode}: {Path(log).read_text()}")
    ready = json.loads(line)
    names = ("url", "user", "analytics", "gateway", "redirect")
    return Running(process, *(ready[name] for name in names), ready=ready, log=Path(log), settings=settings)


def _start_warm(starter: warm.Starter, data_dir: Path, env: dict[str, str], errors: IO[bytes]) -> warm.Program:
    starter.prepare(data_dir)
    ours, theirs = os.pipe()
    with open(os.devnull, "rb") as nothing, os.fdopen(theirs, "wb") as output:
        files = (nothing.fileno(), output.fileno(), errors.fileno())
        process = starter.start(("serve",), env=env, cwd=data_dir.parent, files=files)
    process.stdout = os.fdopen(ours, "rb")
    return process


@contextlib.contextmanager
def running(data_dir: Path, **settings: object) -> Iterator[Running]:
    """Start a server; stop it in the end, and see that it left with status 0."""
    server = start(data_dir, **settings)
    try:
        yield server
    except BaseException:
        sys.stderr.write(server.log.read_text()[-5000:])
        server.kill()
        raise
    if server.process.poll() is None:
        assert server.stop() == 0, server.log.read_text()[-5000:]
