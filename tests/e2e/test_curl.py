"""The shell flow of a REST client: curl and jq against the real process."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support.process import Running

pytestmark = pytest.mark.skipif(not (shutil.which("curl") and shutil.which("jq")), reason="needs the tools curl and jq")

FLOW = Path(__file__).parent / "rest_flow.sh"

EXPECTED = """\
ann: [2,false,["https://example.com/ann","https://example.com/a?b=%2f~"]]
bob: [1,false,["https://example.com/bob"]]
none: 401 application/problem+json
not bob's: [404,"Not found"]
taken: [409,"alias",3]
redirect: 302 https://example.com/a?b=%2f~
head: location: https://example.com/a?b=%2f~
clicks: [1,true]
stats: [1,1,"direct"]
delete: 204
gone: 410
deleted: 404
"""


def test_two_people_shorten_list_and_follow(server: Running) -> None:
    done = subprocess.run(
        ["bash", str(FLOW)],
        env={"GATEWAY": server.gateway, "REDIRECT": server.redirect, "PATH": "/usr/local/bin:/usr/bin:/bin"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.stderr, done.returncode) == ("", 0)
    assert done.stdout.replace("Location:", "location:") == EXPECTED


def test_the_ready_line_names_every_listener(server: Running) -> None:
    assert set(server.ready) == {"event", "url", "user", "analytics", "gateway", "redirect", "pid"}
    assert (server.ready["event"], server.ready["pid"]) == ("ready", server.process.pid)
    assert json.loads(json.dumps(server.ready)) == server.ready
