"""Checks that the numbers of every link agree: counter, events, roll-ups of hours, days and months, visitor sets.

It counts everything again, link by link, with other statements than those that keep the numbers.
"""

import sqlite3
from collections import Counter, defaultdict
from collections.abc import Container, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, TypeAlias, TypeVar

from pyroaring import BitMap

from shortener.analytics.model import Dimension
from shortener.analytics.periods import ROLLED_UP, Span

K = TypeVar("K")
Slot: TypeAlias = tuple[int, str, str]
"""Start of a period, dimension and value."""
Counts: TypeAlias = Counter[Slot]
Members: TypeAlias = dict[int, BitMap]
"""Visitors by the start of a period."""

_LINKS = "SELECT id, short_code, clicks FROM links ORDER BY id"
_EVENTS = """SELECT link_id, clicked_at, visitor_id, device, country, referrer, city FROM clicks
    WHERE counted = 1 ORDER BY link_id, clicked_at"""
_ROLLUPS = "SELECT link_id, span, period, dimension, value, clicks FROM click_rollups ORDER BY link_id"
_SETS = "SELECT link_id, span, period, visitors, members FROM visitor_sets ORDER BY link_id"
_LAST_LINK = "SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'links'"
_LAST_VISITOR = "SELECT coalesce(max(id), 0) FROM visitors"
_HOUR = 3_600
# Of every click there is one value of each of these; a city only where it is known.
_COMPLETE = (Dimension.DEVICE, Dimension.COUNTRY, Dimension.REFERRER)
_SPANS = {span.value: span for span in ROLLED_UP}
_NEXT_LONGER = ((Span.HOUR, Span.DAY), (Span.DAY, Span.MONTH))
_WORDS = {Span.HOUR: "hours", Span.DAY: "days", Span.MONTH: "months"}


class _Rows:
    """The rows of a query in order of links, taken link by link."""

    def __init__(self, rows: Iterator[tuple[Any, ...]]) -> None:  # as SQLite gives them; the tables are STRICT
        self._rows = rows
        self._head = next(rows, None)

    def next_link(self) -> Iterator[int]:
        """Yield the link of the next row, nothing at the end."""
        if self._head is not None:
            yield self._head[0]

    def of(self, link_id: int) -> Iterator[tuple[Any, ...]]:
        """Take the rows of a link."""
        while self._head is not None and self._head[0] == link_id:
            row, self._head = self._head, next(self._rows, None)
            yield row


@dataclass(slots=True)
class _Numbers:
    """The numbers that are kept of one link, and those that its events give."""

    counter: int | None  # None: the link is gone, its alias was taken again
    events: Counts = field(default_factory=Counter)
    came: Members = field(default_factory=dict)
    rollups: dict[Span, Counts] = field(default_factory=lambda: defaultdict(Counter))
    sets: dict[Span, Members] = field(default_factory=lambda: defaultdict(dict))
    faults: list[str] = field(default_factory=list)


def check_links(raw: sqlite3.Connection, *, whole_since: int, leaving: Container[int]) -> Iterator[str]:
    """Yield one line for each disagreement.

    Raw events before `whole_since` (Unix seconds) may be missing, and anything of the links in `leaving`.
    """
    links, events, rollups, sets = (_Rows(raw.execute(text)) for text in (_LINKS, _EVENTS, _ROLLUPS, _SETS))
    (last_link,), (last_visitor,) = raw.execute(_LAST_LINK).fetchone(), raw.execute(_LAST_VISITOR).fetchone()
    while ids := [link_id for rows in (links, events, rollups, sets) for link_id in rows.next_link()]:
        link_id = min(ids)
        known = next(links.of(link_id), None)
        numbers = _Numbers(known[2] if known else None)
        _add_events(numbers, events.of(link_id))
        _add_rollups(numbers, rollups.of(link_id))
        _add_sets(numbers, sets.of(link_id), last_visitor)
        name = f"link {known[1]}" if known else f"the former link {link_id}"
        if known is None and link_id > last_link:
            yield f"clicks belong to link {link_id}, which never existed"
        if link_id not in leaving:
            yield from (f"{name}: {fault}" for fault in [*numbers.faults, *_faults(numbers, whole_since)])


def _add_events(numbers: _Numbers, rows: Iterable[tuple[Any, ...]]) -> None:
    for _, at, visitor_id, device, country, referrer, city in rows:
        hour = at - at % _HOUR
        numbers.events[hour, Dimension.DEVICE, device] += 1
        numbers.events[hour, Dimension.COUNTRY, country] += 1
        numbers.events[hour, Dimension.REFERRER, referrer] += 1
        if city:
            numbers.events[hour, Dimension.CITY, f"{country}|{city}"] += 1
        if visitor_id is not None:
            numbers.came.setdefault(hour, BitMap()).add(visitor_id)


def _add_rollups(numbers: _Numbers, rows: Iterable[tuple[Any, ...]]) -> None:
    for _, span, period, dimension, value, clicks in rows:
        try:
            numbers.rollups[_SPANS[span]][period, Dimension(dimension), value] = clicks
        except (KeyError, ValueError):
            numbers.faults.append(f"a roll-up has the unknown span {span!r} or dimension {dimension!r}")


def _add_sets(numbers: _Numbers, rows: Iterable[tuple[Any, ...]], last_visitor: int) -> None:
    for _, span, period, count, blob in rows:
        try:
            members = numbers.sets[_SPANS[span]][period] = BitMap.deserialize(blob)
        except (KeyError, ValueError):
            numbers.faults.append(f"the visitor set {_period(span, period)} is damaged")
            continue
        if len(members) != count or (members and members.max() > last_visitor):
            numbers.faults.append(f"the visitor set {_period(span, period)} does not hold the visitors it should")


def _faults(numbers: _Numbers, whole_since: int) -> Iterator[str]:
    months = numbers.rollups[Span.MONTH]
    for dimension in _COMPLETE:
        total = sum(clicks for (_, kind, _), clicks in months.items() if kind == dimension)
        if numbers.counter is not None and total != numbers.counter:
            yield f"its counter is {numbers.counter}, the roll-ups of months by {dimension} add up to {total}"
    # The hour in which raw events begin may be cut in two.
    first = whole_since + -whole_since % _HOUR
    recent = {slot: clicks for slot, clicks in numbers.rollups[Span.HOUR].items() if slot[0] >= first}
    kept = {slot: clicks for slot, clicks in numbers.events.items() if slot[0] >= first}
    yield from _different("roll-ups of hours", recent, "events", kept)
    met = {hour: members for hour, members in numbers.sets[Span.HOUR].items() if hour >= first}
    came = {hour: members for hour, members in numbers.came.items() if hour >= first}
    yield from _different("visitor sets of hours", met, "events", came)
    for short, long in _NEXT_LONGER:
        sums: Counts = Counter()
        for (start, kind, value), clicks in numbers.rollups[short].items():
            sums[long.floor(start), kind, value] += clicks
        yield from _different(f"roll-ups of {_WORDS[long]}", numbers.rollups[long], _WORDS[short], sums)
        unions: Members = {}
        for start, members in numbers.sets[short].items():
            unions.setdefault(long.floor(start), BitMap()).update(members)
        yield from _different(f"visitor sets of {_WORDS[long]}", numbers.sets[long], _WORDS[short], unions)


def _different(what: str, kept: Mapping[K, object], source: str, counted: Mapping[K, object]) -> Iterator[str]:
    if kept == counted:
        return
    places = [key for key in {**kept, **counted} if kept.get(key) != counted.get(key)]
    yield f"the {what} differ from the {source} at {len(places)} of {len({**kept, **counted})} places"


def _period(span: str, start: int) -> str:
    return f"{span} {datetime.fromtimestamp(start, UTC):%Y-%m-%dT%H}"
