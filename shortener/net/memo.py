"""A bounded memory of things computed before."""

from collections.abc import Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Memo(Generic[K, V]):
    """Remembers the values of at most `size_max` keys, the recently used ones for longer.

    Two generations take turns: when the young one holds half of `size_max` it becomes the old one, and what was in the
    old one is forgotten, unless it was asked for since. Every operation takes constant time.
    """

    __slots__ = ("_half", "_old", "_young")

    def __init__(self, size_max: int) -> None:
        if size_max < 2:
            raise ValueError("size_max must be at least 2")
        self._half = size_max // 2
        self._young: dict[K, V] = {}
        self._old: dict[K, V] = {}

    def get(self, key: K) -> V | None:
        """Return what is remembered of `key`, or None."""
        value = self._young.get(key)
        if value is None:
            value = self._old.get(key)
            if value is not None:
                self.put(key, value)
        return value

    def put(self, key: K, value: V) -> None:
        """Remember `value` under `key`."""
        if len(self._young) >= self._half:
            self._old = self._young
            self._young = {}
        self._young[key] = value

    def __len__(self) -> int:
        return len(self._young.keys() | self._old.keys())
