"""After use, every file of the data directory is its owner's alone, whatever the umask."""

import os
import shlex
import sys
from pathlib import Path
from types import SimpleNamespace

import grpc
import pytest

from tests.support import process
from tests.support.metrics_client import Site
from tests.support.program import shortener


def modes(directory: Path) -> dict[str, str]:
    """The mode of a directory and of all that is in it, by path."""
    return {
        str(path.relative_to(directory)): oct(path.stat().st_mode & 0o7777)
        for path in (directory, *directory.rglob("*"))
    }


def expected(directory: Path) -> dict[str, str]:
    return {
        str(path.relative_to(directory)): "0o700" if path.is_dir() else "0o600"
        for path in (directory, *directory.rglob("*"))
    }


@pytest.mark.parametrize("umask", ["000", "077"])
def test_files_are_0600_and_directories_0700(umask: str, tmp_path: Path, pb: SimpleNamespace) -> None:
    data_dir = tmp_path / "data"
    command = ("/bin/sh", "-c", f"umask {umask}; exec {shlex.quote(sys.executable)} -m shortener serve")
    server = process.start(data_dir, command=command, CLICKS_SEGMENT_SIZE_MAX=65536, CLICKS_FLUSH_SECONDS="0.01")
    try:
        with grpc.insecure_channel(server.url) as channel:
            stub = pb.url_pb2_grpc.URLServiceStub(channel)
            code = stub.CreateURL(pb.url_pb2.CreateURLRequest(long_url="https://example.com/", user_id="m")).short_code
            person = pb.user_pb2.RegisterRequest(email="m@example.com", password="secret-1", name="M")
            pb.user_pb2_grpc.UserServiceStub(channel).Register(person)
        redirects = Site(server.redirect)
        for _ in range(20):
            assert redirects.ask("GET", f"/{code}")[0] == 302
        redirects.close()
        while_running = modes(data_dir)
        assert while_running == expected(data_dir)
        assert {"shortener.db", "shortener.db-wal", "shortener.db-shm", "secret", "visitor.key", "lock", "journal"} <= (
            while_running.keys()
        )
    finally:
        status = server.stop()
    assert status == 0
    assert modes(data_dir) == expected(data_dir)

    before = os.umask(int(umask, 8))
    try:
        saved = tmp_path / "saved"
        done = shortener("backup", str(saved), cwd=tmp_path, STORAGE_DATA_DIR=str(data_dir))
        assert done.returncode == 0, done.stderr
        restored = tmp_path / "restored"
        done = shortener("restore", str(saved), cwd=tmp_path, STORAGE_DATA_DIR=str(restored))
        assert done.returncode == 0, done.stderr
    finally:
        os.umask(before)
    for directory in (saved, restored):
        assert modes(directory) == expected(directory)
