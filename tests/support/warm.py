"""Starts `shortener ...` as a fork of a process that has loaded the program already, which saves a second of CPU.

Such a start leaves out Python's own start, the imports and the reading of the patterns of user agents. Everything from
the command line on is as ever. Tests of the start itself, of another Python and of other commands do not use it.
"""

import contextlib
import gc
import importlib
import json
import os
import resource
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from typer.main import get_command

from shortener.analytics.clients import geo
from shortener.cli import program as cli

REQUEST_MAX = 1 << 17
END_SECONDS = 10
LOADED = ("shortener.cli.client", "shortener.server.process", "shortener.backup", "uvloop", "rich.progress")


class Program:
    """A fork that runs, with what tests use of `subprocess.Popen`."""

    def __init__(self, pid: int, status: IO[bytes]) -> None:
        self.pid = pid
        self.stdout: IO[bytes] | None = None
        self.returncode: int | None = None
        self._status, self._lock = status, threading.Lock()

    def send_signal(self, number: int) -> None:
        """Send a signal, unless the program has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """Send SIGKILL."""
        self.send_signal(signal.SIGKILL)

    def poll(self) -> int | None:
        """Return the exit status, or None while the program runs."""
        return self._look(0)

    def wait(self, timeout: float | None = None) -> int:
        """Return the exit status. Raises `subprocess.TimeoutExpired` after `timeout` seconds."""
        status = self._look(timeout)
        if status is None:
            raise subprocess.TimeoutExpired("shortener", timeout or 0)
        return status

    def _look(self, seconds: float | None) -> int | None:
        with self._lock:
            if self.returncode is None:
                ready = select.poll()
                ready.register(self._status, select.POLLIN)
                if ready.poll(None if seconds is None else seconds * 1000):
                    self.returncode = int(self._status.read())
                    self._status.close()
            return self.returncode


class Starter:
    """The worker's side: asks for forks, one at a time. The process to fork is started with the first."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._folder = tempfile.TemporaryDirectory(prefix="countries-")
        self._loaded: subprocess.Popen[bytes] | None = None
        self._socket: socket.socket | None = None

    def start(
        self, arguments: Sequence[str], *, env: Mapping[str, str], cwd: Path, files: tuple[int, int, int]
    ) -> Program:
        """Run `shortener` with arguments on these files: standard input, output and error; one terminal, or none."""
        limits = resource.getrlimit(resource.RLIMIT_NOFILE)
        request = json.dumps({"arguments": list(arguments), "env": dict(env), "cwd": str(cwd), "open_files": limits})
        with self._lock:
            connection = self._socket = self._socket or self._load()
            ours, theirs = os.pipe()
            socket.send_fds(connection, [request.encode()], [*files, theirs])
            os.close(theirs)
            pid = int(connection.recv(16))
        return Program(pid, os.fdopen(ours, "rb"))

    def prepare(self, data_dir: Path) -> None:
        """Make a data directory, if there is none, as an earlier run leaves it: with the table of countries unpacked.

        Unpacking takes a fifth of a second of CPU.
        """
        if not data_dir.exists():
            data_dir.mkdir(mode=0o700)
            table = geo.unpack_countries(Path(self._folder.name))
            with contextlib.suppress(OSError):  # on another file system; the server unpacks it then
                os.link(table, data_dir / table.name)

    def end(self) -> None:
        """End the process to fork. Its forks run on."""
        self._folder.cleanup()
        if self._socket is not None and self._loaded is not None:
            self._socket.close()
            self._loaded.wait(END_SECONDS)

    def _load(self) -> socket.socket:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        clean = {key: value for key, value in os.environ.items() if not key.startswith("SHORTENER_")}
        with theirs:
            self._loaded = subprocess.Popen(
                [sys.executable, "-m", "tests.support.warm", str(theirs.fileno())],
                cwd=Path(__file__).parents[2],
                env=clean,
                pass_fds=[theirs.fileno()],
            )
        return ours


starter: Starter | None = None
"""Set while pytest runs the quick form of tests; long forms and benchmarks measure whole processes."""


@dataclass
class Fork:
    """What to become: a request, and its standard input, output and error."""

    arguments: list[str]
    env: dict[str, str]
    cwd: str
    open_files: tuple[int, int]
    files: list[int]

    def become(self) -> None:
        """Take over all that a new process would have been given."""
        signal.signal(signal.SIGINT, signal.default_int_handler)
        if os.isatty(self.files[0]):
            os.login_tty(os.dup(self.files[0]))
        for number, file in enumerate(self.files):
            os.dup2(file, number)
            os.close(file)
        os.environ.clear()
        os.environ.update(self.env)
        time.tzset()
        os.chdir(self.cwd)
        resource.setrlimit(resource.RLIMIT_NOFILE, self.open_files)
        sys.argv = ["shortener", *self.arguments]


def fork_for(connection: socket.socket) -> Fork | None:
    """Fork for each request and tell how each fork ends. Return in each fork, and with None when nobody asks more."""
    running: dict[int, tuple[int, int]] = {}  # a file that is readable when a fork has ended: its id, where to tell
    while True:
        ready, _, _ = select.select([connection, *running], [], [])
        for ended in running.keys() & ready:
            pid, status = running.pop(ended)
            os.write(status, str(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])).encode())
            os.close(status)
            os.close(ended)
        if connection not in ready:
            continue
        request, given, _, _ = socket.recv_fds(connection, REQUEST_MAX, 4)
        if not request:
            return None
        *files, status = given
        pid = os.fork()
        if pid == 0:
            connection.close()
            for file in (status, *running, *(other for _, other in running.values())):
                os.close(file)
            return Fork(**json.loads(request), files=files)
        connection.send(str(pid).encode())
        for file in files:
            os.close(file)
        running[os.pidfd_open(pid)] = (pid, status)


def main(number: int) -> None:
    """Load the program, fork, and in each fork be the program."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # whoever is interrupted at a terminal ends us by closing
    for name in LOADED:
        with contextlib.suppress(ImportError):  # not every Python has uvloop
            importlib.import_module(name)
    get_command(cli.main).make_context("shortener", ["version"])  # loads what reads options
    gc.freeze()  # memory that is not looked at stays shared
    fork = fork_for(socket.socket(fileno=number))
    if fork is not None:
        fork.become()
        cli.main()


if __name__ == "__main__":
    main(int(sys.argv[1]))
