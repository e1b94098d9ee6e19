"""Statements in SQL, as stores use them."""

import json
import sqlite3
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NoReturn, TypeAlias, TypeVar, cast

from shortener.storage.sqlite.faults import UniqueViolation, raise_translated
from shortener.tx import Tx

__all__ = ["Row", "Sql", "SqlTx", "UniqueViolation", "Value", "sql"]

Value: TypeAlias = int | float | str | bytes | None
Row: TypeAlias = tuple[Value, ...]
_Execute: TypeAlias = Callable[[str, Sequence[Value]], sqlite3.Cursor]
_ExecuteMany: TypeAlias = Callable[[str, Iterable[Sequence[Value]]], sqlite3.Cursor]

S = TypeVar("S", bound="Sql")


class Sql:
    """Statements on a connection, for one unit of work or one read, on the connection's own thread.

    Values are bound as parameters, never part of the text.
    """

    # It holds the two bound methods, not the connection: a statement costs one attribute look-up, and a closed
    # object refuses without a test on the hot path.
    __slots__ = ("_execute", "_execute_many")

    def __init__(self, raw: sqlite3.Connection) -> None:
        self._execute: _Execute = raw.execute
        self._execute_many: _ExecuteMany = raw.executemany

    def rows(self, statement: str, parameters: Sequence[Value] = ()) -> list[Row]:
        """Run a statement and return all its rows, those of RETURNING too."""
        try:
            return self._execute(statement, parameters).fetchall()
        except sqlite3.Error as error:
            self._failed(error)

    def row(self, statement: str, parameters: Sequence[Value] = ()) -> Row | None:
        """Run a statement and return its first row, None when there is none."""
        try:
            row: Row | None = self._execute(statement, parameters).fetchone()
        except sqlite3.Error as error:
            self._failed(error)
        return row

    def json(self, statement: str, parameters: Sequence[Value] = ()) -> list[Any]:
        """Run a statement that answers one row of JSON texts, and return what they hold."""
        row = self.row(statement, parameters)
        assert row is not None
        return [json.loads(cast(str, text)) for text in row]

    def run(self, statement: str, parameters: Sequence[Value] = ()) -> int:
        """Run a statement and return how many rows it changed. Raises `UniqueViolation`.

        The number is 0 for statements that do not begin with INSERT, UPDATE, DELETE or REPLACE.
        """
        try:
            changed = self._execute(statement, parameters).rowcount
        except sqlite3.Error as error:
            self._failed(error)
        return max(changed, 0)

    def run_many(self, statement: str, parameters: Iterable[Sequence[Value]]) -> None:
        """Run one statement for each parameter row. Raises `UniqueViolation`."""
        try:
            self._execute_many(statement, parameters)
        except sqlite3.Error as error:
            self._failed(error)

    def close(self) -> None:
        """Refuse all further statements: the transaction or the snapshot has ended."""
        self._execute = self._execute_many = _refuse

    def _failed(self, error: sqlite3.Error) -> NoReturn:
        raise_translated(error)


class SqlTx(Sql):
    """`Tx` as stores use it: a unit of work on the writer's connection."""

    __slots__ = ("_raw", "callbacks")

    def __init__(self, raw: sqlite3.Connection) -> None:
        super().__init__(raw)
        self._raw = raw
        self.callbacks: list[Callable[[], None]] = []

    def on_commit(self, callback: Callable[[], None]) -> None:
        """Run `callback` on the event loop once this work is durable."""
        self.callbacks.append(callback)

    def _failed(self, error: sqlite3.Error) -> NoReturn:
        if not self._raw.in_transaction:
            # A full disk may end the whole transaction. Each later statement would commit by itself.
            self.close()
        super()._failed(error)


def attempt(work: Callable[[S], object], statements: S) -> tuple[object, BaseException | None]:
    """Run `work` on an open transaction and return its result, or the error that it raised; close the statements."""
    try:
        return work(statements), None
    except StopIteration as error:  # A future cannot carry it.
        wrapped = RuntimeError("StopIteration from a unit of work")
        wrapped.__cause__ = error
        return None, wrapped
    except BaseException as error:  # noqa: BLE001 - it is raised to the caller, who decides
        return None, error
    finally:
        statements.close()


def _refuse(statement: str, parameters: Iterable[object]) -> NoReturn:
    raise RuntimeError(f"statement after the end of its transaction: {statement.split(maxsplit=1)[0]}")


def sql(tx: Tx) -> SqlTx:
    """Return the statements of a transaction; for stores alone."""
    return cast(SqlTx, tx)
