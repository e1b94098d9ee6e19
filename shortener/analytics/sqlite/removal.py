"""Removing clicks from SQLite: old raw ones, whose roll-ups stay, and all that belongs to a link which is nobody's."""

import json
from collections.abc import Sequence
from typing import Final, cast

from shortener.analytics.ports import OldClicks
from shortener.storage.sqlite.database import SqliteDatabase
from shortener.storage.sqlite.sql import Sql, sql
from shortener.tx import Tx

# How much one look at the clicks takes in: some 10 ms on a reader's thread.
_LINKS_MAX: Final = 2_000
_CLICKS_MAX: Final = 2_000
# How much one step removes: a millisecond or two.
_PURGED_LINKS: Final = 50
_PURGED_ROWS: Final = 100
_SET_BYTES_MAX: Final = 262_144

_HORIZON = "SELECT removed_before FROM click_retention"
_MOVE_HORIZON = "UPDATE click_retention SET removed_before = ?1 WHERE removed_before < ?1"
# The links behind ?1 that have clicks: one seek in the index for each, however many clicks it has.
_CLICKED = """
WITH RECURSIVE clicked (link_id) AS (
    SELECT MIN(link_id) FROM clicks WHERE link_id > ?1
    UNION ALL
    SELECT (SELECT MIN(link_id) FROM clicks WHERE link_id > clicked.link_id) FROM clicked WHERE link_id IS NOT NULL
    LIMIT ?2
)
SELECT json_group_array(link_id), MAX(link_id) FROM clicked WHERE link_id IS NOT NULL"""
_OLD = """
SELECT json_group_array(id) FROM (
    SELECT clicks.id FROM json_each(?1) AS clicked CROSS JOIN clicks
    ON clicks.link_id = clicked.value AND clicks.clicked_at < ?2 LIMIT ?3)"""
# ?1 links. Each removal is small: the one writer must not be held for long.
_PURGED = "SELECT json_group_array(link_id) FROM (SELECT link_id FROM click_purges ORDER BY link_id LIMIT ?)"
_PURGE_CLICKS = """
DELETE FROM clicks WHERE id IN (
    SELECT clicks.id FROM json_each(?1) AS purged CROSS JOIN clicks ON clicks.link_id = purged.value LIMIT ?2)"""
_PURGE_ROLLUPS = """
DELETE FROM click_rollups WHERE (link_id, span, period, dimension, value) IN (
    SELECT rollups.link_id, rollups.span, rollups.period, rollups.dimension, rollups.value
    FROM json_each(?1) AS purged CROSS JOIN click_rollups AS rollups ON rollups.link_id = purged.value LIMIT ?2)"""
# Few sets at once where they are large, since each page of theirs is overwritten; but one at least.
_PURGE_SETS = f"""
DELETE FROM visitor_sets WHERE (link_id, span, period) IN (
    SELECT link_id, span, period FROM (
        SELECT link_id, span, period, size, SUM(size) OVER (ORDER BY link_id, span, period) AS sizes FROM (
            SELECT sets.link_id, sets.span, sets.period, length(sets.members) AS size
            FROM json_each(?1) AS purged CROSS JOIN visitor_sets AS sets ON sets.link_id = purged.value LIMIT ?2))
    WHERE sizes - size < {_SET_BYTES_MAX})"""  # noqa: S608 - a constant
_FORGET_PURGED = "DELETE FROM click_purges WHERE link_id IN (SELECT value FROM json_each(?1))"
_PURGE_LATER = "INSERT OR IGNORE INTO click_purges (link_id) SELECT value FROM json_each(?)"
_IS_PURGED = "SELECT NOT EXISTS (SELECT 1 FROM click_purges)"
_REMOVE = "DELETE FROM clicks WHERE id IN (SELECT value FROM json_each(?))"


class SqliteClickRemoval:
    """`ClickRemoval` on a `SqliteDatabase`."""

    def __init__(self, database: SqliteDatabase) -> None:
        self._database = database

    async def removed_before(self) -> int:
        return cast(int, (await self._database.read(lambda on: on.rows(_HORIZON)))[0][0])

    def move_horizon(self, tx: Tx, horizon: int) -> None:
        sql(tx).run(_MOVE_HORIZON, (horizon,))

    async def find_old(self, horizon: int, after: int) -> OldClicks:

        def query(on: Sql) -> OldClicks:
            (links, last) = cast(tuple[str, int | None], on.rows(_CLICKED, (after, _LINKS_MAX))[0])
            if last is None:
                return OldClicks([], after, is_last=True)
            (ids,) = on.json(_OLD, (links, horizon, _CLICKS_MAX))
            # As many as fit: the same links may have more.
            return OldClicks(ids, after if len(ids) == _CLICKS_MAX else last, is_last=False)

        return await self._database.read(query)

    def remove(self, tx: Tx, ids: Sequence[int]) -> int:
        return sql(tx).run(_REMOVE, (json.dumps(ids),))

    def purge_later(self, tx: Tx, link_ids: Sequence[int]) -> None:
        sql(tx).run(_PURGE_LATER, (json.dumps(link_ids),))

    def purge(self, tx: Tx) -> bool:
        on = sql(tx)
        (links,) = cast(tuple[str], on.rows(_PURGED, (_PURGED_LINKS,))[0])
        if links == "[]":
            return False
        for statement in (_PURGE_CLICKS, _PURGE_ROLLUPS, _PURGE_SETS):
            if on.run(statement, (links, _PURGED_ROWS)):
                return True
        on.run(_FORGET_PURGED, (links,))
        return True

    async def is_purged(self) -> bool:
        return bool((await self._database.read(lambda on: on.rows(_IS_PURGED)))[0][0])
