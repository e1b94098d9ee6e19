"""Files of a backup: which names they may have, and the checksums they are known by."""

import hashlib
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO, Final, NamedTuple

from shortener.analytics.journal.segments import SEGMENT_NAME
from shortener.storage.files import DATABASE, JOURNAL, KEYS, open_plain, open_private

_FILES = "|".join(map(re.escape, (DATABASE, *KEYS)))
_NAMES = re.compile(rf"{_FILES}|{JOURNAL}/{SEGMENT_NAME.pattern}")
_PIECE: Final = 1 << 20
SIZE_MAX: Final = 1 << 62
"""Bytes; more than any file system holds."""

Report = Callable[[int], None]
"""Takes the number of bytes that have been done since the last call."""


class Checksum(NamedTuple):
    """What a file must be: its size in bytes, and its SHA-256 in hexadecimal digits."""

    size: int
    sha256: str


def is_ours(name: str) -> bool:
    """Tell whether a backup may hold a file of this name, a path with `/` relative to its directory."""
    return _NAMES.fullmatch(name) is not None


def checksum(path: Path, size_max: int = SIZE_MAX) -> Checksum:
    """Return the checksum of a plain file, or of a little more than its first `size_max` bytes. Raises `OSError`."""
    digest, size = hashlib.sha256(), 0
    with open_plain(path) as file:
        for piece in _pieces(file, size_max):
            digest.update(piece)
            size += len(piece)
    return Checksum(size, digest.hexdigest())


def copy(file: BinaryIO, target: Path, size_max: int = SIZE_MAX, report: Report = lambda size: None) -> Checksum:
    """Copy an open file to a new private one, sync that, and return what was copied. Raises `OSError`.

    Of a file that is longer than `size_max` bytes only a little more is copied.
    """
    digest, size = hashlib.sha256(), 0
    with open(target, "xb", opener=open_private) as new:
        for piece in _pieces(file, size_max):
            digest.update(piece)
            size += len(piece)
            new.write(piece)
            report(len(piece))
        new.flush()
        os.fsync(new.fileno())
    return Checksum(size, digest.hexdigest())


def _pieces(file: BinaryIO, size_max: int) -> Iterator[bytes]:
    size = 0
    while size <= size_max and (piece := file.read(_PIECE)):
        size += len(piece)
        yield piece
