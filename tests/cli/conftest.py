"""Runs commands against a running server, and offline on a data directory."""

import io
import subprocess
from pathlib import Path

import pytest

from shortener.cli.program import main
from tests.support import process
from tests.support.program import Run


@pytest.fixture(params=["a running server", "the data directory"])
def run(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Run:
    """Runs commands that reach the service in the one or the other way."""
    port, more = "0", ("--offline",)
    if request.param == "a running server":
        more = ()
        server: process.Running = request.getfixturevalue("server")
        port = server.url.rpartition(":")[2]

    def here(*arguments: str, typed: str = "", **settings: str) -> "subprocess.CompletedProcess[str]":
        """Run a command in this process, which saves the half second of its imports."""
        with monkeypatch.context() as patch:
            patch.chdir(tmp_path)
            patch.setattr("sys.stdin", io.StringIO(typed))
            for name, value in ({"GRPC_URL_PORT": port} | settings).items():
                patch.setenv(f"SHORTENER_{name}", value)
            with pytest.raises(SystemExit) as caught:
                main([*arguments, *(more if arguments[0] != "migrate" else ())])
        status = caught.value.code
        assert isinstance(status, int)
        return subprocess.CompletedProcess(arguments, status, *capsys.readouterr())

    return here


@pytest.fixture(autouse=True)
def _no_server_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHORTENER_GRPC_URL_PORT", "0")
