"""The data directory: private files, and one process that owns it."""

import errno
import fcntl
import logging
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from shortener.errors import OperatorError
from shortener.storage.files import (
    COMPACTED,
    PRIVATE_DIRECTORY,
    PRIVATE_FILE,
    give_to_owner,
    make_directory,
    reason,
    sync_directory,
    write,
)

_log = logging.getLogger(__name__)


class InUseError(OperatorError):
    """Another process owns the data directory, or another part of this one does."""


RESTORING = "restoring"
"""A file that is there while a backup is put back: until it is gone, old and new data are mixed."""
_LOCK = "lock"
_PID_LENGTH_MAX = 20
_ROOT = 0
_WRITABLE_BY_OTHERS = 0o022


def make_data_dir(path: Path, *, for_owner: bool = False) -> None:
    """Make sure that `path` is a directory one can write to and nobody else; a new one is private (0700).

    One that others can write to is made private, with a warning. Missing parents are made too, with the usual mode.
    `for_owner` lets root work on another user's directory, and gives a new one to its parent's owner.
    Raises `OperatorError`.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        make_directory(path)
        if for_owner:
            give_to_owner(path.parent, path)
        sync_directory(path.parent)
    except FileExistsError:
        pass
    except OSError as error:
        raise OperatorError(f"cannot create data directory {path}: {reason(error)}") from error
    check_data_dir(path, for_owner=for_owner)
    _keep_others_out(path)


def check_data_dir(path: Path, *, for_owner: bool) -> None:
    """See that `path` can be the data directory, or that it could be made. Changes nothing.

    `for_owner`: see `make_data_dir`. Raises `OperatorError`.
    """
    if not os.path.lexists(path):
        parent = next(each for each in path.absolute().parents if os.path.lexists(each))
        if not parent.is_dir():
            raise OperatorError(f"cannot use data directory {path}: {parent} is not a directory")
        if not _is_usable(parent):
            raise OperatorError(f"cannot create data directory {path}: {os.strerror(errno.EACCES)}")
        return
    if not path.is_dir():
        raise OperatorError(f"cannot use data directory {path}: it is not a directory")
    if not _is_usable(path):
        raise OperatorError(f"cannot use data directory {path}: it is not writable")
    owner, user = path.stat().st_uid, os.geteuid()
    if owner not in (user, _ROOT) and not (for_owner and user == _ROOT):
        raise OperatorError(f"cannot use data directory {path}: it belongs to user {owner}, and this is user {user}")


def _keep_others_out(path: Path) -> None:
    mode = stat.S_IMODE(path.stat().st_mode)
    if not mode & _WRITABLE_BY_OTHERS:
        return
    try:
        path.chmod(PRIVATE_DIRECTORY)
    except OSError:
        raise OperatorError(
            f"cannot use data directory {path}: others can write to it (mode {mode:04o}), and it is root's to change"
        ) from None
    _log.warning(f"others could write to data directory {path}: its mode was {mode:04o} and is 0700 now")


def check_is_whole(path: Path) -> None:
    """Raise `OperatorError` when a restore into the data directory was cut short."""
    if (path / RESTORING).exists():
        raise OperatorError(f"data directory {path} holds half a backup: run `shortener restore --force` again")


def _is_usable(directory: Path) -> bool:
    return os.access(directory, os.R_OK | os.W_OK | os.X_OK, effective_ids=True)


def make_private_file(path: Path) -> None:
    """Make an empty private file for the directory's owner unless there is one. Raises `OperatorError`.

    SQLite gives the files beside its database (-wal, -shm) the same mode and owner.
    """
    try:
        write(path, b"")
        give_to_owner(path.parent, path)
        sync_directory(path.parent)
    except FileExistsError:
        return
    except OSError as error:
        raise OperatorError(f"cannot create {path}: {reason(error)}") from error


@contextmanager
def lock_data_dir(path: Path, *, is_restoring: bool = False, for_owner: bool = False) -> Iterator[None]:
    """Own the data directory, which is made if missing, until the block ends or the process dies.

    Raises `OperatorError`, naming the other process when there is one, and for a directory where a restore was cut
    short, unless `is_restoring`. `for_owner`: see `make_data_dir`. The lock is a file's, not a process's: a second
    owner in the same process is refused as well, and a forked child would keep it (start helpers with spawn).
    """
    make_data_dir(path, for_owner=for_owner)
    file = path / _LOCK
    try:
        descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, PRIVATE_FILE)
    except OSError as error:
        raise OperatorError(f"cannot open {file}: {reason(error)}") from error
    try:
        _take(path, descriptor)
        if not is_restoring:
            check_is_whole(path)
        (path / COMPACTED).unlink(missing_ok=True)
        yield
        os.ftruncate(descriptor, 0)  # Only while it is ours: closing frees it.
    finally:
        os.close(descriptor)


def _take(path: Path, descriptor: int) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.fchmod(descriptor, PRIVATE_FILE)
        give_to_owner(path, path / _LOCK)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
    except BlockingIOError:
        owner = _named_in(os.pread(descriptor, _PID_LENGTH_MAX, 0))
        by = f"process {owner}" if owner else "another process"
        raise InUseError(f"data directory {path} is in use by {by}") from None
    except OSError as error:
        raise OperatorError(f"cannot lock data directory {path}: {reason(error)}") from error


def owner_of(path: Path) -> int:
    """Return the id of the process that owns the data directory, 0 when none seems to; the directory stays untouched.

    This is a hint for messages: a process that was killed leaves its id, which another may have by now.
    """
    try:
        owner = _named_in((path / _LOCK).read_bytes()[:_PID_LENGTH_MAX])
    except OSError:
        return 0
    try:
        if owner:
            os.kill(owner, 0)
    except PermissionError:  # it runs, as another user
        return owner
    except (ProcessLookupError, OverflowError):
        return 0
    return owner


def _named_in(lock: bytes) -> int:
    """Return the process id in the text of a lock file, 0 when there is none."""
    text = lock.decode("ascii", "replace").strip()
    return int(text) if text.isdecimal() else 0
