"""Compares the counters, roll-ups and visitor sets of a stopped server's database with a recount of its events.

Everything is counted anew from the events, by other means than the program's: plain SQL and sets.
"""

import contextlib
import shutil
import sqlite3
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from pyroaring import BitMap

from shortener.backup.verify import verify

_PERIODS = {
    "h": "clicked_at - clicked_at % 3600",
    "d": "clicked_at - clicked_at % 86400",
    "m": "CAST(strftime('%s', clicked_at, 'unixepoch', 'start of month') AS INTEGER)",
}
_VALUES = {"device": "device", "country": "country", "referrer": "referrer", "city": "country || '|' || city"}
_STORED = "SELECT link_id, span, period, dimension, value, clicks FROM click_rollups"
_COUNTERS = """SELECT short_code, clicks,
        (SELECT count(*) FROM clicks WHERE link_id = links.id AND counted = 1) AS events
    FROM links WHERE clicks <> events"""
_NOBODY = """SELECT clicks.id, visitor_id FROM clicks LEFT JOIN visitors ON visitors.id = visitor_id
    WHERE visitor_id IS NOT NULL AND visitors.id IS NULL"""


@contextlib.contextmanager
def copied(data_dir: Path) -> Iterator[sqlite3.Connection]:
    """Open a copy of a killed server's database; the next start finds the original as the kill left it."""
    copy = data_dir.parent / f"{data_dir.name}-copy"
    shutil.rmtree(copy, ignore_errors=True)
    copy.mkdir()
    for name in ("shortener.db", "shortener.db-wal"):
        if (data_dir / name).exists():
            shutil.copy(data_dir / name, copy / name)
    with contextlib.closing(sqlite3.connect(copy / "shortener.db")) as database:
        yield database
    shutil.rmtree(copy)


def differences_from_recount(database: sqlite3.Connection) -> list[str]:
    """Return everything that does not fit; nothing when all is well."""
    found = [f"integrity: {row}" for row in database.execute("PRAGMA integrity_check").fetchall() if row != ("ok",)]
    found += [f"counter, events: {row}" for row in database.execute(_COUNTERS)]
    found += [f"a click of an unknown visitor: {row}" for row in database.execute(_NOBODY)]
    counted = " UNION ALL ".join(
        f"SELECT link_id, '{span}', {period}, '{dimension}', {value}, count(*) FROM clicks WHERE counted = 1"
        + (" AND city <> ''" if dimension == "city" else "")
        + " GROUP BY 1, 3, 5"
        for span, period in _PERIODS.items()
        for dimension, value in _VALUES.items()
    )
    extra = database.execute(f"{_STORED} EXCEPT SELECT * FROM ({counted})").fetchall()
    missing = database.execute(f"SELECT * FROM ({counted}) EXCEPT {_STORED}").fetchall()
    found += [f"rolled up, not in the events: {row}" for row in extra]
    found += [f"in the events, not rolled up: {row}" for row in missing]
    return found + _visitors(database)


def _visitors(database: sqlite3.Connection) -> list[str]:
    seen: dict[tuple[int, str, int], set[int]] = defaultdict(set)
    for span, period in _PERIODS.items():
        for link_id, start, visitor_id in database.execute(
            f"SELECT DISTINCT link_id, {period}, visitor_id FROM clicks WHERE counted = 1 AND visitor_id IS NOT NULL"
        ):
            seen[link_id, span, start].add(visitor_id)
    stored = {
        (link_id, span, period): (visitors, set(BitMap.deserialize(members)))
        for link_id, span, period, visitors, members in database.execute(
            "SELECT link_id, span, period, visitors, members FROM visitor_sets"
        )
    }
    keys = sorted(seen.keys() | stored.keys())
    expected = {key: (len(seen[key]), seen[key]) for key in keys}
    return [
        f"visitors of {key}: {stored.get(key)}, not {expected[key]}" for key in keys if stored.get(key) != expected[key]
    ]


def assert_counts_match_recount(data_dir: Path) -> None:
    """Fail unless everything in a data directory agrees, by our own count and by `shortener verify`'s."""
    with copied(data_dir) as database:
        assert differences_from_recount(database) == []
    assert verify(data_dir, has_own_secret=True, progress=lambda _done, _parts: None).findings == []
