"""Keeps what repeats itself from filling the log."""

import time


class Paced:
    """Lets one in a second through, and tells how many there were."""

    def __init__(self) -> None:
        self._last = float("-inf")
        self._count = 0

    def __call__(self) -> int:
        """Count one more; return how many came since the last one let through, 0 while the second is not over."""
        self._count += 1
        now = time.monotonic()
        if now - self._last < 1.0:
            return 0
        count, self._count, self._last = self._count, 0, now
        return count
