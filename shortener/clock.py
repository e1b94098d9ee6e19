"""Time as the domain knows it: whole Unix seconds."""

import time
from collections.abc import Callable
from typing import Final

Clock = Callable[[], int]

system_clock: Final[Clock] = map(int, iter(time.time, None)).__next__
"""Returns the wall clock's time in Unix seconds: `int(time.time())` without a Python frame, for the hot paths."""
