"""Private files are whole, for their owner alone, and leave no drafts."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from shortener.storage import files

Put = Callable[[Path, bytes], None]
BOTH = pytest.mark.parametrize("put", [files.create, files.replace])


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "key"


@pytest.fixture
def open_umask() -> Iterator[None]:
    before = os.umask(0)
    yield
    os.umask(before)


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


@BOTH
@pytest.mark.usefixtures("open_umask")
def test_a_new_file_is_private(path: Path, put: Put) -> None:
    put(path, b"content")
    assert (path.read_bytes(), mode(path)) == (b"content", 0o600)
    assert os.listdir(path.parent) == ["key"]


def test_a_file_that_came_first_stays(path: Path) -> None:
    path.write_bytes(b"first")
    files.create(path, b"second")
    assert path.read_bytes() == b"first"
    assert os.listdir(path.parent) == ["key"]


def test_a_file_is_replaced(path: Path) -> None:
    path.write_bytes(b"first")
    path.chmod(0o644)
    files.replace(path, b"second")
    assert (path.read_bytes(), mode(path)) == (b"second", 0o600)
    assert os.listdir(path.parent) == ["key"]


def test_a_file_system_without_hard_links_will_do(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: Path, target: Path) -> None:
        raise PermissionError

    monkeypatch.setattr(Path, "hardlink_to", refuse)
    files.create(path, b"content")
    assert path.read_bytes() == b"content"
    assert os.listdir(path.parent) == ["key"]


@BOTH
def test_a_full_disk_changes_nothing(path: Path, put: Put, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    path.write_bytes(b"first")
    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="No space left"):
        put(path, b"second")
    assert path.read_bytes() == b"first"
    assert os.listdir(path.parent) == ["key"]


@BOTH
def test_the_draft_of_a_killed_process_goes(path: Path, put: Put) -> None:
    path.with_name(".key.new").write_bytes(b"half")
    put(path, b"content")
    assert path.read_bytes() == b"content"
    assert os.listdir(path.parent) == ["key"]
