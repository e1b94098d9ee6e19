"""The data directory's files that hold something worth keeping: their names, and how private ones are written.

A private file is whole or not there at all, also when the process is killed meanwhile. Whoever writes one owns its
directory: no other process writes there. All functions wait for the disk and raise `OSError`.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

DATABASE: Final = "shortener.db"
JOURNAL: Final = "journal"
"""A directory: the clicks that may not be in the database yet."""
SECRET: Final = "secret"  # noqa: S105 - a file's name
"""Signs tokens."""
VISITOR_KEY: Final = "visitor.key"
REPLAY_KEY: Final = "idempotency.key"
KEYS: Final = (SECRET, VISITOR_KEY, REPLAY_KEY)

_MODE = 0o600


def create(path: Path, content: bytes) -> None:
    """Put a new file at `path`, which also a power cut leaves there; one that came first stays as it is."""
    with _draft(path, content) as draft:
        try:
            path.hardlink_to(draft)
        except FileExistsError:
            return
        except OSError:  # a file system without hard links
            draft.rename(path)
    sync_directory(path.parent)


def replace(path: Path, content: bytes) -> None:
    """Put a file at `path` in place of what is there, if anything; after a power cut it may be the old one."""
    with _draft(path, content) as draft:
        draft.replace(path)


def sync_directory(path: Path) -> None:
    """Make names in a directory durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _draft(path: Path, content: bytes) -> Iterator[Path]:
    """Lend the content in a file beside `path`. It has one name always, so that none of a killed process stays."""
    draft = path.with_name(f".{path.name}.new")
    draft.unlink(missing_ok=True)
    try:
        with open(draft, "xb", opener=_open_private) as file:
            file.write(content)
            file.flush()
            os.fchmod(file.fileno(), _MODE)  # whatever the umask took away
            os.fsync(file.fileno())
        yield draft
    finally:
        draft.unlink(missing_ok=True)


def _open_private(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_CLOEXEC | os.O_NOFOLLOW, _MODE)
