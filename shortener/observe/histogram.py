"""What modules count for `/metrics`: plain numbers, and histograms of plain integers."""

import bisect
from collections import defaultdict
from collections.abc import Callable, Sequence
from itertools import accumulate
from typing import TypeAlias

SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
FAST_SECONDS = (0.00005, 0.0001, 0.00025, *SECONDS)
"""For what usually ends within a millisecond."""
SIZES = (1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1000.0)


class Histogram:
    """Counts observations in the ranges that end at `bounds` (inclusive), and beyond the last; adds them up too."""

    __slots__ = ("_counts", "bounds", "total")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = bounds
        self.total = 0.0
        self._counts = [0] * (len(bounds) + 1)

    def observe(self, value: float, times: int = 1) -> None:
        """Add `value`, `times` over. Takes a quarter of a microsecond."""
        self._counts[bisect.bisect_left(self.bounds, value)] += times
        self.total += value * times

    @property
    def count(self) -> int:
        """How many were observed."""
        return sum(self._counts)

    def buckets(self) -> list[tuple[str, float]]:
        """Return, for each bound and +Inf, how many were not above it."""
        return list(zip([*map(str, self.bounds), "+Inf"], accumulate(self._counts), strict=True))


class Calls:
    """Counts calls by two labels, such as method and status, and how long they took."""

    def __init__(self, name: str, meaning: str, labels: tuple[str, str], bounds: Sequence[float] = SECONDS) -> None:
        self.name = name
        self.meaning = meaning
        self.labels = labels
        self.histograms: dict[tuple[str, str], Histogram] = defaultdict(lambda: Histogram(bounds))

    def observe(self, method: str, status: str, seconds: float, times: int = 1) -> None:
        """Add one call, or several that took as long. Costs half a microsecond."""
        self.histograms[method, status].observe(seconds, times)


Gauge: TypeAlias = tuple[str, str, dict[str, str], Callable[[], float] | Histogram]
"""Something to show: its name (counters end in _total), meaning, labels, and how to read it."""
