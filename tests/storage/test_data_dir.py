import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from shortener.errors import OperatorError
from shortener.storage.data_dir import lock_data_dir, make_data_dir, make_private_file

ROOT = Path(__file__).parents[2]
OWNER = """
import sys, pathlib
from shortener.storage.data_dir import lock_data_dir
with lock_data_dir(pathlib.Path(sys.argv[1])):
    print("mine", flush=True)
    sys.stdin.read()
"""


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def owner(path: Path) -> "subprocess.Popen[str]":
    """Start a process that owns `path`."""
    process = subprocess.Popen(
        [sys.executable, "-c", OWNER, str(path)], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "mine\n"
    return process


def test_a_new_data_directory_is_private_whatever_the_umask(tmp_path: Path) -> None:
    for umask in (0o000, 0o777):
        path = tmp_path / f"{umask}"
        before = os.umask(umask)
        try:
            make_data_dir(path)
            make_private_file(path / "file")
            with lock_data_dir(path):
                assert (path / "lock").read_text() == f"{os.getpid()}\n"
        finally:
            os.umask(before)
        assert (mode(path), mode(path / "file"), mode(path / "lock")) == (0o700, 0o600, 0o600)


def test_an_existing_data_directory_and_its_parents_are_left_as_they_are(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir(mode=0o750)
    (tmp_path / "data" / "kept").write_text("kept")
    make_data_dir(tmp_path / "data")
    make_private_file(tmp_path / "data" / "kept")
    make_data_dir(tmp_path / "a" / "b" / "data")
    assert (tmp_path / "data" / "kept").read_text() == "kept"
    assert (mode(tmp_path / "data"), mode(tmp_path / "a" / "b" / "data")) == (0o750, 0o700)


def test_a_second_owner_is_refused_by_name_until_the_first_has_gone(tmp_path: Path) -> None:
    with owner(tmp_path) as first:
        with pytest.raises(OperatorError) as caught, lock_data_dir(tmp_path):
            pass
        assert str(caught.value) == f"data directory {tmp_path} is in use by process {first.pid}"
        first.communicate("")
    with lock_data_dir(tmp_path):
        pass


def test_a_killed_owner_owns_nothing(tmp_path: Path) -> None:
    with owner(tmp_path) as first:
        first.kill()
    with lock_data_dir(tmp_path):
        assert (tmp_path / "lock").read_text() == f"{os.getpid()}\n"
    assert (tmp_path / "lock").read_text() == ""


def test_a_second_owner_in_the_same_process_is_refused(tmp_path: Path) -> None:
    with lock_data_dir(tmp_path):
        with pytest.raises(OperatorError, match=f"is in use by process {os.getpid()}$"), lock_data_dir(tmp_path):
            pass
        with pytest.raises(OperatorError), lock_data_dir(tmp_path):  # The first refusal did not free it.
            pass
    with lock_data_dir(tmp_path):
        pass


def test_a_data_directory_that_cannot_be_used_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OperatorError) as caught:
        make_data_dir(tmp_path / "file")
    assert str(caught.value) == f"cannot use data directory {tmp_path}/file: it is not a directory"
    with pytest.raises(OperatorError) as caught:
        make_data_dir(tmp_path / "file" / "data")
    assert str(caught.value).startswith(f"cannot use data directory {tmp_path}/file/data: ")
    with pytest.raises(OperatorError) as caught:
        make_data_dir(Path("/proc/self/data"))
    assert str(caught.value).startswith("cannot create data directory /proc/self/data: ")
    (tmp_path / "lock").symlink_to(tmp_path / "file")
    with pytest.raises(OperatorError, match=r"^cannot open "), lock_data_dir(tmp_path):
        pass


def test_an_unwritable_data_directory_is_one_clear_line(commoner_dir: Path) -> None:
    data = commoner_dir / "data"
    data.mkdir(mode=0o500)
    with pytest.raises(OperatorError) as caught:
        make_data_dir(data)
    assert str(caught.value) == f"cannot use data directory {data}: it is not writable"
    with pytest.raises(OperatorError) as caught:
        make_data_dir(data / "inner")
    assert str(caught.value) == f"cannot create data directory {data}/inner: Permission denied"
