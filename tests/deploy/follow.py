"""Follows a document as root, in a root directory, a network and a tree of processes of its own.

Usage: follow.py ROOT PYTHON, with one JSON list on standard input: shell texts, each run by itself as the reader would.
Prints what they print; ends with the first one that fails. To be started by `unshare`, see test_operating.py.
"""

import fcntl
import json
import os
import shutil
import socket
import struct
import subprocess
import sys
from pathlib import Path

CHECKOUT = Path(__file__).parents[2]
SIOCSIFFLAGS, IFF_UP = 0x8914, 1
ETC = ("passwd", "group", "nsswitch.conf", "ld.so.cache", "hosts", "ssl", "alternatives")
PROGRAM = """#!/bin/sh
PYTHONPATH={checkout} exec {python} -m shortener "$@"
"""
PIP = """#!/bin/sh
# What it would install is there already; a requirements file must be too.
while [ $# -gt 0 ]; do case $1 in -r) shift; test -s "$1" || exit 1 ;; esac; shift; done
"""


def mount(*arguments: str | Path) -> None:
    subprocess.run(["mount", *arguments], check=True)


def build(root: Path, python: Path) -> None:
    """Make a root directory: the system's programs and this checkout, and nothing of its configuration or data."""
    mount("-t", "tmpfs", "-o", "mode=0755", "none", root)
    for name in ("usr", "bin", "sbin", "lib", "lib32", "lib64", "libx32", "dev"):
        source, target = Path("/") / name, root / name
        if source.is_symlink():
            target.symlink_to(source.readlink())
        elif source.exists():
            target.mkdir()
            mount("--rbind", source, target)
    for name in ("proc", "tmp", "run", "etc/systemd/system", "var/lib", "root", "opt/shortener/.venv/bin"):
        (root / name).mkdir(parents=True)
    mount("-t", "proc", "none", root / "proc")
    (root / "tmp").chmod(0o1777)
    for name in ETC:
        if (Path("/etc") / name).is_dir():
            shutil.copytree(Path("/etc") / name, root / "etc" / name, symlinks=True)
        elif (Path("/etc") / name).exists():
            shutil.copy(Path("/etc") / name, root / "etc" / name)
    # Where this Python lives, wherever that is.
    prefixes = {Path(text) for text in (sys.base_prefix, sys.prefix)}
    for place in sorted(prefixes | {prefix.resolve() for prefix in prefixes}):
        target = root / place.relative_to("/")
        if not target.exists():
            target.mkdir(parents=True)
            mount("--bind", place, target)
    local = root / "usr/local/bin"
    for number, (place, target) in enumerate({CHECKOUT: root / CHECKOUT.relative_to("/"), local: local}.items()):
        # What is written there stays here.
        upper, work = root / f"run/upper{number}", root / f"run/work{number}"
        for directory in (upper, work, target):
            directory.mkdir(parents=True, exist_ok=True)
        mount("-t", "overlay", "-o", f"lowerdir={place},upperdir={upper},workdir={work}", "none", target)
    write(local / "systemctl", f'#!/bin/sh\nexec {python} -S {CHECKOUT}/tests/deploy/systemctl.py "$@"\n')
    write(root / "opt/shortener/.venv/bin/shortener", PROGRAM.format(checkout=CHECKOUT, python=python))
    write(root / "opt/shortener/.venv/bin/pip", PIP)


def write(path: Path, text: str) -> None:
    path.write_text(text)
    path.chmod(0o755)


def loopback_up() -> None:
    with socket.socket() as any_socket:
        fcntl.ioctl(any_socket, SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", IFF_UP))


def main(root: Path, python: Path) -> None:
    texts = json.load(sys.stdin)
    loopback_up()
    build(root, python)
    os.chroot(root)
    os.chdir(CHECKOUT)
    environment = {"PATH": "/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root", "LANG": "C.UTF-8"}
    for text in texts:
        sys.stdout.write(f"$ {text}\n")
        sys.stdout.flush()
        command = ["bash", "-euo", "pipefail", "-c", text]
        done = subprocess.run(command, env=environment, stdin=subprocess.DEVNULL, check=False)
        if done.returncode:
            sys.exit(f"status {done.returncode}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
