"""In CI a test that is skipped for want of something installable fails the run; other reasons must be true."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import skips

ROOT = Path(__file__).parent.parent


@pytest.mark.parametrize(
    ("reason", "is_true"),
    [
        ("needs nginx", False),
        ("node is not installed", False),
        ("needs root, to mount a file system", os.geteuid() != 0),
        ("needs rootlesskit", False),
        ("`mount -o loop a b` fails here: mount: b: permission denied.\nmore", True),
        ("needs 10,000 open files, the hard limit is 4096", True),
        ("", False),
    ],
)
def test_a_reason_is_true_or_not(reason: str, is_true: bool) -> None:
    assert skips.is_true(reason) is is_true


@pytest.mark.parametrize(("option", "status"), [("", 0), ("--fail-on-skip", 1)])
def test_a_skip_fails_where_that_is_asked_for(tmp_path: Path, option: str, status: int) -> None:
    (tmp_path / "test_it.py").write_text('import pytest\n\ndef test_it():\n    pytest.skip("needs nginx")\n')
    command = [sys.executable, "-m", "pytest", "-p", "tests.conftest", *option.split()]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTEST_ADDOPTS": ""}
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == status, done.stdout + done.stderr
    assert ("--fail-on-skip: needs nginx" in done.stdout) is bool(option)
