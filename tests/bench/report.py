"""The results as a table and as JSON."""

from collections.abc import Iterator
from statistics import median

from tests.bench.bench import Must, Row


def table(rows: list[Row]) -> str:
    """The table, in Markdown."""
    lines = ["| what | measured | must reach | |", "|---|---|---|---|"]
    for row in rows:
        figures = ", ".join(f"{who} {number(median(values))}" for who, values in row.figures.items())
        bounds = "; ".join(bound(must) for must in row.musts)
        verdict = ("met" if all(must.met for must in row.musts) else "**missed**") if row.musts else ""
        lines.append(f"| {row.name} | {figures} {row.unit} | {bounds} | {verdict} |")
    return "\n".join(lines)


def bound(must: Must) -> str:
    """What was reached, and what had to be."""
    return f"{number(must.value)} {must.what} ({'at least' if must.at_least else 'at most'} {number(must.bound)})"


def number(value: float) -> str:
    """A figure with about three digits."""
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def as_json(machine: dict[str, object], rows: list[Row], faults: list[str]) -> dict[str, object]:
    """Everything, rounds included."""
    return {
        "machine": machine,
        "met": not faults and not list(missed(rows)),
        "faults": faults,
        "rows": [_row(row) for row in rows],
    }


def _row(row: Row) -> dict[str, object]:
    return {
        "name": row.name,
        "unit": row.unit,
        "medians": {who: median(values) for who, values in row.figures.items()},
        "rounds": row.figures,
        "musts": [
            {"what": must.what, "value": must.value, "bound": must.bound, "at_least": must.at_least, "met": must.met}
            for must in row.musts
        ],
        "notes": row.notes,
        "others_share_of_machine": row.neighbours,
    }


def missed(rows: list[Row]) -> Iterator[str]:
    """Name what was not reached."""
    for row in rows:
        for must in row.musts:
            if not must.met:
                yield f"{row.name}: {bound(must)}"
