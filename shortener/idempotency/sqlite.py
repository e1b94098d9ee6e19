"""Kept answers in SQL: the only statements that name the tables `replays` and `replay_counts`."""

import json
from typing import cast

from shortener.idempotency.model import Asked
from shortener.idempotency.ports import Kept
from shortener.storage.sqlite.database import SqliteDatabase
from shortener.storage.sqlite.sql import Row, sql
from shortener.tx import Tx

_FIND = "SELECT request, answer, answered_at FROM replays WHERE key = ?"
_FORGET = "DELETE FROM replays WHERE key = ?"  # then inserted anew: the triggers that count know no other change
_PUT = "INSERT INTO replays (key, caller, request, answer, answered_at) VALUES (?, ?, ?, ?, ?)"
_REMOVE = """DELETE FROM replays WHERE key IN (
        SELECT key FROM replays WHERE answered_at < ? OR answered_at > ? LIMIT ?
    )"""
_COUNTS = "SELECT caller, kept FROM replay_counts WHERE caller IN (?, x'')"
_COUNT = "SELECT kept FROM replay_counts WHERE caller = x''"


class SqliteReplayStore:
    """A `ReplayStore` on a `SqliteDatabase`."""

    def __init__(self, database: SqliteDatabase) -> None:
        self._database = database

    async def find(self, key: bytes) -> Kept | None:
        return _kept(await self._database.read(lambda reader: reader.row(_FIND, (key,))))

    def find_in(self, tx: Tx, key: bytes) -> Kept | None:
        return _kept(sql(tx).row(_FIND, (key,)))

    def put(self, tx: Tx, call: Asked, kept: Kept) -> None:
        sql(tx).run(_FORGET, (call.key,))
        sql(tx).run(_PUT, (call.key, call.caller, kept.request, json.dumps(kept.answer), kept.answered_at))

    def remove(self, tx: Tx, *, before: int, after: int, limit: int) -> int:
        return sql(tx).run(_REMOVE, (before, after, limit))

    def count_in(self, tx: Tx, caller: bytes) -> tuple[int, int]:
        counts = dict(cast("list[tuple[bytes, int]]", sql(tx).rows(_COUNTS, (caller,))))
        return counts.get(caller, 0), counts[b""]

    async def count(self) -> int:
        row = await self._database.read(lambda reader: reader.row(_COUNT))
        return cast("tuple[int]", row)[0]


def _kept(row: Row | None) -> Kept | None:
    if row is None:
        return None
    request, answer, answered_at = cast("tuple[bytes, str, int]", row)
    return Kept(request, tuple(json.loads(answer)), answered_at)
