"""How far the click log has been stored, in SQLite: the only writes to `journal_position`."""

from typing import cast

from shortener.analytics.model import START, Position
from shortener.storage.sqlite.database import SqliteDatabase
from shortener.storage.sqlite.sql import sql
from shortener.tx import Tx

_POSITION = "SELECT segment, offset FROM journal_position"
_FIRST_POSITION = "INSERT INTO journal_position (one, segment, offset) VALUES (1, ?, ?)"
_MOVE_POSITION = "UPDATE journal_position SET segment = ?, offset = ? WHERE segment = ? AND offset = ?"


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
