"""Restores a backup into a data directory: all of it, or nothing.

First everything is copied beside the present files, and checksums and schema are compared. Then a marker file says that
the old files are void: a server refuses the directory until all new files are in their places.
"""

import shutil
from contextlib import suppress
from pathlib import Path

from shortener.backup import files, manifest
from shortener.backup.backup import Progress
from shortener.backup.manifest import Manifest
from shortener.errors import OperatorError
from shortener.storage.data_dir import RESTORING, lock_data_dir, make_private_file
from shortener.storage.files import (
    DATABASE,
    JOURNAL,
    KEYS,
    give_to_owner,
    make_directory,
    open_plain,
    reason,
    sync_directory,
)
from shortener.storage.sqlite.migrate import check_applied, load_migrations
from shortener.storage.sqlite.snapshot import open_snapshot

_STAGING = "restore.partial"
_OURS = (
    DATABASE,
    *(f"{DATABASE}{suffix}" for suffix in ("-wal", "-shm", "-journal")),
    JOURNAL,
    *KEYS,
)


def restore(source: Path, data_dir: Path, *, force: bool, progress: Progress) -> Manifest:
    """Put the backup in `source` into `data_dir`, made if missing. `force` replaces the data that are there.

    What root restores belongs to the directory's owner. Raises `OperatorError`, also when the directory cannot be used
    or a server owns it.
    """
    listed = manifest.read(source)
    known = len(load_migrations())
    if listed.schema > known:
        raise OperatorError(f"{source} is of a newer shortener: its schema is {listed.schema:04}, known is {known:04}")
    with lock_data_dir(data_dir, is_restoring=True, for_owner=True):
        try:
            _put_back(source, data_dir, listed, force=force, progress=progress)
        except OSError as error:
            raise OperatorError(f"cannot restore into {data_dir}: {reason(error)}") from error
    return listed


def _put_back(source: Path, data_dir: Path, listed: Manifest, *, force: bool, progress: Progress) -> None:
    old = [data_dir / name for name in _OURS if (data_dir / name).exists()]
    if old and not force:
        raise OperatorError(
            f"data directory {data_dir} holds data already: restore into a new one, or replace them with --force"
        )
    staging, marker = data_dir / _STAGING, data_dir / RESTORING
    with suppress(FileNotFoundError):
        shutil.rmtree(staging)
    try:
        _stage(source, staging, listed, progress)
        _check_schema(source, staging, listed)
        for path in [staging, *staging.rglob("*")]:
            give_to_owner(data_dir, path)
        make_private_file(marker)  # From here on a server refuses the directory.
        for path in old:
            _remove(path)
        for path in sorted(staging.iterdir()):
            path.rename(data_dir / path.name)
        sync_directory(data_dir)
    finally:
        with suppress(FileNotFoundError):
            shutil.rmtree(staging)
    marker.unlink()
    sync_directory(data_dir)


def _stage(source: Path, staging: Path, listed: Manifest, progress: Progress) -> None:
    """Copy all files of the backup and compare their checksums."""
    done, total = 0, listed.size

    def report(size: int) -> None:
        nonlocal done
        done += size
        progress(done, total)

    make_directory(staging)
    make_directory(staging / JOURNAL)
    for name, expected in listed.files.items():
        try:
            old = open_plain(source / name)
        except FileNotFoundError:
            raise OperatorError(f"{source / name} is missing: the backup cannot be used") from None
        except OSError as error:
            raise OperatorError(f"cannot use {source / name}: {reason(error)}") from None
        with old:
            copied = files.copy(old, staging / name, expected.size, report)
        if copied != expected:
            raise OperatorError(f"{source / name} is not what was backed up: its checksum differs")
    sync_directory(staging / JOURNAL)
    sync_directory(staging)


def _check_schema(source: Path, staging: Path, listed: Manifest) -> None:
    """Refuse a schema that the migrations do not make: a trigger could change what is stored."""
    with open_snapshot(staging / DATABASE, is_frozen=True) as raw:
        schema = check_applied(source / DATABASE, raw, load_migrations())
    if schema != listed.schema:
        raise OperatorError(f"{source / manifest.NAME} is damaged: the schema is {schema:04}, not {listed.schema:04}")


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()
