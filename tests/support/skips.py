"""Reasons to skip a test that nothing can be installed against."""

import os
import re
import sys
from collections.abc import Callable

_TRUE: dict[str, Callable[[], bool]] = {
    r"needs root\b.*": lambda: os.geteuid() != 0,
    r"only Linux .*": lambda: sys.platform != "linux",
    r"`.*` fails here: .*": lambda: True,  # tried just before, such as a mount in a container
    r"needs 10,000 open files, the hard limit is \d+": lambda: True,
    r"this machine has no address but loopback": lambda: True,
}


def is_true(reason: str) -> bool:
    """Whether the test could not have run on this machine, whatever is installed."""
    return any(re.fullmatch(pattern, reason, re.DOTALL) and check() for pattern, check in _TRUE.items())
