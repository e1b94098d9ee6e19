"""What `shortener serve` says when every listener accepts: one JSON line for programs, a few lines for people."""

import json
import os
from collections.abc import Mapping
from pathlib import Path

from shortener.version import __version__

_WILDCARDS = ("0.0.0.0", "[::]")  # noqa: S104 - compared


def for_programs(addresses: Mapping[str, str]) -> str:
    """Return the ready line: HOST:PORT of each listener by its name, and the process id."""
    return json.dumps({"event": "ready", **addresses, "pid": os.getpid()}) + "\n"


def for_people(addresses: Mapping[str, str], *, base_url: str, data_dir: Path) -> str:
    """Return the same with addresses that a terminal lets people click."""
    served_at = _clickable(addresses["redirect"])
    links = f"{base_url}/"
    if base_url != served_at:
        links += f"  (served at {served_at}/)"
    lines = {
        "short links": links,
        "REST API": f"{_clickable(addresses['gateway'])}/",
        "gRPC": f"{addresses['url']}; accounts {addresses['user']}, statistics {addresses['analytics']}",
        "data": str(data_dir.absolute()),
    }
    shown = "".join(f"  {name:<13}{text}\n" for name, text in lines.items())
    return f"shortener {__version__} is ready, process {os.getpid()}; Ctrl-C stops it\n{shown}"


def _clickable(address: str) -> str:
    """Return the URL of an HTTP listener as a browser on this machine opens it."""
    host, _, port = address.rpartition(":")
    is_here = host in _WILDCARDS or host == "127.0.0.1"
    return f"http://{'localhost' if is_here else host}:{port}"
