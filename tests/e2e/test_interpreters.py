"""The service runs on every Python it supports, not on the one alone that runs these tests."""

import http.client
import json
import subprocess
from pathlib import Path
from types import SimpleNamespace

import grpc
import pytest

from tests.support import process

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("version", ["3.12", "3.13"])
def test_it_serves_and_stops(
    version: str, tmp_path: Path, pb: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    python = ROOT / f".venv-{version}" / "bin" / "python"
    if not python.exists():
        pytest.skip(f"needs a Python {version} with requirements.lock installed in .venv-{version}")
    shown = subprocess.run([python, "--version"], capture_output=True, text=True, check=True).stdout
    assert shown.startswith(f"Python {version}.")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    command = (str(python), "-W", "error::DeprecationWarning:shortener", "-m", "shortener", "serve")
    server = process.start(tmp_path / "data", command=command)
    try:
        with grpc.insecure_channel(server.url) as channel:
            urls = pb.url_pb2_grpc.URLServiceStub(channel)
            made = urls.CreateURL(
                pb.url_pb2.CreateURLRequest(long_url="https://example.com/", user_id="me"), timeout=10
            )
            redirects = http.client.HTTPConnection(server.redirect, timeout=10)
            redirects.request("GET", f"/{made.short_code}")
            answer = redirects.getresponse()
            assert (answer.status, answer.headers["Location"]) == (302, "https://example.com/")
            redirects.close()
            got = urls.GetURL(pb.url_pb2.GetURLRequest(short_code=made.short_code), timeout=10)
            assert (got.found, got.url.long_url) == (True, "https://example.com/")
        gateway = http.client.HTTPConnection(server.gateway, timeout=10)
        gateway.request("GET", "/readyz")
        assert gateway.getresponse().status == 200
        gateway.close()
    except BaseException:
        server.kill()
        raise
    assert server.stop() == 0
    events = [json.loads(line) for line in server.log.read_text().splitlines()]
    assert [event["event"] for event in events] == ["ready", "stopping", "stopped"]
