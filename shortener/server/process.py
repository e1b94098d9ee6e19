"""`shortener serve` as a process: the event loop, signals, the ready message, and one line for whatever prevents it."""

import asyncio
import errno
import gc
import itertools
import logging
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from shortener.clock import system_clock
from shortener.config.sections import Config
from shortener.observe.log import OncePerSecond
from shortener.server import ready
from shortener.server.descriptors import within_open_files
from shortener.server.listeners import Servers, open_servers
from shortener.server.sockets import Sockets
from shortener.server.systemd import notify
from shortener.storage import files
from shortener.storage.data_dir import lock_data_dir
from shortener.storage.sqlite.migrate import load_migrations, migrate, pending

log = logging.getLogger(__name__)

SWITCH_SECONDS = 0.0005
FULL_ROUND_AFTER = 100
"""Rounds of the garbage collector over young objects before one over all; Python's own is 10."""
_NO_DESCRIPTORS = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)


def run(config: Config, sockets: Sockets) -> None:
    """Serve on bound sockets until SIGTERM or SIGINT, then drain and return. Raises `OperatorError`."""
    with asyncio.Runner(loop_factory=_loop_factory(config)) as runner:
        runner.run(_serve(within_open_files(config), sockets))


def run_migrations(config: Config, report: Callable[[int, int], None]) -> list[str]:
    """Bring the database up to date and return the names of the migrations applied.

    `report` hears how many are done, and of how many, at the begin and after each. Raises `OperatorError`.
    """
    path, timeout = Path(config.storage.data_dir) / files.DATABASE, config.storage.busy_timeout_seconds
    migrations = load_migrations()
    with lock_data_dir(path.parent, for_owner=True):
        total = len(pending(path, migrations, busy_timeout_seconds=timeout))
        done = itertools.count(1)
        report(0, total)
        applied = migrate(
            path,
            migrations,
            busy_timeout_seconds=timeout,
            clock=system_clock,
            on_applied=lambda _: report(next(done), total),
        )
    return [migration.file_name for migration in applied]


def _loop_factory(config: Config) -> "type[asyncio.AbstractEventLoop] | None":
    if not config.server.uvloop:
        return None
    try:
        import uvloop  # noqa: PLC0415 - only where it is installed
    except ImportError:
        return None
    return uvloop.Loop


def _favour_the_loop() -> None:
    """Set what holds for the whole process, which is ours, so that nothing keeps the event loop's thread waiting.

    Other threads hand Python's lock back in half a millisecond instead of five. What the start has made is not looked
    at by the garbage collector again: a full round then takes 3 ms instead of 40. It looks at every call that waits,
    so it comes a tenth as often: with 6,400 creates waiting it took a third of the core.
    """
    sys.setswitchinterval(SWITCH_SECONDS)
    gc.collect()
    gc.freeze()
    gc.set_threshold(*gc.get_threshold()[:2], FULL_ROUND_AFTER)


async def _serve(config: Config, sockets: Sockets) -> None:
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(_LoopErrors())
    stop = _Stop(loop)
    try:
        async with open_servers(config, sockets) as servers:
            _started(servers)
            await stop.wait()
            notify("STOPPING=1")
    except asyncio.CancelledError:
        if not stop.has_come:  # somebody else cancels us
            raise
    log.info("stopped")


def _started(servers: Servers) -> None:
    _favour_the_loop()
    addresses = servers.app.addresses
    if sys.stdout.isatty():
        base_url = servers.app.links.short_url("").removesuffix("/")
        sys.stdout.write(ready.for_people(addresses, base_url=base_url, data_dir=servers.app.core.data_dir))
    else:
        sys.stdout.write(ready.for_programs(addresses))
    sys.stdout.flush()
    if not (sys.stdout.isatty() and sys.stderr.isatty()):  # one person would read the same twice
        log.info("ready", extra=addresses)
    notify("READY=1")


class _LoopErrors:
    """asyncio's own complaints. Without a descriptor to accept with it has a thousand at once: one a second will do."""

    def __init__(self) -> None:
        self._may_log = OncePerSecond()

    def __call__(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        if not (isinstance(error, OSError) and error.errno in _NO_DESCRIPTORS):
            loop.default_exception_handler(context)
        elif self._may_log():
            log.error("no descriptor is left to accept connections with", extra={"reason": os.strerror(error.errno)})


class _Stop:
    """SIGTERM and SIGINT. Whoever makes it may be stopped by the first, also while it starts; the second ends all."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._asked = asyncio.Event()
        self._starting = asyncio.current_task(loop)
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._on_signal, number)

    @property
    def has_come(self) -> bool:
        """Whether there was a signal."""
        return self._asked.is_set()

    async def wait(self) -> None:
        """Return at the first signal. Until this is called it cancels the task that made this."""
        self._starting = None
        await self._asked.wait()

    def _on_signal(self, number: signal.Signals) -> None:
        if self._asked.is_set():
            log.warning("second signal, ending at once", extra={"signal": number.name})
            os._exit(128 + number)
        log.info("stopping", extra={"signal": number.name})
        self._asked.set()
        if self._starting is not None:
            self._starting.cancel()
