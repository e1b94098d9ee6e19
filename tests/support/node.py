"""Node's `new URL`, which reads URLs as the WHATWG standard and browsers do."""

import json
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import pytest

_SCRIPT = """
const lines = require("readline").createInterface({ input: process.stdin });
lines.on("line", (line) => {
  const read = JSON.parse(line).map((text) => {
    try {
      const url = new URL(text);
      return [url.protocol.slice(0, -1), url.hostname, url.port, url.username + url.password];
    } catch {
      return null;
    }
  });
  console.log(JSON.stringify(read));
});
"""
_DEFAULT_PORTS = {"http": 80, "https": 443}


class Read(NamedTuple):
    """What Node makes of a URL."""

    scheme: str
    host: str
    port: int
    user: str


class Node:
    """Reads many URLs in one process."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process

    def read(self, urls: Sequence[str]) -> list[Read | None]:
        """Return what it makes of each; None where it refuses."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(list(urls)) + "\n")
        self._process.stdin.flush()
        found: list[Read | None] = []
        for each in json.loads(self._process.stdout.readline()):
            if each is None:
                found.append(None)
                continue
            scheme, host, port, user = each
            found.append(Read(scheme, host, int(port) if port else _DEFAULT_PORTS.get(scheme, 0), user))
        return found


@contextmanager
def running() -> Iterator[Node]:
    """Start Node; skips the test where there is none."""
    program = shutil.which("node")
    if program is None:
        pytest.skip("needs node")
    with subprocess.Popen(
        [program, "-e", _SCRIPT], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        yield Node(process)
