"""Sizes of the quick and the long forms, and the file that takes their figures."""

import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support import process

FIGURES = Path(os.environ.get("TORTURE_FIGURES", "torture-figures.jsonl"))


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what is `long` alone, because another test is its quick form, unless `--torture` asks for it."""
    if not config.getoption("--torture"):
        left_out = [item for item in items if item.get_closest_marker("long")]
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]


@pytest.fixture
def size(request: pytest.FixtureRequest) -> Callable[[int, int], int]:
    """`size(quick, long)` is the first number by default, and the second with `--torture`."""
    index = 1 if request.config.getoption("--torture") else 0
    return lambda quick, long: (quick, long)[index]


@pytest.fixture
def figure(request: pytest.FixtureRequest, capsys: pytest.CaptureFixture[str]) -> Callable[[str, str], None]:
    """`figure(promise, text)` tells what a test reached; with `--torture` it is kept in `torture-figures.jsonl`."""

    def tell(promise: str, text: str) -> None:
        if not request.config.getoption("--torture"):
            return
        with capsys.disabled():
            sys.stdout.write(f"\n{promise}: {text}\n")
        at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        line = json.dumps({"at": at, "test": request.node.nodeid, "promise": promise, "figure": text})
        with FIGURES.open("a") as file:
            file.write(line + "\n")

    return tell


@pytest.fixture
def start() -> Iterator[Callable[..., process.Running]]:
    """`process.start` for tests that kill; what still runs when one fails is killed then."""
    started: list[process.Running] = []

    def begin(data_dir: Path, **settings: object) -> process.Running:
        started.append(process.start(data_dir, **settings))
        return started[-1]

    yield begin
    for server in started:
        if server.process.poll() is None:
            server.kill()
