"""The port to a SQL database: what stores may use, and what a second engine would implement."""

from collections.abc import Callable, Iterable, Sequence
from typing import Protocol, TypeAlias, TypeVar, cast

from shortener.tx import Tx

T = TypeVar("T")
Value: TypeAlias = int | float | str | bytes | None
Row: TypeAlias = tuple[Value, ...]


class UniqueViolation(Exception):  # noqa: N818 - named like the domain's errors; it never leaves a store
    """A UNIQUE or PRIMARY KEY constraint refused a row. `column` is `table.column` where the engine says so."""

    def __init__(self, column: str) -> None:
        super().__init__(column)
        self.column = column


class Sql(Protocol):
    """Statements on one connection, on the engine's own thread. Parameters only, never text pasted together."""

    def rows(self, statement: str, parameters: Sequence[Value] = ()) -> list[Row]:
        """Run a statement and return all rows it gives (also those of RETURNING)."""

    def row(self, statement: str, parameters: Sequence[Value] = ()) -> Row | None:
        """Run a statement and return its first row, None when there is none."""

    def run(self, statement: str, parameters: Sequence[Value] = ()) -> int:
        """Run a statement and return the number of rows it changed. Raises `UniqueViolation`."""

    def run_many(self, statement: str, parameters: Iterable[Sequence[Value]]) -> None:
        """Run one statement for each parameter row. Raises `UniqueViolation`."""


class SqlTx(Sql, Tx, Protocol):
    """`Tx` as stores see it: a transaction with statements."""


def sql(tx: Tx) -> SqlTx:
    """Look inside an opaque transaction. For stores alone."""
    return cast(SqlTx, tx)


class Database(Protocol):
    """One writer that groups work into commits, and a pool of readers."""

    async def transaction(self, work: Callable[[Tx], T]) -> T:
        """See `tx.Transactions`. Raises `errors.Unavailable` when busy or closing, `errors.Exhausted` when full."""

    async def read(self, query: Callable[[Sql], T]) -> T:
        """Run `query` on a reader, in one snapshot that holds every acknowledged write.

        A cancelled read is interrupted and frees its reader.
        """
