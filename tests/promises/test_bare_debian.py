"""Both lines of the README, and the installation of docs/operating.md, in a Debian 12 with Python and nothing else."""

import os
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support import fault_injection

ROOT = Path(__file__).parents[2]
PACKAGES = "python3,python3-venv,ca-certificates"
MIRRORS = [mirror] if (mirror := os.environ.get("DEBIAN_MIRROR")) else []  # without one, debootstrap has its own
INSIDE = """
set -e
mount -t proc none {root}/proc
mount --rbind /dev {root}/dev
cd {root}
exec chroot . /usr/bin/env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root {settings} bash -c '
  cd /srv/shortener
  {line}'
"""


def lines_of(page: str) -> list[str]:
    return re.findall(r"^python3 -m venv .*$", (ROOT / page).read_text(), re.MULTILINE)


def inside(root: Path, line: str) -> "subprocess.CompletedProcess[str]":
    """Run a line in the clone, with pip set up as on this machine."""
    settings = " ".join(f"{name}={value!r}" for name, value in os.environ.items() if name.startswith("PIP_"))
    script = INSIDE.format(root=root, settings=settings, line=line)
    command = ["unshare", "-mp", "--fork", "--kill-child", "--propagation", "private", "sh", "-c", script]
    return subprocess.run(command, capture_output=True, text=True, timeout=3600, check=False)


@pytest.mark.long
@pytest.mark.timeout(7200)
def test_both_lines_of_the_readme_work_on_bare_debian(tmp_path: Path, figure: Callable[[str, str], None]) -> None:
    fault_injection.need("debootstrap", "git", "unshare", root=True)
    bare = tmp_path / "bare"
    fault_injection.run("debootstrap", "--variant=minbase", f"--include={PACKAGES}", "bookworm", bare, *MIRRORS)
    for name in ("etc/pip.conf", "etc/resolv.conf", "etc/ssl/certs/ca-certificates.crt"):
        if (Path("/") / name).exists():
            shutil.copy(Path("/") / name, bare / name)
    subprocess.run(["git", "clone", "-q", ROOT, bare / "srv/shortener"], check=True)

    run_line, test_line = lines_of("README.md")
    served = inside(bare, run_line.replace(".venv/bin/shortener serve", "timeout -s TERM 10 .venv/bin/shortener serve"))
    assert '"event": "ready"' in served.stdout, served.stdout + served.stderr
    assert '"event": "stopped"' in served.stderr
    [make] = lines_of("docs/operating.md")
    install = re.findall(
        r"^/opt/shortener/.venv/bin/pip install .*$", (ROOT / "docs/operating.md").read_text(), re.MULTILINE
    )
    done = inside(bare, " && ".join([make, *install[:2], "/opt/shortener/.venv/bin/shortener version"]))
    assert (done.returncode, done.stdout.split()[:1]) == (0, ["shortener"]), done.stdout + done.stderr
    tested = inside(bare, test_line)
    assert tested.returncode == 0, tested.stdout[-20_000:]
    figure("both lines of the README work on bare Debian 12", tested.stdout.splitlines()[-1].strip(" ="))
