"""Files of a backup: private, on the disk before they are named, and known by their checksums."""

import hashlib
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import IO, Final, NamedTuple

from shortener.analytics.journal.segments import SEGMENT_NAME
from shortener.storage.files import DATABASE, JOURNAL, KEYS

PRIVATE_FILE: Final = 0o600
PRIVATE_DIRECTORY: Final = 0o700

_FILES = "|".join(map(re.escape, (DATABASE, *KEYS)))
_NAMES = re.compile(rf"{_FILES}|{JOURNAL}/{SEGMENT_NAME.pattern}")
_PIECE = 1 << 20

Report = Callable[[int], None]
"""Hears of bytes that are done."""


class Checksum(NamedTuple):
    """What a file must be: its size in bytes, and its SHA-256 in hexadecimal digits."""

    size: int
    sha256: str


def is_ours(name: str) -> bool:
    """Tell whether a backup may hold a file of this name, a path with `/` relative to its directory."""
    return _NAMES.fullmatch(name) is not None


def checksum(path: Path, report: Report = lambda size: None) -> Checksum:
    """Return what the file is. Raises `OSError`."""
    digest, size = hashlib.sha256(), 0
    with path.open("rb") as file:
        while piece := file.read(_PIECE):
            digest.update(piece)
            size += len(piece)
            report(len(piece))
    return Checksum(size, digest.hexdigest())


def copy(source: Path, target: Path, report: Report = lambda size: None) -> Checksum:
    """Copy a file to a new one for its owner alone, sync that, and return what was copied. Raises `OSError`."""
    digest, size = hashlib.sha256(), 0
    with source.open("rb") as old, open(target, "xb", opener=_open_private) as new:
        while piece := old.read(_PIECE):
            digest.update(piece)
            size += len(piece)
            new.write(piece)
            report(len(piece))
        _sync(new)
    return Checksum(size, digest.hexdigest())


def write(target: Path, content: bytes) -> None:
    """Write a new file for its owner alone, and sync it. Raises `OSError`."""
    with open(target, "xb", opener=_open_private) as file:
        file.write(content)
        _sync(file)


def _sync(file: IO[bytes]) -> None:
    file.flush()
    os.fchmod(file.fileno(), PRIVATE_FILE)  # whatever the umask took away
    os.fsync(file.fileno())


def make_directory(path: Path) -> None:
    """Make a new directory for its owner alone. Raises `OSError`."""
    path.mkdir(mode=PRIVATE_DIRECTORY)
    path.chmod(PRIVATE_DIRECTORY)


def _open_private(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_CLOEXEC | os.O_NOFOLLOW, PRIVATE_FILE)
