"""Links in SQL: the only statements that name the tables `links` and `outbox`."""

import json
from collections.abc import Mapping, Sequence
from typing import cast

from shortener.links.model import (
    EventKind,
    Link,
    LinkCounts,
    LinkDetails,
    LinkEvent,
    LinkRecord,
    LinkRef,
    is_plain,
)
from shortener.storage.sqlite.database import SqliteDatabase
from shortener.storage.sqlite.sql import Row, Sql, sql
from shortener.tx import Tx

_LINK = ", ".join(Link._fields[:-1])  # all but `is_plain`, which follows from the destination
_NEW = LinkDetails._fields[1:]
_RECORD = ", ".join(LinkDetails._fields) + ", clicks + increments"
_BY_CODE = "short_code = ?"
_BY_CODES = "short_code IN (SELECT value FROM json_each(?))"
_FIND = "SELECT {} FROM links WHERE {}"
# The inner query passes over `offset` rows in the index alone.
_PAGE = f"""SELECT {_RECORD} FROM links WHERE id IN (
        SELECT id FROM links WHERE owner_id = ? AND deleted_at = 0 ORDER BY id DESC LIMIT ? OFFSET ?
    ) ORDER BY id DESC"""  # noqa: S608 - pasted from constants
_COUNT = "SELECT count(*) FROM links WHERE owner_id = ? AND deleted_at = 0"
_INSERT = f"""INSERT INTO links ({", ".join(_NEW)}) VALUES ({", ".join("?" * len(_NEW))})
    ON CONFLICT (short_code) DO NOTHING RETURNING id"""  # noqa: S608 - pasted from constants
_FORGET_OWN_ALIAS = "DELETE FROM links WHERE short_code = ? AND owner_id = ? AND is_alias = 1 AND deleted_at <> 0"
_DELETE = """UPDATE links SET deleted_at = ?1, updated_at = ?1 WHERE short_code = ?2 AND deleted_at = 0{}
    RETURNING id, short_code"""
_DELETE_ANY, _DELETE_OWN = _DELETE.format(""), _DELETE.format(" AND owner_id = ?3")
_INCREMENT = """UPDATE links SET increments = increments + 1 WHERE short_code = ? AND deleted_at = 0
    RETURNING clicks + increments"""
_ADD_CLICKS = "UPDATE links SET clicks = clicks + ? WHERE id = ? AND owner_id <> ''"
# One index has the live links, another the deleted ones.
_OWNED = f"""SELECT {_RECORD} FROM links WHERE id IN (
        SELECT id FROM (SELECT id FROM links WHERE owner_id = ?1 AND deleted_at = 0 AND id > ?2 ORDER BY id LIMIT ?3)
        UNION ALL
        SELECT id FROM (SELECT id FROM links WHERE owner_id = ?1 AND deleted_at <> 0 AND id > ?2 ORDER BY id LIMIT ?3)
    ) ORDER BY id LIMIT ?3"""  # noqa: S608 - pasted from constants
_ERASE = """UPDATE links SET destination = '', owner_id = '', created_at = ?2, updated_at = ?2, expires_at = 0,
        deleted_at = ?2, clicks = 0, increments = 0
    WHERE id IN (SELECT id FROM links WHERE owner_id = ?1 AND deleted_at {} ORDER BY id LIMIT ?3)
    RETURNING id, short_code"""
_PUT_EVENT = "INSERT INTO outbox (kind, link_id, short_code, at) VALUES (?, ?, ?, ?)"
_EVENTS = "SELECT id, kind, link_id, short_code, at FROM outbox WHERE id > ? ORDER BY id LIMIT ?"
_REMOVE_EVENTS = "DELETE FROM outbox WHERE id <= ?"
_ERASE_LIVE = _ERASE.format("= 0")
_ERASE_DELETED = _ERASE.format("<> 0")


class SqliteLinkStore:
    """A `LinkStore` on a `SqliteDatabase`."""

    def __init__(self, database: SqliteDatabase) -> None:
        self._database = database

    async def links(self, short_codes: Sequence[str]) -> dict[str, Link]:
        """See `LinkStore`."""
        rows = cast("list[tuple[int, str, str, int, int]]", await self._find(_LINK, short_codes))
        return {row[1]: Link(*row, is_plain(row[2])) for row in rows}

    async def records(self, short_codes: Sequence[str]) -> dict[str, LinkRecord]:
        """See `LinkStore`."""
        found = map(_record, await self._find(_RECORD, short_codes))
        return {record.details.short_code: record for record in found}

    async def _find(self, columns: str, short_codes: Sequence[str]) -> list[Row]:
        """Return these columns of the links that exist."""
        is_one = len(short_codes) == 1
        statement = _FIND.format(columns, _BY_CODE if is_one else _BY_CODES)
        value = short_codes[0] if is_one else json.dumps(short_codes)
        return await self._database.read(lambda reader: reader.rows(statement, (value,)))

    async def page(self, owner_id: str, limit: int, offset: int) -> tuple[list[LinkRecord], int]:
        """See `LinkStore`. Page and total come from one snapshot."""

        def query(reader: Sql) -> tuple[list[Row], Row | None]:
            return reader.rows(_PAGE, (owner_id, limit, offset)), reader.row(_COUNT, (owner_id,))

        rows, total = await self._database.read(query)
        return [_record(row) for row in rows], cast(int, total[0]) if total else 0

    async def owned(self, owner_id: str, *, after: int, limit: int) -> list[LinkRecord]:
        """See `LinkStore`."""
        rows = await self._database.read(lambda reader: reader.rows(_OWNED, (owner_id, after, limit)))
        return [_record(row) for row in rows]

    def add(self, tx: Tx, link: LinkDetails) -> int | None:
        """See `LinkStore`."""
        row = sql(tx).row(_INSERT, link[1:])
        if row is None and link.is_alias and sql(tx).run(_FORGET_OWN_ALIAS, (link.short_code, link.owner_id)):
            row = sql(tx).row(_INSERT, link[1:])
        return cast(int, row[0]) if row else None

    def delete(self, tx: Tx, short_code: str, *, now: int, owner_id: str | None = None) -> LinkRef | None:
        """See `LinkStore`."""
        if owner_id is None:
            row = sql(tx).row(_DELETE_ANY, (now, short_code))
        else:
            row = sql(tx).row(_DELETE_OWN, (now, short_code, owner_id))
        return _ref(row) if row else None

    def increment(self, tx: Tx, short_code: str) -> int | None:
        """See `LinkStore`."""
        row = sql(tx).row(_INCREMENT, (short_code,))
        return cast(int, row[0]) if row else None

    def add_clicks(self, tx: Tx, counts: Mapping[LinkRef, int]) -> set[LinkRef]:
        """See `LinkStore`."""
        return {ref for ref, count in counts.items() if sql(tx).run(_ADD_CLICKS, (count, ref.id))}

    def erase_owned(self, tx: Tx, owner_id: str, *, now: int, limit: int) -> list[LinkRef]:
        """See `LinkStore`."""
        erased = sql(tx).rows(_ERASE_LIVE, (owner_id, now, limit))
        return [_ref(row) for row in erased or sql(tx).rows(_ERASE_DELETED, (owner_id, now, limit))]


class SqliteOutbox:
    """An `Outbox` on a `SqliteDatabase`, and what whoever delivers its events needs."""

    def __init__(self, database: SqliteDatabase) -> None:
        self._database = database

    def put(self, tx: Tx, event: LinkEvent) -> None:
        """See `Outbox`."""
        sql(tx).run(_PUT_EVENT, (event.kind.value, *event.link, event.at))

    async def read(self, *, after: int, limit: int) -> list[tuple[int, LinkEvent]]:
        """Return the oldest events behind id `after` with their ids, `limit` at most."""
        rows = await self._database.read(lambda reader: reader.rows(_EVENTS, (after, limit)))
        found = cast("list[tuple[int, str, int, str, int]]", rows)
        return [
            (number, LinkEvent(EventKind(kind), LinkRef(link_id, code), at))
            for number, kind, link_id, code, at in found
        ]

    def remove(self, tx: Tx, *, up_to: int) -> None:
        """Remove the events up to this id: they were delivered."""
        sql(tx).run(_REMOVE_EVENTS, (up_to,))


def _ref(row: Row) -> LinkRef:
    return LinkRef(*cast("tuple[int, str]", row))


def _record(row: Row) -> LinkRecord:
    """Build a record from the columns `_RECORD`, whose types the STRICT table guarantees."""
    *details, is_alias, clicks = row
    return LinkRecord(LinkDetails._make((*details, bool(is_alias))), LinkCounts(cast(int, clicks)))
