"""Clicks in SQLite: the only writes to `visitors`, `clicks`, `click_rollups`, `visitor_sets`, `journal_position`.

Values travel as JSON texts and joined blobs, so that a batch of thousands of clicks is some twenty statements of one
step each. Python's lock is taken once for each step; with a step for each row, a busy event loop makes a batch
several times slower (measured: 12,000 roll-up rows in 0.13 s instead of 0.94 s).
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Final, TypeVar, cast

from pyroaring import BitMap

from shortener.analytics.model import DIRECT, NO_VISITOR, OTHER, START, VISITOR_SIZE, Click, Position
from shortener.analytics.periods import Span
from shortener.analytics.rollup import LinkHour, Period, Slot, chosen_values, roll_up, visitors_by_period, without
from shortener.storage.sqlite.database import SqliteDatabase
from shortener.storage.sqlite.sql import SqlTx, sql
from shortener.tx import Tx

T = TypeVar("T")

# How many rows travel in one JSON text: making it holds Python's lock for about a millisecond.
_ROWS_MAX: Final = 1_000
# How many visitor sets are read at once: those of the busiest links hold a megabyte each.
_SETS_MAX: Final = 250

# ?1 digests joined, ?2 how many.
_DIGESTS = f"""
WITH RECURSIVE numbers (n) AS (SELECT 0 WHERE ?2 > 0 UNION ALL SELECT n + 1 FROM numbers WHERE n + 1 < ?2)
SELECT n, substr(?1, n * {VISITOR_SIZE} + 1, {VISITOR_SIZE}) AS wanted FROM numbers"""  # noqa: S608 - a constant
_ADD_VISITORS = f"""
INSERT INTO visitors (digest) SELECT wanted FROM ({_DIGESTS}) WHERE true ON CONFLICT (digest) DO NOTHING"""  # noqa: S608 - a constant
_VISITOR_IDS = f"""
SELECT json_group_array(id) FROM (
    SELECT visitors.id FROM ({_DIGESTS}) CROSS JOIN visitors ON visitors.digest = wanted ORDER BY n)"""  # noqa: S608 - a constant
_ADD_CLICKS = """
INSERT INTO clicks (link_id, clicked_at, visitor_id, country, city, referrer, device, bot, counted)
SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4, value ->> 5, value ->> 6, value ->> 7,
       value ->> 8
FROM json_each(?) ORDER BY key"""
_LAST_CLICK = "SELECT MAX(id) FROM clicks"
# ?1 rows of link, hour, dimension and how many values are new perhaps, ?2 how many values may be.
_CROWDED = f"""
SELECT json_group_array(json_array(nth, known)) FROM (
    SELECT slot.key AS nth, slot.value ->> 3 AS fresh,
           (SELECT COUNT(*) FROM click_rollups
            WHERE link_id = slot.value ->> 0 AND span = 'h' AND period = slot.value ->> 1
                  AND dimension = slot.value ->> 2 AND value NOT IN ('{DIRECT}', '{OTHER}')) AS known
    FROM json_each(?1) AS slot)
WHERE known + fresh > ?2"""  # noqa: S608 - constants
# ?1 link, ?2 hour, ?3 dimension, ?4 values.
_KNOWN_VALUES = """
SELECT json_group_array(wanted.value) FROM json_each(?4) AS wanted CROSS JOIN click_rollups
ON link_id = ?1 AND span = 'h' AND period = ?2 AND dimension = ?3 AND click_rollups.value = wanted.value"""
# Rows of link, hour, day, month, dimension, value and clicks. They are flat: of lists in lists SQLite would parse the
# outer one again for each inner one. Days and months are summed here, beside Python; the order keeps neighbours in
# the tree together.
_ADD_TO_ROLLUPS = """
WITH hours AS MATERIALIZED (
    SELECT value ->> 0 AS link_id, value ->> 1 AS hour, value ->> 2 AS day, value ->> 3 AS month,
           value ->> 4 AS dimension, value ->> 5 AS value, value ->> 6 AS clicks
    FROM json_each(?)
)
INSERT INTO click_rollups (link_id, span, period, dimension, value, clicks)
SELECT link_id, 'h', hour, dimension, value, clicks FROM hours
UNION ALL SELECT link_id, 'd', day, dimension, value, SUM(clicks) FROM hours GROUP BY link_id, day, dimension, value
UNION ALL SELECT link_id, 'm', month, dimension, value, SUM(clicks) FROM hours GROUP BY link_id, month, dimension, value
ORDER BY 1, 2, 3, 4, 5
ON CONFLICT (link_id, span, period, dimension, value) DO UPDATE SET clicks = clicks + excluded.clicks"""
# One row for all sets: their indexes in the request with their sizes, and their bytes joined in the same order.
_VISITOR_SETS = """
SELECT json_group_array(json_array(nth, length(members))), group_concat(hex(members), '') FROM (
    SELECT requested.key AS nth, visitor_sets.members AS members FROM json_each(?) AS requested CROSS JOIN visitor_sets
    ON link_id = requested.value ->> 0 AND span = requested.value ->> 1 AND period = requested.value ->> 2)"""
# ?1 rows of link, span, period, size of the set, offset and length in ?2.
_PUT_VISITOR_SETS = """
INSERT INTO visitor_sets (link_id, span, period, visitors, members)
SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3, substr(?2, (value ->> 4) + 1, value ->> 5)
FROM json_each(?1) WHERE true
ON CONFLICT (link_id, span, period) DO UPDATE SET visitors = excluded.visitors, members = excluded.members"""
_POSITION = "SELECT segment, offset FROM journal_position"
_FIRST_POSITION = "INSERT INTO journal_position (one, segment, offset) VALUES (1, ?, ?)"
_MOVE_POSITION = "UPDATE journal_position SET segment = ?, offset = ? WHERE segment = ? AND offset = ?"


class SqliteClickStore:
    """`ClickStore` in SQLite.

    With `count_bots` false, clicks of bots are recorded but not counted. Of each link and hour the first `values_max`
    referrers and as many cities are kept apart; later new ones are stored as `other`.
    """

    def __init__(self, *, count_bots: bool, values_max: int) -> None:
        self._count_bots = count_bots
        self._values_max = values_max

    def is_counted(self, click: Click) -> bool:
        return self._count_bots or not click.bot

    def append(self, tx: Tx, clicks: Sequence[Click]) -> list[int]:
        if not clicks:
            return []
        on = sql(tx)
        visitor_ids = _visitor_ids(on, {click.visitor for click in clicks} - {NO_VISITOR})
        counted = [click for click in clicks if self.is_counted(click)]
        crowded = _crowded(on, chosen_values(counted), self._values_max)
        if crowded:
            clicks = [without(click, crowded) for click in clicks]
            counted = [click for click in clicks if self.is_counted(click)]
        rows = (self._row(click, visitor_ids) for click in clicks)
        for part in _parts(rows, _ROWS_MAX):
            on.run(_ADD_CLICKS, (json.dumps(part),))
        last = cast("tuple[int]", on.row(_LAST_CLICK))[0]
        added = roll_up(counted)
        _add_to_rollups(on, added.clicks)
        _add_to_visitor_sets(on, added.visitors, visitor_ids)
        return list(range(last - len(clicks) + 1, last + 1))  # Only this thread writes, so they follow one another.

    def _row(self, click: Click, visitor_ids: dict[bytes, int]) -> list[int | str | None]:
        return [
            click.ref.id,
            click.at,
            visitor_ids.get(click.visitor),
            click.country,
            click.city,
            click.referrer,
            click.device,
            int(click.bot),
            int(self.is_counted(click)),
        ]


class SqliteLogProgress:
    """`LogProgress` on a `SqliteDatabase`."""

    def __init__(self, database: SqliteDatabase) -> None:
        self._database = database

    async def position(self) -> Position:
        row = await self._database.read(lambda on: on.row(_POSITION))
        return Position(*cast("tuple[int, int]", row)) if row else START

    def advance(self, tx: Tx, old: Position, new: Position) -> bool:
        on = sql(tx)
        if on.run(_MOVE_POSITION, (*new, *old)):
            return True
        if old != START or on.row(_POSITION):
            return False
        on.run(_FIRST_POSITION, new)
        return True


def _visitor_ids(on: SqlTx, digests: set[bytes]) -> dict[bytes, int]:
    """Return the number of each visitor; the new ones get one."""
    ordered = sorted(digests)  # Neighbours in the index are found together.
    parameters = (b"".join(ordered), len(ordered))
    on.run(_ADD_VISITORS, parameters)
    (ids,) = on.json(_VISITOR_IDS, parameters)
    return dict(zip(ordered, ids, strict=True))


def _crowded(on: SqlTx, values: Mapping[Slot, Mapping[str, None]], values_max: int) -> dict[Slot, set[str]]:
    """Return which of these values come too late to be kept apart."""
    crowded: dict[Slot, set[str]] = {}
    slots = list(values)
    for part in _parts(iter(slots), _ROWS_MAX):
        rows = [(*slot, len(values[slot])) for slot in part]
        (found,) = on.json(_CROWDED, (json.dumps(rows), values_max))
        for nth, known in found:
            slot = part[nth]
            (kept,) = on.json(_KNOWN_VALUES, (*slot, json.dumps(list(values[slot]))))
            fresh = values[slot].keys() - kept
            in_order = [value for value in values[slot] if value in fresh]
            crowded[slot] = set(in_order[max(values_max - known, 0) :])
    return crowded


def _add_to_rollups(on: SqlTx, clicks: Mapping[tuple[Slot, str], int]) -> None:
    rows = (
        (link_id, hour, Span.DAY.floor(hour), Span.MONTH.floor(hour), dimension, value, count)
        for ((link_id, hour, dimension), value), count in sorted(clicks.items())
    )
    for part in _parts(rows, _ROWS_MAX):
        on.run(_ADD_TO_ROLLUPS, (json.dumps(part),))


def _add_to_visitor_sets(on: SqlTx, hours: Mapping[LinkHour, set[bytes]], visitor_ids: Mapping[bytes, int]) -> None:
    for part in _parts(visitors_by_period(hours), _SETS_MAX):
        changed: dict[Period, BitMap] = {}
        sets = _visitor_sets(on, [period for period, _ in part])
        for (period, digests), members in zip(part, sets, strict=True):
            before = len(members)
            members.update([visitor_ids[digest] for digest in digests])
            if len(members) > before:
                changed[period] = members
        if changed:
            _put_visitor_sets(on, changed)


def _visitor_sets(on: SqlTx, periods: list[Period]) -> list[BitMap]:
    """Return the sets of these periods, empty ones for those that have none yet."""
    sets = [BitMap() for _ in periods]
    found, joined = cast("tuple[str, str | None]", on.row(_VISITOR_SETS, (json.dumps(periods),)))
    data = bytes.fromhex(joined or "")
    offset = 0
    for nth, size in json.loads(found):
        sets[nth] = BitMap.deserialize(data[offset : offset + size])
        offset += size
    return sets


def _put_visitor_sets(on: SqlTx, sets: dict[Period, BitMap]) -> None:
    rows: list[tuple[int | str, ...]] = []
    blobs: list[bytes] = []
    offset = 0
    for period, members in sets.items():
        members.run_optimize()
        blob = members.serialize()
        rows.append((*period, len(members), offset, len(blob)))
        blobs.append(blob)
        offset += len(blob)
    on.run(_PUT_VISITOR_SETS, (json.dumps(rows), b"".join(blobs)))


def _parts(items: Iterator[T], size: int) -> Iterator[list[T]]:
    while part := list(islice(items, size)):
        yield part
