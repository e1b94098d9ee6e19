"""The data directory's files that hold something worth keeping: their names, and how private ones are written.

A private file is whole or not there at all, also when the process is killed meanwhile. Whoever writes one owns its
directory: no other process writes there. All functions wait for the disk and raise `OSError`.
"""

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Final

DATABASE: Final = "shortener.db"
COMPACTED: Final = "shortener.db.compacted"
"""The database while it is written anew; what a killed process has left of it goes when the directory is used next."""
JOURNAL: Final = "journal"
"""A directory: the clicks that may not be in the database yet."""
SECRET: Final = "secret"  # noqa: S105 - a file's name
"""Signs tokens."""
VISITOR_KEY: Final = "visitor.key"
REPLAY_KEY: Final = "idempotency.key"
KEYS: Final = (SECRET, VISITOR_KEY, REPLAY_KEY)

PRIVATE_FILE: Final = 0o600
PRIVATE_DIRECTORY: Final = 0o700
_NOT_PLAIN = "it is not a plain file"


def reason(error: OSError) -> str:
    """Return what the system says about `error`, without the path (the caller names it)."""
    return error.strerror or type(error).__name__


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


def write(path: Path, content: bytes) -> None:
    """Write a new private file and sync it; the name is durable once the directory is synced."""
    with open(path, "xb", opener=open_private) as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def make_directory(path: Path) -> None:
    """Make a new private directory."""
    path.mkdir(mode=PRIVATE_DIRECTORY)
    path.chmod(PRIVATE_DIRECTORY)  # whatever the umask took away


def open_private(path: str, flags: int) -> int:
    """Open a file that only its owner may use; an `opener` for `open`, to be used for new files."""
    descriptor = os.open(path, flags | os.O_CLOEXEC | os.O_NOFOLLOW, PRIVATE_FILE)
    os.fchmod(descriptor, PRIVATE_FILE)  # whatever the umask took away
    return descriptor


def open_plain(path: Path) -> BinaryIO:
    """Open a file to read, and refuse links, pipes, devices and directories without waiting for anything."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENXIO):  # a link, a socket
            raise OSError(error.errno, _NOT_PLAIN) from None
        raise
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, _NOT_PLAIN)
    return open(descriptor, "rb")


def give_to_owner(directory: Path, path: Path) -> None:
    """Make what root has made in a directory belong to the directory's owner; for other users nothing is to be done."""
    if os.geteuid() == 0:
        owner = directory.stat()
        os.chown(path, owner.st_uid, owner.st_gid, follow_symlinks=False)


@contextmanager
def _draft(path: Path, content: bytes) -> Iterator[Path]:
    """Lend the content in a file beside `path`. It has one name always, so that none of a killed process stays."""
    draft = path.with_name(f".{path.name}.new")
    draft.unlink(missing_ok=True)
    try:
        write(draft, content)
        yield draft
    finally:
        draft.unlink(missing_ok=True)
