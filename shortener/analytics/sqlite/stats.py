"""SqliteStatsReader: statistics read from the roll-ups. Contains no rule about what may be asked.

A range is covered by whole months, days and hours of the roll-ups; only its ragged edges, each shorter than an
hour, are counted from events. Where those have been removed, a click counts as if it had come at the full hour.
Everything of one answer is read in one snapshot. SQLite does the counting and hands
it over as one JSON text: a reader thread takes Python's lock once for each row it fetches, which a busy event loop
makes expensive, so that even a series of thousands of periods is one row.
"""

import json
from collections import defaultdict
from collections.abc import Sequence
from functools import partial
from typing import cast

from pyroaring import BitMap

from shortener.analytics.model import OTHER
from shortener.analytics.periods import (
    DAYS_DOWN,
    HOUR,
    MONTHS_DOWN,
    Cover,
    Span,
    TimeRange,
    cover,
    months_around,
    sum_cover,
)
from shortener.analytics.stats import REFERRERS_MAX, CityClicks, DeviceCounts, Places, Tally, TimePoint
from shortener.storage.sqlite.database import SqliteDatabase
from shortener.storage.sqlite.sql import Sql, Value

# The hours of the first and of the last counted click: one seek in the primary key for each.
_EXTENT = """
SELECT (SELECT MIN(period) FROM click_rollups WHERE link_id = ?1 AND span = 'h'),
       (SELECT MAX(period) FROM click_rollups WHERE link_id = ?1 AND span = 'h')
"""

_HORIZON = "SELECT removed_before FROM click_retention"

# ?1 link, ?2 whole periods as [[span, start, sign], ...], ?3 edges as [[start, end, sign], ...].
_PIECES = """
WITH periods AS (
    SELECT value ->> 0 AS piece_span, value ->> 1 AS piece_start, value ->> 2 AS sign FROM json_each(?2)
),
edges AS (SELECT value ->> 0 AS edge_start, value ->> 1 AS edge_end, value ->> 2 AS sign FROM json_each(?3))"""

# CROSS JOIN fixes the order of the loops: each period is then one seek for each dimension, and the rows of
# cities, which may be many, are never walked over. Grouping one dimension at a time sorts far less.
_ROLLED = """
SELECT '{0}' AS dimension, value, SUM(sign * clicks) AS clicks
FROM periods CROSS JOIN click_rollups
ON link_id = ?1 AND span = piece_span AND period = piece_start AND dimension = '{0}'
GROUP BY value"""

_ALL = "(SELECT json_group_object(value, clicks) FROM sums WHERE dimension = '{0}')"
_REFERRERS = f"""
(SELECT json_group_object(value, clicks)
 FROM (SELECT value, clicks FROM sums WHERE dimension = 'referrer' AND value <> '{OTHER}'
       ORDER BY clicks DESC, value LIMIT {REFERRERS_MAX}))"""  # noqa: S608 - constants

_EDGE_CLICKS = """
FROM edges CROSS JOIN clicks
ON link_id = ?1 AND clicked_at >= edge_start AND clicked_at < edge_end AND counted = 1"""

_TALLY = f"""{_PIECES},
edge_clicks AS MATERIALIZED (
    SELECT country, device, referrer, SUM(sign) AS clicks {_EDGE_CLICKS}
    GROUP BY country, device, referrer
),
pieces AS (
    {_ROLLED.format("country")}
    UNION ALL {_ROLLED.format("device")}
    UNION ALL {_ROLLED.format("referrer")}
    UNION ALL SELECT 'country', country, clicks FROM edge_clicks
    UNION ALL SELECT 'device', device, clicks FROM edge_clicks
    UNION ALL SELECT 'referrer', referrer, clicks FROM edge_clicks
),
sums AS MATERIALIZED (
    SELECT dimension, value, SUM(clicks) AS clicks FROM pieces GROUP BY dimension, value HAVING SUM(clicks) > 0
)
SELECT {_ALL.format("country")}, {_ALL.format("device")}, {_REFERRERS}
"""  # noqa: S608 - put together from constants alone

_SETS = f"""{_PIECES}
SELECT members FROM periods CROSS JOIN visitor_sets
ON link_id = ?1 AND span = piece_span AND period = piece_start
WHERE ?3 IS NOT NULL
"""  # noqa: S608 - put together from constants alone

_EDGE_VISITORS = f"""{_PIECES}
SELECT json_group_array(DISTINCT visitor_id) {_EDGE_CLICKS}
WHERE visitor_id IS NOT NULL AND ?2 IS NOT NULL
"""

_CLICKS = f"""{_PIECES}
SELECT (SELECT COALESCE(SUM(clicks), 0) FROM ({_ROLLED.format("device")}))
     + (SELECT COALESCE(SUM(sign), 0) {_EDGE_CLICKS})
"""  # noqa: S608 - put together from constants alone

# ?1 link, ?2 span, ?3 when the periods start.
_SERIES = """
WITH periods (start) AS (SELECT value FROM json_each(?3)),
points AS (
    SELECT start,
           (SELECT SUM(clicks) FROM click_rollups
            WHERE link_id = ?1 AND span = ?2 AND period = start AND dimension = 'device') AS clicks,
           COALESCE((SELECT visitors FROM visitor_sets
                     WHERE link_id = ?1 AND span = ?2 AND period = start), 0) AS visitors
    FROM periods
)
SELECT json_group_array(start), json_group_array(clicks), json_group_array(visitors)
FROM (SELECT start, clicks, visitors FROM points WHERE clicks IS NOT NULL ORDER BY start)
"""

_DAY_SETS = """
SELECT period, members FROM visitor_sets
WHERE link_id = ?1 AND span = 'd' AND period >= ?2 AND period < ?3
"""

_PLACES = f"""{_PIECES},
cities AS (SELECT value, clicks FROM ({_ROLLED.format("city")})
           ORDER BY substr(value, 4) = '{OTHER}', clicks DESC, substr(value, 4), value LIMIT ?4)
SELECT (SELECT json_group_array(json_array(value, clicks)) FROM ({_ROLLED.format("country")})),
       (SELECT json_group_array(json_array(substr(value, 4), substr(value, 1, 2), clicks)) FROM cities)
FROM (SELECT COUNT(*) FROM edges)
"""  # noqa: S608 - put together from constants alone


class SqliteStatsReader:
    """The `StatsReader` on SQLite."""

    def __init__(self, database: SqliteDatabase) -> None:
        self._database = database

    async def tally(self, link_id: int, within: TimeRange) -> Tally:
        # Its time depends on how the range lies and not on how many clicks it has.
        return await self._database.read(partial(_tally, link_id, within))

    async def series(self, link_id: int, within: TimeRange, span: Span) -> list[TimePoint]:
        return await self._database.read(partial(_series, link_id, within, span))

    async def places(self, link_id: int, *, cities_max: int) -> Places:
        return await self._database.read(partial(_places, link_id, cities_max))

    async def first_hour(self, link_id: int) -> int | None:
        extent = await self._database.read(partial(_extent, link_id))
        return extent.start if extent else None


def _extent(link_id: int, sql: Sql) -> TimeRange | None:
    """Return the range of whole hours that holds all counted clicks, None when there are none."""
    ((first, last),) = cast("list[tuple[int | None, int]]", sql.rows(_EXTENT, (link_id,)))
    return None if first is None else TimeRange(first, last + HOUR)


def _countable(within: TimeRange, sql: Sql) -> TimeRange:
    """Return the range with each bound moved to the next full hour if it lies in one whose events are removed."""
    if not (within.start % HOUR or within.end % HOUR):
        return within
    (horizon,) = cast(tuple[int], sql.rows(_HORIZON)[0])
    start, end = (time + -time % HOUR if time < horizon else time for time in (within.start, within.end))
    return TimeRange(start, end)


def _tally(link_id: int, within: TimeRange, sql: Sql) -> Tally:
    extent = _extent(link_id, sql)
    if extent is None:
        return Tally(0, DeviceCounts(), {}, {})
    # Whole months at both ends of what there is, so that an unbounded range needs nothing finer.
    months = months_around(extent)
    within = _countable(within.clamp(months.start, months.end), sql)
    countries, devices, referrers = sql.json(_TALLY, _parameters(link_id, sum_cover(within, MONTHS_DOWN)))
    return Tally(
        unique_visitors=len(_visitors(link_id, cover(within, MONTHS_DOWN), sql)),
        devices=DeviceCounts(**devices),
        countries=countries,
        referrers=referrers,
    )


def _visitors(link_id: int, pieces: Cover, sql: Sql) -> BitMap:
    """Return everyone who clicked in these periods and edges."""
    parameters = _parameters(link_id, pieces)
    visitors = _union([cast(bytes, members) for (members,) in sql.rows(_SETS, parameters)])
    if pieces.edges:
        (ids,) = sql.json(_EDGE_VISITORS, parameters)
        visitors.update(ids)
    return visitors


def _series(link_id: int, within: TimeRange, span: Span, sql: Sql) -> list[TimePoint]:
    extent = _extent(link_id, sql)
    if extent is None:
        return []
    within = _countable(within.clamp(span.floor(extent.start), span.ceil(extent.end)), sql)
    if within.is_empty:
        return []
    first, end = span.ceil(within.start), span.floor(within.end)
    if first > end:  # The range lies inside one period and reaches neither of its ends.
        return _ragged_point(link_id, within, span, sql)
    return (
        _ragged_point(link_id, TimeRange(within.start, first), span, sql)
        + _whole_points(link_id, TimeRange(first, end), span, sql)
        + _ragged_point(link_id, TimeRange(end, within.end), span, sql)
    )


def _ragged_point(link_id: int, within: TimeRange, span: Span, sql: Sql) -> list[TimePoint]:
    """Return the point of a range inside one period; none when there are no clicks in it."""
    if within.is_empty:
        return []
    pieces = cover(within.clamp(0, within.end), DAYS_DOWN)
    ((clicks,),) = cast("list[tuple[int]]", sql.rows(_CLICKS, _parameters(link_id, pieces)))
    if not clicks:
        return []
    return [TimePoint(span.floor(within.start), clicks, len(_visitors(link_id, pieces, sql)))]


def _whole_points(link_id: int, within: TimeRange, span: Span, sql: Sql) -> list[TimePoint]:
    if within.is_empty:
        return []
    if span is Span.WEEK:
        return _weeks(link_id, within, sql)
    starts = [span.start(number) for number in within.periods(span)]
    return list(map(TimePoint, *sql.json(_SERIES, (link_id, span, json.dumps(starts)))))


def _weeks(link_id: int, within: TimeRange, sql: Sql) -> list[TimePoint]:
    """Return whole weeks, put together from their days: clicks by adding, visitors by union."""
    clicks: defaultdict[int, int] = defaultdict(int)
    for day in _whole_points(link_id, within, Span.DAY, sql):
        clicks[Span.WEEK.floor(day.timestamp)] += day.clicks
    sets: defaultdict[int, list[bytes]] = defaultdict(list)
    for day_start, members in cast(list[tuple[int, bytes]], sql.rows(_DAY_SETS, (link_id, within.start, within.end))):
        sets[Span.WEEK.floor(day_start)].append(members)
    return [TimePoint(week, count, len(_union(sets[week]))) for week, count in sorted(clicks.items())]


def _places(link_id: int, cities_max: int, sql: Sql) -> Places:
    extent = _extent(link_id, sql)
    if extent is None:
        return Places({}, [])
    months = cover(months_around(extent), MONTHS_DOWN)
    countries, cities = sql.json(_PLACES, (*_parameters(link_id, months), cities_max))
    return Places(dict(countries), [CityClicks(*city) for city in cities])


def _union(sets: Sequence[bytes]) -> BitMap:
    return BitMap.union(*map(BitMap.deserialize, sets)) if sets else BitMap()


def _parameters(link_id: int, pieces: Cover) -> tuple[Value, ...]:
    return link_id, json.dumps(pieces.wholes), json.dumps(pieces.edges)
