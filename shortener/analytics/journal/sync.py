"""Bringing the click journal's files to the disk, on a thread of its own."""

import asyncio
import contextlib
import logging
import os
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Final, Literal, TypeAlias

from shortener.observe.log import OncePerSecond

_log = logging.getLogger(__name__)
_FORGETTING: Final = 0.95
"""After each sync, that much remains of what slower ones before it have taken: a tenth after 45 of them."""

Durability: TypeAlias = Literal["kernel", "power"]


class DiskSync:
    """Syncs what was written: within `sync_seconds` ("kernel"), or at once for all that wait in `settled` ("power").

    Used on the event loop alone, which runs `run` as a task.
    """

    def __init__(self, directory: Path, *, durability: Durability, sync_seconds: float) -> None:
        self.failures = 0
        """How often the disk has refused to confirm since the start."""
        self.dirty_file: int | None = None
        """The file that has data of which no sync has begun."""
        self._directory = directory
        self._durability = durability
        self._sync_seconds = sync_seconds
        self._slow_sync_seconds = 0.25 * sync_seconds  # until there was one
        self._retired: list[int] = []
        self._is_created = False
        self._is_dirty = False
        self._dirty_since = 0.0  # when the oldest click was written that no sync has begun for; by the monotonic clock
        self._has_work = asyncio.Event()
        self._waiting: list[asyncio.Future[None]] = []
        self._closing = asyncio.Event()
        self._may_log = OncePerSecond()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="journal-sync")

    def created(self) -> None:
        """Note that there is a new file in the directory."""
        self._is_created = True

    def written(self, file: int) -> None:
        """Note that there is new data in this file, the one that is written to; needless while it is `dirty_file`."""
        self.dirty_file = file
        if not self._is_dirty:
            self._is_dirty = True
            self._dirty_since = time.monotonic()
            self._has_work.set()

    def retire(self, file: int) -> None:
        """Take over a file that nothing is written to any more; it is closed when it is on the disk."""
        self._retired.append(file)
        if self.dirty_file == file:
            self.dirty_file = None

    async def settled(self) -> None:
        """Return when all that was written is as durable as configured: with "kernel", at once."""
        if self._durability == "kernel" or self._closing.is_set():
            return
        done = asyncio.get_running_loop().create_future()
        self._waiting.append(done)
        self._has_work.set()
        await done

    async def run(self) -> None:
        """Sync until `close`."""
        try:
            while not self._closing.is_set():
                await self._has_work.wait()
                due = time.monotonic()
                if self._durability == "kernel":
                    due = await self._wait_for_more()
                await self._sync(due)
        finally:
            self._closing.set()
            self._release(self._waiting)

    async def close(self, task: asyncio.Task[None]) -> None:
        """End the task that runs `run`, and sync what is left."""
        self._closing.set()
        self._has_work.set()
        try:
            await task
            await self._sync(time.monotonic())
        finally:
            self._thread.shutdown(wait=True)  # Idle, unless this was cancelled.
            for file in self._retired:
                os.close(file)

    async def _wait_for_more(self) -> float:
        """Wait for as long as the oldest click will be on the disk in time all the same; return until when.

        The next sync may take as long as slow ones of late, and a quarter of the time is left for one that is slower.
        """
        now = time.monotonic()
        due = max(now, self._dirty_since + 0.75 * self._sync_seconds - self._slow_sync_seconds)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(due - now):
                await self._closing.wait()
        return due

    async def _sync(self, due: float) -> None:
        """Bring all that was written to the disk, and learn how long that takes from when it was due."""
        waiting, self._waiting = self._waiting, []
        retired, self._retired = self._retired, []
        files = [*retired, *([self.dirty_file] if self.dirty_file is not None else [])]
        directory = self._directory if self._is_created else None
        self._is_created = self._is_dirty = False
        self.dirty_file = None
        self._has_work.clear()
        try:
            if files or directory is not None:
                work = partial(_sync, files, retired, directory)
                await asyncio.get_running_loop().run_in_executor(self._thread, work)
        except OSError as error:
            self.failures += 1
            if self._may_log():
                _log.error("clicks cannot be synced to disk: %s", error.strerror)
        finally:
            self._slow_sync_seconds = max(time.monotonic() - due, self._slow_sync_seconds * _FORGETTING)
            self._release(waiting)

    def _release(self, waiting: list[asyncio.Future[None]]) -> None:
        for done in waiting:
            if not done.done():
                done.set_result(None)


def _sync(files: list[int], retired: list[int], directory: Path | None) -> None:
    """Wait until files and their directory are on the disk, and close the retired ones. Raises `OSError`."""
    with contextlib.ExitStack() as stack:
        for file in retired:
            stack.callback(os.close, file)
        for file in files:
            os.fdatasync(file)
        if directory is not None:
            opened = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
            stack.callback(os.close, opened)
            os.fsync(opened)
