"""What people see: at a terminal colours, aligned columns, bars and charts; in a pipe the same facts as plain text."""

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from typing import TYPE_CHECKING

import typer

from shortener.cli.common import fail

if TYPE_CHECKING:
    from rich.console import Console

_CHART_HEIGHT = 6
_CHART_WIDTH_MAX = 72
_COLUMN_WIDTH_MAX = 3
_BAR_WIDTH = 20
_EIGHTHS = " ▁▂▃▄▅▆▇█"
_ASCII_EIGHTHS = "    #####"
_QUIET_MODULES = 2
"""White around a QR code, in modules."""
_QR_STYLE = "color(16) on color(231)"
"""Black on white, whatever the terminal's own colours are."""


@dataclass(frozen=True, slots=True)
class Share:
    """One row of a distribution."""

    name: str
    count: int
    percentage: float


def is_terminal() -> bool:
    """Tell whether somebody looks at standard output."""
    return sys.stdout.isatty()


@cache
def _console() -> "Console":
    """Return what draws on the terminal; it knows its width and encoding, and honours NO_COLOR and TERM."""
    from rich.console import Console  # noqa: PLC0415 - only where there is somebody to look

    return Console(highlight=False, markup=False, emoji=False)


def line(*parts: tuple[str, str]) -> None:
    """Print one line of texts, each with a style that only terminals show."""
    if not is_terminal():
        typer.echo("".join(text for text, _ in parts))
        return
    from rich.text import Text  # noqa: PLC0415 - only where there is somebody to look

    _console().print(Text.assemble(*parts), soft_wrap=True)


def table(columns: Sequence[str], rows: Sequence[Sequence[str]], *, accent: int) -> None:
    """Print rows, at a terminal under titles. A title after `>` is that of numbers, `accent` the column to stand out.

    On a narrow terminal the last column is cut.
    """
    if not is_terminal():
        for row in rows:
            cells = (f"{cell:>8}" if title.startswith(">") else cell for title, cell in zip(columns, row, strict=True))
            typer.echo("  ".join(cells))
        return
    from rich.table import Table  # noqa: PLC0415 - only where there is somebody to look
    from rich.text import Text  # noqa: PLC0415 - as above

    drawn = Table(box=None, pad_edge=False, header_style="bold")
    for number, title in enumerate(columns):
        name = title.removeprefix(">")
        is_last = number == len(columns) - 1
        drawn.add_column(
            Text(name, no_wrap=True),
            justify="left" if name == title else "right",
            style="cyan" if number == accent else "",
            no_wrap=not is_last,
        )
    for row in rows:
        drawn.add_row(*(Text(cell, no_wrap=True) for cell in row))
    _console().print(drawn)


def facts(values: dict[str, str]) -> None:
    """Print names and values, one a line."""
    width = max(map(len, values))
    for name, value in values.items():
        line((f"{name:<{width}}", "bold"), (f"  {value}", ""))


def shares(title: str, rows: Sequence[Share], *, rows_max: int) -> None:
    """Print a distribution under its title, with bars at a terminal; nothing for no rows."""
    if not rows:
        return
    line((title, "bold"))
    width = max(len(row.name) for row in rows[:rows_max])
    for row in rows[:rows_max]:
        length = max(1, round(row.percentage * _BAR_WIDTH / 100))
        bar = f"  {_eighths()[-1] * length}" if is_terminal() else ""
        line((f"  {row.name:<{width}}  {row.count:>8}  {row.percentage:5.1f} %", ""), (bar, "cyan"))
    if len(rows) > rows_max:
        line((f"  and {len(rows) - rows_max} more", ""))


def _eighths() -> str:
    return _ASCII_EIGHTHS if _console().options.ascii_only else _EIGHTHS


def series(title: str, points: Sequence[tuple[int, int]], *, by_hour: bool) -> None:
    """Print counts by the Unix times at which their periods start: as a chart at a terminal, else one a line."""
    dates = [
        datetime.fromtimestamp(start, UTC).strftime("%Y-%m-%d %H:%M" if by_hour else "%Y-%m-%d") for start, _ in points
    ]
    counts = [count for _, count in points]
    line((title, "bold"))
    if not is_terminal():
        for date, count in zip(dates, counts, strict=True):
            line((f"  {date}  {count:>8}", ""))
        return
    label_width = len(f"{max(counts, default=0):,}")
    width = min(_CHART_WIDTH_MAX, _console().width - label_width - 5)
    for label, bars in chart(counts, width=width, eighths=_eighths()):
        line((f"  {label:>{label_width}} ", "dim"), (bars, "cyan"))
    ends = f"{dates[0]}  to  {dates[-1]}" if dates else "nothing"
    line((f"  {'':>{label_width}} {ends}", "dim"))


def chart(counts: Sequence[int], *, width: int, eighths: str = _EIGHTHS) -> Iterator[tuple[str, str]]:
    """Yield the rows of a chart, from its top, each with its label: the highest bar's count, and 0 at the bottom.

    Where there are more counts than columns, neighbours are added up. Every count but 0 is seen.
    """
    each = -(-len(counts) // max(1, width))
    bars = [sum(counts[start : start + each]) for start in range(0, len(counts), each or 1)]
    highest = max(bars, default=0)
    steps = [0 if not bar else max(1, round(bar * _CHART_HEIGHT * 8 / highest)) for bar in bars]
    column = max(1, min(_COLUMN_WIDTH_MAX, width // max(1, len(bars))))
    solid = max(1, column - 1)
    for row in reversed(range(_CHART_HEIGHT)):
        cells = (eighths[min(8, max(0, step - row * 8))] for step in steps)
        label = f"{highest:,}" if row == _CHART_HEIGHT - 1 else "0" if row == 0 else ""
        yield label, "".join((cell * solid).ljust(column) for cell in cells)


def qr(modules: Sequence[str]) -> None:
    """Draw the rows of a QR code, "1" is black, two modules in one character.

    Without colours whatever is white is drawn instead, which is right for terminals with a dark background.
    """
    console = _console()
    if console.options.ascii_only:
        fail("the encoding of this terminal has no blocks to draw a QR code with: name a file with --out")
    is_inverted = console.no_color or console.color_system is None
    for text in half_blocks(modules, is_inverted=is_inverted):
        line((text, "" if is_inverted else _QR_STYLE))


def half_blocks(modules: Sequence[str], *, is_inverted: bool) -> Iterator[str]:
    """Yield the lines of a QR code with its quiet zone; `is_inverted` draws what is white instead of what is black."""
    margin = "0" * _QUIET_MODULES
    side = "0" * (len(modules) + 2 * _QUIET_MODULES)
    blank = [side] * _QUIET_MODULES
    rows = [*blank, *(margin + row + margin for row in modules), *blank, side]
    drawn = " ▄▀█" if not is_inverted else "█▀▄ "
    for upper, lower in zip(rows[::2], rows[1::2], strict=False):
        yield "".join(drawn[int(above + below, 2)] for above, below in zip(upper, lower, strict=True))
