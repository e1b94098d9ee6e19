"""What is kept about the clicks of links, as JSON texts: SQLite makes them, so that they cost no event loop's time."""

import json
from collections.abc import Sequence
from typing import Final, cast

from pyroaring import BitMap

from shortener.analytics.ports import ClickMark, ClickPage
from shortener.storage.sqlite.database import SqliteDatabase
from shortener.storage.sqlite.sql import Sql

_CLICKS_AT_ONCE: Final = 1_000
_BEFORE_ALL: Final = ClickMark(-1, 0)

_TOTALS = """
WITH sums AS (
    SELECT rollups.link_id AS link_id, dimension, rollups.value AS name, SUM(clicks) AS clicks
    FROM json_each(?1) AS wanted CROSS JOIN click_rollups AS rollups
    ON rollups.link_id = wanted.value AND span = 'm'
    GROUP BY 1, 2, 3
),
dimensions AS (
    SELECT link_id, dimension, json_group_object(name, clicks) AS counts FROM sums GROUP BY link_id, dimension
)
SELECT link_id, json_group_object(dimension, json(counts)) FROM dimensions GROUP BY link_id"""
_SETS = """
SELECT link_id, members FROM json_each(?1) AS wanted CROSS JOIN visitor_sets
ON link_id = wanted.value AND span = 'm'"""
_CLICKS = """
SELECT group_concat(line, ',' || char(10)), COUNT(*), MAX(clicked_at), MAX(id) FILTER (WHERE clicked_at = latest) FROM (
    SELECT id, clicked_at, MAX(clicked_at) OVER () AS latest,
           json_object('clicked_at', clicked_at, 'country', country, 'city', city, 'referrer', referrer,
                       'device', device, 'is_bot', json(iif(bot, 'true', 'false'))) AS line
    FROM (SELECT * FROM clicks WHERE link_id = ?1 AND (clicked_at, id) > (?2, ?3) ORDER BY clicked_at, id LIMIT ?4)
    ORDER BY clicked_at, id)"""


class SqliteClickExport:
    """`ClickExport` on a `SqliteDatabase`."""

    def __init__(self, database: SqliteDatabase) -> None:
        self._database = database

    async def totals(self, link_ids: Sequence[int]) -> dict[int, str]:

        def query(on: Sql) -> dict[int, str]:
            wanted = (json.dumps(link_ids),)
            visitors: dict[int, BitMap] = {link_id: BitMap() for link_id in link_ids}
            for link_id, members in cast(list[tuple[int, bytes]], on.rows(_SETS, wanted)):
                visitors[link_id] |= BitMap.deserialize(members)
            counts = dict(cast(list[tuple[int, str]], on.rows(_TOTALS, wanted)))
            return {
                link_id: f'{{"unique_visitors":{len(visitors[link_id])},"clicks_by":{counts.get(link_id, "{}")}}}'
                for link_id in link_ids
            }

        return await self._database.read(query)

    async def clicks(self, link_id: int, after: ClickMark | None) -> ClickPage:
        mark = after or _BEFORE_ALL
        parameters = (link_id, mark.at, mark.id, _CLICKS_AT_ONCE)
        row = (await self._database.read(lambda on: on.rows(_CLICKS, parameters)))[0]
        text, count, at, last = cast(tuple[str | None, int, int, int], row)
        return ClickPage(text or "", ClickMark(at, last) if count == _CLICKS_AT_ONCE else None)
