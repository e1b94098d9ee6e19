"""The list of what a backup holds, written last, so that a backup with one is whole."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from shortener.backup import files
from shortener.backup.files import Checksum
from shortener.errors import OperatorError
from shortener.storage.files import DATABASE, JOURNAL, open_plain, reason
from shortener.storage.files import write as write_file
from shortener.version import __version__

NAME: Final = "manifest.json"
_FORMAT: Final = 1
_SCHEMA_MAX: Final = 9_999
_TIME_MAX: Final = 253_402_300_799  # the end of the year 9999
_SHA256: Final = re.compile("[0-9a-f]{64}")
_SIZE_MAX: Final = 64 << 20  # bytes; the journal of a server that could not empty it has many files


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a backup holds. `created_at` is Unix seconds, `schema` the number of its newest migration."""

    created_at: int
    schema: int
    files: Mapping[str, Checksum]

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(entry.size for entry in self.files.values())


def write(directory: Path, manifest: Manifest) -> None:
    """Write the list into the directory. Raises `OSError`."""
    document = {
        "format": _FORMAT,
        "program": f"shortener {__version__}",
        "created_at": manifest.created_at,
        "schema": manifest.schema,
        "files": {name: entry._asdict() for name, entry in sorted(manifest.files.items())},
    }
    write_file(directory / NAME, json.dumps(document, indent=1).encode() + b"\n")


def read(directory: Path) -> Manifest:
    """Read the list of a backup. Raises `OperatorError` where there is none, or one that cannot be trusted."""
    path = directory / NAME
    try:
        with open_plain(path) as file:
            text = file.read(_SIZE_MAX + 1)
    except (FileNotFoundError, NotADirectoryError):
        raise OperatorError(f"{directory} is not a backup: it holds no {NAME}") from None
    except OSError as error:
        raise OperatorError(f"cannot read {path}: {reason(error)}") from None
    if (directory / JOURNAL).is_symlink():
        raise OperatorError(f"cannot use {directory / JOURNAL}: it is a link, not a directory")
    try:
        return _parse(text)
    except _OtherFormat:
        raise OperatorError(f"{path} is of another version of shortener") from None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise OperatorError(f"{path} is damaged") from None


class _OtherFormat(Exception):  # noqa: N818 - an answer, not an error
    pass


def _parse(text: bytes) -> Manifest:
    """Return what `write` has written; raises `_OtherFormat`, or one of the errors that `read` expects."""
    document = json.loads(text, object_pairs_hook=_unique)
    if _integer(document["format"], _SCHEMA_MAX) != _FORMAT:
        raise _OtherFormat
    listed = {name: _checksum(name, entry) for name, entry in document["files"].items()}
    if DATABASE not in listed:
        raise ValueError(DATABASE)
    return Manifest(_integer(document["created_at"], _TIME_MAX), _integer(document["schema"], _SCHEMA_MAX), listed)


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name comes twice")
    return found


def _integer(value: object, most: int) -> int:
    if type(value) is not int or not 0 <= value <= most:
        raise ValueError(value)
    return value


def _checksum(name: str, entry: Mapping[str, object]) -> Checksum:
    size, sha256 = _integer(entry["size"], files.SIZE_MAX), entry["sha256"]
    if not files.is_ours(name) or not isinstance(sha256, str) or not _SHA256.fullmatch(sha256):
        raise ValueError(name)
    return Checksum(size, sha256)


def damage(directory: Path, manifest: Manifest) -> Iterator[str]:
    """Yield one line for each file that is not what the list says, or is not in the list but could be."""
    for name, expected in manifest.files.items():
        try:
            if files.checksum(directory / name, expected.size) != expected:
                yield f"{directory / name} is not what was backed up: its checksum differs"
        except OSError as error:
            yield f"{directory / name} cannot be read: {reason(error)}"
    for path in sorted([*directory.iterdir(), *(directory / JOURNAL).glob("*")]):
        name = str(path.relative_to(directory))
        if files.is_ours(name) and name not in manifest.files:
            yield f"{path} is not part of the backup"
