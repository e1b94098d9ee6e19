"""Shares of what all callers have together. Pure."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from shortener import errors


def has_room(own: int, every: int, size_max: int) -> bool:
    """Tell whether a caller who holds `own` of `every` place that is taken may have one more of `size_max`.

    Nobody may hold more than there is room for more. So one caller alone has half at most, whoever holds most is
    refused first, and there is room for one who comes next.
    """
    return own < size_max - every


class Shares:
    """Places that callers hold for a while; `what` they are for is said to those who are refused."""

    def __init__(self, size_max: int, what: str, *, retry_after_seconds: int = 1) -> None:
        self._size_max = size_max
        self._what = what
        self._retry_after_seconds = retry_after_seconds
        self._held: Counter[str] = Counter()
        self.total = 0
        """Places that are held now."""

    def check(self, caller: str) -> None:
        """Raise `errors.Exhausted` when there is no room for one more of this caller's."""
        own = self._held[caller]
        if not has_room(own, self.total, self._size_max):
            raise errors.Exhausted(
                f"too many {self._what}", retry_after_seconds=self._retry_after_seconds, overload=not own
            )

    @contextmanager
    def held(self, caller: str) -> Iterator[None]:
        """Hold a place until the block ends. Raises what `check` raises."""
        self.check(caller)
        self._held[caller] += 1
        self.total += 1
        try:
            yield
        finally:
            self.total -= 1
            self._held[caller] -= 1
            if not self._held[caller]:
                del self._held[caller]
