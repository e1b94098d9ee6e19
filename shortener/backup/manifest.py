"""The list of what a backup holds, written last, so that a backup with one is whole."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from shortener import __version__
from shortener.backup import files
from shortener.backup.files import Checksum
from shortener.errors import OperatorError

NAME: Final = "manifest.json"
_FORMAT: Final = 1
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
    files.write(directory / NAME, json.dumps(document, indent=1).encode() + b"\n")


def read(directory: Path) -> Manifest:
    """Read the list of a backup. Raises `OperatorError` where there is none, or one that cannot be trusted."""
    path = directory / NAME
    try:
        with path.open("rb") as file:
            text = file.read(_SIZE_MAX + 1)
    except (FileNotFoundError, NotADirectoryError):
        raise OperatorError(f"{directory} is not a backup: it holds no {NAME}") from None
    except OSError as error:
        raise OperatorError(f"cannot read {path}: {error.strerror}") from None
    try:
        document = json.loads(text)
        if document["format"] != _FORMAT:
            raise OperatorError(f"{path} is of another version of shortener")
        entries = dict(_entries(document["files"]))
        return Manifest(int(document["created_at"]), int(document["schema"]), entries)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise OperatorError(f"{path} is damaged") from None


def _entries(listed: Mapping[str, Mapping[str, object]]) -> Iterator[tuple[str, Checksum]]:
    for name, entry in listed.items():
        size, sha256 = entry["size"], entry["sha256"]
        if not files.is_ours(name) or type(size) is not int or not isinstance(sha256, str):
            raise ValueError(name)
        yield name, Checksum(size, sha256)


def damage(directory: Path, manifest: Manifest) -> Iterator[str]:
    """Yield one line for each file that is not what the list says."""
    for name, expected in manifest.files.items():
        try:
            if files.checksum(directory / name) != expected:
                yield f"{directory / name} is not what was backed up: its checksum differs"
        except OSError as error:
            yield f"{directory / name} cannot be read: {error.strerror}"
