"""schemathesis on the live server's own OpenAPI document: every check it has, with a token."""

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support import process
from tests.support.clients import ask

CONFIGURATION = Path(__file__).with_name("schemathesis.toml")
SECONDS_MAX = 3000


LIMITS = ("CREATES", "REGISTRATIONS", "LOGINS", "ADDRESS_LOGIN_FAILURES", "LOGIN_FAILURES")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[process.Running]:
    """A server without the limits that would spare it."""
    with process.running(tmp_path / "data", **{f"LIMITS_{name}_PER_MINUTE": 0 for name in LIMITS}) as server:
        yield server


@pytest.fixture
def token(server: process.Running) -> str:
    """The token of an account that has a link."""
    person = {"email": "probe@example.com", "password": "secret-1", "name": "P"}
    token = str(ask(server.gateway, "POST", "/api/auth/register", person).json["token"])
    link = {"alias": "probe", "long_url": "https://example.com/"}
    assert ask(server.gateway, "POST", "/api/urls/custom", link, token=token).status == 201
    return token


@pytest.mark.timeout(SECONDS_MAX + 60)
def test_no_request_breaks_a_route(
    server: process.Running,
    token: str,
    tmp_path: Path,
    size: Callable[[int, int], int],
    figure: Callable[[str, str], None],
) -> None:
    arguments = ["--checks", "all", "--no-color", "--continue-on-failure", "--request-timeout", "30", "--seed", "1"]
    phases = ("fuzzing", "examples,coverage,fuzzing,stateful")[size(0, 1)]
    arguments += ["--phases", phases, "--max-examples", str(size(2, 200)), "-H", f"Authorization: Bearer {token}"]
    program = [sys.executable, "-m", "schemathesis.cli", "--config-file", str(CONFIGURATION), "run"]
    done = subprocess.run(
        [*program, f"http://{server.gateway}/openapi.json", *arguments],
        cwd=tmp_path,
        env={**os.environ, "SCHEMATHESIS_HOOKS": str(CONFIGURATION.with_name("schemathesis_hooks.py"))},
        capture_output=True,
        text=True,
        timeout=SECONDS_MAX,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    [tested] = re.findall(r"Tested: (\d+)", done.stdout)
    [cases] = re.findall(r"(\d+) generated", done.stdout)
    document = ask(server.gateway, "GET", "/openapi.json").json
    assert int(tested) == sum(len(methods) for methods in document["paths"].values())
    assert server.process.poll() is None
    assert '"level": "error"' not in server.log.read_text()
    figure("schemathesis with all checks", f"{cases} requests to {tested} operations, no failure")
