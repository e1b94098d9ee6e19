"""What every row of the benchmark shares: its sizes, its data sets, and how results are judged."""

import contextlib
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tests.bench.machine import Neighbours

WORLD_END = 1_717_200_123
"""Unix seconds of the last click of every data set, in the middle of an hour."""
NOISY = 0.1
"""With more of the machine than this in others' hands a round is done again, twice at most."""
NOISY_BELOW_US = 0.6
"""The same where others only get what we leave them."""
EXTRA_ROUNDS = 2


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much is measured."""

    rounds: int
    seconds: float  # of each run of a generator
    links: int  # on disk
    cached: int  # of them in memory
    clicks: int  # on disk, over all links
    busy_clicks: int  # on the one link with many
    some_clicks: int  # on the one link with few


FULL = Sizes(5, 3.0, 1_000_000, 100_000, 10_000_000, 1_000_000, 10_000)
QUICK = Sizes(1, 1.0, 10_000, 5_000, 50_000, 20_000, 2_000)


@dataclass(frozen=True, slots=True)
class Must:
    """A bound that the issue sets, and what was reached."""

    what: str
    value: float
    bound: float
    at_least: bool = True

    @property
    def met(self) -> bool:
        return self.value >= self.bound if self.at_least else self.value <= self.bound


@dataclass(slots=True)
class Row:
    """One line of the table. `figures` are those of each round, by who was measured."""

    name: str
    unit: str
    figures: dict[str, list[float]] = field(default_factory=dict)
    musts: list[Must] = field(default_factory=list)
    notes: dict[str, float] = field(default_factory=dict)
    neighbours: list[float] = field(default_factory=list)

    def add(self, who: str, figure: float) -> None:
        self.figures.setdefault(who, []).append(figure)

    def median(self, who: str) -> float:
        return statistics.median(self.figures[who])

    def ratio(self, who: str, peer: str) -> float:
        """How many times as much, in the median round: each round's runs are neighbours in time."""
        return statistics.median(a / b for a, b in zip(self.figures[who], self.figures[peer], strict=True))


@dataclass(slots=True)
class Bench:
    """One run of the benchmark."""

    sizes: Sizes
    cache: Path  # data sets stay here
    scratch: Path
    say: Callable[[str], None]
    noisy: float = NOISY
    rows: list[Row] = field(default_factory=list)

    def row(self, name: str, unit: str) -> Row:
        row = Row(name, unit)
        self.rows.append(row)
        return row

    def rounds(self, *rows: Row, rounds: int | None = None) -> Iterator[int]:
        """Yield the numbers of the rounds. When others were busy a round is repeated, and its figures are dropped."""
        wanted, repeats, number = rounds or self.sizes.rounds, EXTRA_ROUNDS, 0
        while number < wanted:
            kept = [{who: len(figures) for who, figures in row.figures.items()} for row in rows]
            neighbours = Neighbours()
            yield number
            share = neighbours.share()
            if share > self.noisy and repeats:
                repeats -= 1
                self.say(f"{rows[0].name}: others used {share:.0%} of the machine; once more")
                for row, before in zip(rows, kept, strict=True):
                    for who, figures in row.figures.items():
                        del figures[before.get(who, 0) :]
                continue
            rows[0].neighbours.append(share)
            number += 1

    @contextlib.contextmanager
    def folder(self) -> Iterator[Path]:
        """A folder of its own for one server's data."""
        with tempfile.TemporaryDirectory(dir=self.scratch) as folder:
            yield Path(folder)

    def data_set(self, links: int, clicks: int, spread: str) -> Path:
        """Return a data directory with so many links and clicks, made when there is none. It must not be changed."""
        path = self.cache / f"links-{links}-clicks-{clicks}-{spread}"
        if not path.exists():
            self.say(f"making {path.name}, once")
            with tempfile.TemporaryDirectory(dir=self.cache, prefix="making-") as part:
                size = ["--links", str(links), "--clicks", str(clicks), "--spread", spread, "--end", str(WORLD_END)]
                command = [sys.executable, "-m", "tests.bench.load", "--data-dir", f"{part}/data", *size]
                subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
                Path(part, "data").rename(path)
        return path

    @contextlib.contextmanager
    def copy(self, data_set: Path) -> Iterator[Path]:
        """A copy of a data set that may be changed."""
        with self.folder() as folder:
            yield Path(shutil.copytree(data_set, folder / "data"))
