"""Kept answers in SQL: the only statements that name the table `replays`."""

import json
from typing import cast

from shortener.idempotency.ports import Kept
from shortener.storage.sqlite.sql import Database, Row, sql
from shortener.tx import Tx

_FIND = "SELECT request, answer, answered_at FROM replays WHERE key = ?"
_PUT = """INSERT INTO replays (key, request, answer, answered_at) VALUES (?, ?, ?, ?)
    ON CONFLICT (key) DO UPDATE SET request = excluded.request, answer = excluded.answer,
    answered_at = excluded.answered_at"""
_REMOVE = """DELETE FROM replays WHERE key IN (
        SELECT key FROM replays WHERE answered_at < ? OR answered_at > ? LIMIT ?
    )"""
_COUNT = "SELECT count(*) FROM replays"


class SqliteReplayStore:
    """A `ReplayStore` on a `Database`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def find(self, key: bytes) -> Kept | None:
        """See `ReplayStore.find`."""
        return _kept(await self._database.read(lambda reader: reader.row(_FIND, (key,))))

    def find_in(self, tx: Tx, key: bytes) -> Kept | None:
        """See `ReplayStore.find_in`."""
        return _kept(sql(tx).row(_FIND, (key,)))

    def put(self, tx: Tx, key: bytes, kept: Kept) -> None:
        """See `ReplayStore.put`."""
        sql(tx).run(_PUT, (key, kept.request, json.dumps(kept.answer), kept.answered_at))

    def remove(self, tx: Tx, *, before: int, after: int, limit: int) -> int:
        """See `ReplayStore.remove`."""
        return sql(tx).run(_REMOVE, (before, after, limit))

    async def count(self) -> int:
        """See `ReplayStore.count`."""
        row = await self._database.read(lambda reader: reader.row(_COUNT))
        return cast("tuple[int]", row)[0]


def _kept(row: Row | None) -> Kept | None:
    if row is None:
        return None
    request, answer, answered_at = cast("tuple[bytes, str, int]", row)
    return Kept(request, tuple(json.loads(answer)), answered_at)
