"""Fixtures that several folders share."""

import gc
import os
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import hypothesis
import pytest

from tests.contract import reference
from tests.support import process, skips, twice, warm

# How long an example takes says more about the machine than about the code.
hypothesis.settings.register_profile("any machine", deadline=None)
hypothesis.settings.load_profile("any machine")

USES_TRANSACTIONS = frozenset({"accounts", "analytics", "idempotency", "links", "privacy"})
"""Folders with tests of services and their stores."""

both_servers = pytest.mark.parametrize("server", ["own", "grpclib"], indirect=True, scope="module")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let `--update-golden` write the golden files anew, where nothing in them was changed or removed.

    And let `--torture` choose the long forms of tests/promises, and `--fail-on-skip` fail a run in which a test
    was skipped for want of something installable.
    """
    parser.addoption("--update-golden", action="store_true", help="add what is new to the golden files")
    parser.addoption("--torture", action="store_true", help="run the long forms of tests/promises")
    parser.addoption("--fail-on-skip", action="store_true", help="fail when a tool is missing that a test needs")


def pytest_configure(config: pytest.Config) -> None:
    """Start servers as forks, but for the long forms, whose figures are told of whole processes.

    And have xdist keep to the order of files, see below.
    """
    config.option.loadscopereorder = False
    if hasattr(os, "pidfd_open") and not config.getoption("--torture"):
        warm.starter = warm.Starter()


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files whose tests take longest, so that no worker is alone with one in the end.

    Within the two parts the order stays as random as it was.
    """
    items.sort(key=lambda item: "promises" not in item.path.parts)


def pytest_collection_finish() -> None:
    """Keep what is loaded by now from the garbage collector: full rounds, of which tests ask many, get much quicker."""
    gc.collect()
    gc.freeze()


def pytest_sessionfinish(session: pytest.Session) -> None:
    """With `--fail-on-skip`, fail for each reason that could have been installed away."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if not session.config.getoption("--fail-on-skip") or reporter is None:
        return
    reports = reporter.stats.get("skipped", [])
    reasons = {report.longrepr[2].removeprefix("Skipped: ") for report in reports if isinstance(report.longrepr, tuple)}
    for reason in sorted(reasons):
        if not skips.is_true(reason):
            reporter.write_line(f"--fail-on-skip: {reason}", red=True)
            session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_unconfigure() -> None:
    """End the process that is forked."""
    if warm.starter:
        warm.starter.end()


@pytest.fixture(autouse=True)
def _units_run_twice(request: pytest.FixtureRequest) -> Iterator[None]:
    """Hold the services to the contract in `tx.py`, whatever their tests are about."""
    rooms = {path.name for path in request.path.parents}
    if rooms.isdisjoint(USES_TRANSACTIONS) or request.node.get_closest_marker("units_run_once"):
        yield
        return
    with pytest.MonkeyPatch.context() as patch:
        twice.run_units_twice(patch)
        yield


@pytest.fixture(scope="module")
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[process.Running]:
    """The real server as its own process, with an empty data directory, for one test module.

    A module marked `both_servers` gets one after the other: `grpc.server` is "own", then "grpclib".
    """
    data_dir: Path = tmp_path_factory.mktemp("server") / "data"
    with process.running(data_dir, GRPC_SERVER=getattr(request, "param", "own")) as running:
        yield running


@pytest.fixture(scope="session")
def pb(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """Stock client modules made from the contract's own text: `url_pb2`, `url_pb2_grpc`, `user_pb2`, ….

    Once a session: google.protobuf has one registry of message names for the whole process.
    """
    out = tmp_path_factory.mktemp("reference")
    reference.compile_protos(reference.service_protos(), out)
    names = [f"{package}_{kind}" for package in ("url", "user", "analytics") for kind in ("pb2", "pb2_grpc")]
    return SimpleNamespace(**dict(zip(names, reference.load(out, *names), strict=True)))
