"""Keeps a fault that repeats itself from filling the log."""

import time


class OncePerSecond:
    """Says yes at most once a second."""

    def __init__(self) -> None:
        self._last = float("-inf")

    def __call__(self) -> bool:
        """Tell whether a second has passed since the last yes."""
        now = time.monotonic()
        if now - self._last < 1.0:
            return False
        self._last = now
        return True
