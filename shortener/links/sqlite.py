"""Links in SQL: the only statements that name the table `links`."""

import json
from collections.abc import Mapping, Sequence
from typing import cast

from shortener.links.model import Link, LinkRef, NewLink
from shortener.storage.sqlite.database import SqliteDatabase
from shortener.storage.sqlite.sql import Row, Sql, sql
from shortener.tx import Tx

_COLUMNS = """id, short_code, destination, owner_id, created_at, updated_at, expires_at, deleted_at, is_alias,
    clicks + increments"""
_FIND = f"SELECT {_COLUMNS} FROM links WHERE short_code = ?"  # noqa: S608 - pasted from constants
_FIND_MANY = f"""SELECT {_COLUMNS} FROM links
    WHERE short_code IN (SELECT value FROM json_each(?))"""  # noqa: S608 - pasted from constants
# The inner query passes over `offset` rows in the index alone.
_PAGE = f"""SELECT {_COLUMNS} FROM links WHERE id IN (
        SELECT id FROM links WHERE owner_id = ? AND deleted_at = 0 ORDER BY id DESC LIMIT ? OFFSET ?
    ) ORDER BY id DESC"""  # noqa: S608 - pasted from constants
_COUNT = "SELECT count(*) FROM links WHERE owner_id = ? AND deleted_at = 0"
_INSERT = f"""INSERT INTO links (short_code, destination, owner_id, created_at, updated_at, expires_at, is_alias)
    VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (short_code) DO NOTHING
    RETURNING {_COLUMNS}"""  # noqa: S608 - pasted from constants
_FORGET_OWN_ALIAS = "DELETE FROM links WHERE short_code = ? AND owner_id = ? AND is_alias = 1 AND deleted_at <> 0"
_DELETE = "UPDATE links SET deleted_at = ?, updated_at = ? WHERE short_code = ? AND deleted_at = 0"
_DELETE_OWN = f"{_DELETE} AND owner_id = ?"
_INCREMENT = f"""UPDATE links SET increments = increments + 1 WHERE short_code = ? AND deleted_at = 0
    RETURNING {_COLUMNS}"""  # noqa: S608 - pasted from constants
_ADD_CLICKS = "UPDATE links SET clicks = clicks + ? WHERE id = ? AND owner_id <> '' RETURNING clicks + increments"
# One index has the live links, another the deleted ones.
_OWNED = f"""SELECT {_COLUMNS} FROM links WHERE id IN (
        SELECT id FROM (SELECT id FROM links WHERE owner_id = ?1 AND deleted_at = 0 AND id > ?2 ORDER BY id LIMIT ?3)
        UNION ALL
        SELECT id FROM (SELECT id FROM links WHERE owner_id = ?1 AND deleted_at <> 0 AND id > ?2 ORDER BY id LIMIT ?3)
    ) ORDER BY id LIMIT ?3"""  # noqa: S608 - pasted from constants
_ERASE = """UPDATE links SET destination = '', owner_id = '', created_at = ?2, updated_at = ?2, expires_at = 0,
        deleted_at = ?2, clicks = 0, increments = 0
    WHERE id IN (SELECT id FROM links WHERE owner_id = ?1 AND deleted_at {} ORDER BY id LIMIT ?3)
    RETURNING id, short_code"""
_ERASE_LIVE = _ERASE.format("= 0")
_ERASE_DELETED = _ERASE.format("<> 0")


class SqliteLinkStore:
    """A `LinkStore` on a `SqliteDatabase`."""

    def __init__(self, database: SqliteDatabase) -> None:
        self._database = database

    async def find(self, short_code: str) -> Link | None:
        """See `LinkStore.find`."""
        row = await self._database.read(lambda reader: reader.row(_FIND, (short_code,)))
        return _link(row) if row else None

    async def find_many(self, short_codes: Sequence[str]) -> dict[str, Link]:
        """See `LinkStore.find_many`."""
        if len(short_codes) == 1:
            link = await self.find(short_codes[0])
            return {link.short_code: link} if link else {}
        codes = json.dumps(short_codes)
        rows = await self._database.read(lambda reader: reader.rows(_FIND_MANY, (codes,)))
        links = [_link(row) for row in rows]
        return {link.short_code: link for link in links}

    async def page(self, owner_id: str, limit: int, offset: int) -> tuple[list[Link], int]:
        """See `LinkStore.page`. Page and total come from one snapshot."""

        def query(reader: Sql) -> tuple[list[Row], Row | None]:
            return reader.rows(_PAGE, (owner_id, limit, offset)), reader.row(_COUNT, (owner_id,))

        rows, total = await self._database.read(query)
        return [_link(row) for row in rows], cast(int, total[0]) if total else 0

    async def owned(self, owner_id: str, *, after: int, limit: int) -> list[Link]:
        """See `LinkStore.owned`."""
        rows = await self._database.read(lambda reader: reader.rows(_OWNED, (owner_id, after, limit)))
        return [_link(row) for row in rows]

    def add(self, tx: Tx, link: NewLink) -> Link | None:
        """See `LinkStore.add`."""
        values = (
            link.short_code,
            link.destination,
            link.owner_id,
            link.created_at,
            link.created_at,
            link.expires_at,
            int(link.is_alias),
        )
        row = sql(tx).row(_INSERT, values)
        if row is None and link.is_alias and sql(tx).run(_FORGET_OWN_ALIAS, (link.short_code, link.owner_id)):
            row = sql(tx).row(_INSERT, values)
        return _link(row) if row else None

    def delete(self, tx: Tx, short_code: str, *, now: int, owner_id: str | None = None) -> bool:
        """See `LinkStore.delete`."""
        if owner_id is None:
            return bool(sql(tx).run(_DELETE, (now, now, short_code)))
        return bool(sql(tx).run(_DELETE_OWN, (now, now, short_code, owner_id)))

    def increment(self, tx: Tx, short_code: str) -> Link | None:
        """See `LinkStore.increment`."""
        row = sql(tx).row(_INCREMENT, (short_code,))
        return _link(row) if row else None

    def add_clicks(self, tx: Tx, counts: Mapping[LinkRef, int]) -> dict[LinkRef, int]:
        """See `LinkStore.add_clicks`."""
        totals = {}
        for ref, count in counts.items():
            row = sql(tx).row(_ADD_CLICKS, (count, ref.id))
            if row:
                totals[ref] = cast(int, row[0])
        return totals

    def erase_owned(self, tx: Tx, owner_id: str, *, now: int, limit: int) -> list[LinkRef]:
        """See `LinkStore.erase_owned`."""
        erased = sql(tx).rows(_ERASE_LIVE, (owner_id, now, limit))
        if not erased:
            erased = sql(tx).rows(_ERASE_DELETED, (owner_id, now, limit))
        return [LinkRef(*cast(tuple[int, str], row)) for row in erased]


def _link(row: Row) -> Link:
    """Build a link from `_COLUMNS`, whose types the STRICT table guarantees."""
    values = cast(tuple[int, str, str, str, int, int, int, int, int, int], row)
    return Link(*values[:8], is_alias=bool(values[8]), clicks=values[9])
