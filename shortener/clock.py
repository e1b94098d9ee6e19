"""Time as the domain knows it: whole Unix seconds."""

import time
from collections.abc import Callable

Clock = Callable[[], int]


def system_clock() -> int:
    """Return the wall clock's time in Unix seconds."""
    return int(time.time())
