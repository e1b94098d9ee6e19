"""A file that the operator may replace at any time, kept in memory as it last made sense."""

import logging
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import BinaryIO, Generic, TypeAlias, TypeVar

from shortener.errors import OperatorError

log = logging.getLogger(__name__)

CHUNK_BYTES = 32_768
"""Read and parsed at a time: a few milliseconds of work."""
LINE_BYTES_MAX = 4096
REST_SECONDS = 0.003
"""Pause after each chunk of a reload, in which the event loop has Python's lock for itself."""

T = TypeVar("T")
_State: TypeAlias = tuple[int, ...] | None


class Stopped(Exception):  # noqa: N818 - no error: the reading was called off
    """Reading was called off because the server stops."""


class ListFile(Generic[T]):
    """One file's content, read by `read` from its lines. Everything here blocks: call it on a thread.

    The file is looked at again whenever its size, times or inode have changed; `value` is then replaced in one step.
    A file that is gone, or that `read` refuses with `OperatorError`, changes nothing but `failures`; it is logged once.
    """

    def __init__(self, path: Path, read: Callable[[Iterable[str]], T]) -> None:
        """Read the file for the first time. Raises `OperatorError`."""
        self.path = path
        self.failures = 0
        self._read = read
        self._stopping = threading.Event()
        try:
            self._state, self.value = self._load(rest_seconds=0)
        except OSError as error:
            raise OperatorError(f"cannot be read: {error.strerror}") from None

    def stop(self) -> None:
        """Call off a `check` under way, and all later ones. Can be called from any thread."""
        self._stopping.set()

    def check(self) -> None:
        """Read the file again if it has changed. Raises nothing that the file can cause."""
        state = self._now()
        if state == self._state:
            return
        started = time.monotonic()
        try:
            if state is None:
                raise OperatorError("cannot be read: No such file or directory")
            self._state, self.value = self._load(rest_seconds=REST_SECONDS)
        except (OSError, OperatorError) as error:
            self.failures += 1
            self._state = state
            facts = {"path": str(self.path), "reason": str(error)}
            log.warning("a list was not read again, the one before it holds", extra=facts)
        except Stopped:
            return
        else:
            seconds = round(time.monotonic() - started, 3)
            log.info("a list was read again", extra={"path": str(self.path), "seconds": seconds})

    def _now(self) -> _State:
        try:
            return _state_of(os.stat(self.path))
        except OSError:
            return None

    def _load(self, *, rest_seconds: float) -> tuple[_State, T]:
        """Return what the file holds, and the state it was in then. Raises `OperatorError`, `OSError`, `Stopped`."""
        with self.path.open("rb", buffering=0) as file:
            before = _state_of(os.fstat(file.fileno()))
            value = self._read(self._lines(file, rest_seconds))
            after = _state_of(os.fstat(file.fileno()))
        if before != after:
            raise OperatorError("changed while it was read")
        return after, value

    def _lines(self, file: BinaryIO, rest_seconds: float) -> Iterator[str]:
        rest = b""
        while chunk := file.read(CHUNK_BYTES):
            if self._stopping.is_set():
                raise Stopped
            lines, _, rest = (rest + chunk).rpartition(b"\n")
            if len(rest) > LINE_BYTES_MAX or b"\0" in chunk:
                raise OperatorError("is no text of lines")
            yield from _text(lines).split("\n")
            time.sleep(rest_seconds)
        yield _text(rest)


def _text(lines: bytes) -> str:
    try:
        return lines.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise OperatorError("is not UTF-8 text") from None


def _state_of(status: os.stat_result) -> tuple[int, ...]:
    return (status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
