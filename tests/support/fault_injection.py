"""File systems for one test and failing system calls. A test skips where root or a tool is missing."""

import contextlib
import fcntl
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

DISK_BYTES = 400 << 20  # mkfs.xfs makes none smaller than 300 MiB
XFS_IOC_GOINGDOWN, XFS_FSOP_GOING_FLAGS_NOLOGFLUSH = 0x8004587D, 2
"""What `xfs_io -x -c shutdown` asks for; a program that has to be started first would blur the moment."""


def need(*tools: str, root: bool = False) -> None:
    """Skip the test unless these programs are installed, and, with `root`, it runs as root."""
    missing = [tool for tool in tools if shutil.which(tool, path=f"{os.environ['PATH']}:/usr/sbin:/sbin") is None]
    if missing:
        pytest.skip(f"needs {', '.join(missing)}")
    if root and os.geteuid() != 0:
        pytest.skip("needs root, to mount a file system")


def run(*command: str | Path) -> None:
    """Run a system tool; skip where the machine does not let it, as a container may not."""
    path = f"{os.environ['PATH']}:/usr/sbin:/sbin"
    done = subprocess.run(command, env={**os.environ, "PATH": path}, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"`{' '.join(map(str, command))}` fails here: {done.stderr.strip()[:200]}")


@dataclass
class PowerDisk:
    """A file system in a file, whose power can be cut."""

    image: Path
    mounted: Path

    def plug(self) -> None:
        """Mount it; its journal is replayed, as at a boot."""
        run("mount", "-o", "loop", self.image, self.mounted)

    def cut(self) -> None:
        """Lose everything that was not brought to the disk, at once; all later calls fail."""
        directory = os.open(self.mounted, os.O_RDONLY)
        try:
            fcntl.ioctl(directory, XFS_IOC_GOINGDOWN, XFS_FSOP_GOING_FLAGS_NOLOGFLUSH.to_bytes(4, sys.byteorder))
        finally:
            os.close(directory)

    def unplug(self) -> None:
        """Unmount it. Nobody may use it."""
        subprocess.run(["umount", self.mounted], check=True, capture_output=True)


@contextlib.contextmanager
def power_disk(folder: Path) -> Iterator[PowerDisk]:
    """Make an XFS in a file, mounted until the block ends."""
    need("mkfs.xfs", "mount", "losetup", root=True)
    disk = PowerDisk(folder / "disk.img", folder / "disk")
    with disk.image.open("wb") as file:
        file.truncate(DISK_BYTES)
    run("mkfs.xfs", "-q", "-f", disk.image)
    disk.mounted.mkdir()
    disk.plug()
    try:
        yield disk
    finally:
        disk.unplug()
        disk.image.unlink()


@contextlib.contextmanager
def small_disk(folder: Path, size: int) -> Iterator[Path]:
    """Give a directory that holds `size` bytes."""
    need("mount", root=True)
    mounted = folder / "small"
    mounted.mkdir()
    run("mount", "-t", "tmpfs", "-o", f"size={size},mode=0700", "none", mounted)
    try:
        yield mounted
    finally:
        subprocess.run(["umount", mounted], check=True, capture_output=True)


def failing(calls: str, fault: str, log: Path, *, path: Path | None = None) -> tuple[str, ...]:
    """The command of a server, some of whose system calls (on `path` alone, where it is given) fail, as strace has it.

    The process is the server's own: strace stands aside.
    """
    need("strace")
    only = ("-P", str(path)) if path else ()
    filters = ("-e", f"trace={calls}", "-e", "signal=none", "-e", f"inject={calls}:{fault}")
    return ("strace", "-D", "-f", "-qqq", "-o", str(log), *only, *filters, sys.executable, "-m", "shortener", "serve")
