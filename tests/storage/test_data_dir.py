import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from shortener.errors import OperatorError
from shortener.storage.data_dir import lock_data_dir, make_data_dir, make_private_file
from tests.storage.conftest import NOBODY

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


@pytest.mark.parametrize("mode_before", [0o777, 0o770, 0o722, 0o1777])
def test_a_data_directory_that_others_can_write_to_is_made_private_with_one_line(
    tmp_path: Path, mode_before: int, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "data"
    path.mkdir()
    path.chmod(mode_before)
    with lock_data_dir(path):
        assert mode(path) == 0o700
    assert [record.getMessage() for record in caplog.records] == [
        f"others could write to data directory {path}: its mode was {mode_before:04o} and is 0700 now"
    ]


def test_a_data_directory_of_another_user_is_refused(commoner_dir: Path) -> None:
    if os.getuid() != 0:
        pytest.skip("needs root, to give a directory away")
    path = commoner_dir / "data"
    path.mkdir(mode=0o777)
    path.chmod(0o777)
    os.seteuid(0)
    os.chown(path, 64_123, 64_123)
    os.seteuid(NOBODY)
    with pytest.raises(OperatorError) as caught, lock_data_dir(path):
        pytest.fail("opened")
    line = f"cannot use data directory {path}: it belongs to user 64123, and this is user {NOBODY}"
    assert str(caught.value) == line
    os.seteuid(0)
    os.chown(path, 0, 0)
    os.seteuid(NOBODY)
    with pytest.raises(OperatorError) as caught, lock_data_dir(path):
        pytest.fail("opened")
    line = f"cannot use data directory {path}: others can write to it (mode 0777), and it is root's to change"
    assert str(caught.value) == line


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to give a directory away")
def test_root_works_on_anothers_directory_only_for_its_owner(tmp_path: Path) -> None:
    path = tmp_path / "data"
    path.mkdir(mode=0o700)
    os.chown(path, 64_123, 64_124)
    with pytest.raises(OperatorError, match=r"it belongs to user 64123, and this is user 0$"), lock_data_dir(path):
        pytest.fail("opened")
    with lock_data_dir(path, for_owner=True):
        make_private_file(path / "file")
        make_data_dir(path / "inner", for_owner=True)
    made = [path / "lock", path / "file", path / "inner"]
    assert [(each.stat().st_uid, each.stat().st_gid) for each in made] == [(64_123, 64_124)] * 3
