"""Accounts in SQLite: the only SQL that names table `accounts`."""

from typing import cast

from shortener import errors
from shortener.accounts.model import Account, Credentials, NewAccount, email_key, username_key
from shortener.storage.sqlite.database import SqliteDatabase
from shortener.storage.sqlite.sql import Row, Sql, UniqueViolation, sql
from shortener.tx import Tx

_FIELDS = "id, email, username, name, created_at, updated_at, token_version"
_FIND = f"SELECT {_FIELDS} FROM accounts WHERE id = ?"  # noqa: S608 - a constant
_FIND_CREDENTIALS = f"SELECT {_FIELDS}, password_hash FROM accounts WHERE email_key = ?"  # noqa: S608 - a constant
_PAGE = f"SELECT {_FIELDS} FROM accounts ORDER BY id DESC LIMIT ? OFFSET ?"  # noqa: S608 - a constant
_COUNT = "SELECT COUNT(*) FROM accounts"
_ADD = f"""
    INSERT INTO accounts (email, email_key, username, username_key, name, password_hash, created_at, updated_at)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING
    RETURNING {_FIELDS}"""  # noqa: S608 - a constant
_IS_EMAIL_TAKEN = "SELECT 1 FROM accounts WHERE email_key = ?"
_UPDATE = "UPDATE accounts SET email = ?, email_key = ?, name = ?, updated_at = ? WHERE id = ?"
_SET_PASSWORD = "UPDATE accounts SET password_hash = ?, token_version = ?, updated_at = ? WHERE id = ?"  # noqa: S105 - SQL
_TOKEN_VERSIONS = "SELECT id, token_version FROM accounts WHERE token_version > 0"  # noqa: S105 - SQL
_REPLACE_HASH = "UPDATE accounts SET password_hash = ? WHERE id = ? AND password_hash = ?"

_REMOVE = "DELETE FROM accounts WHERE id = ?"
_ADD_ERASED = "INSERT INTO erased_accounts (id, erased_at, pending) VALUES (?, ?, 1)"
_IS_ERASED = "SELECT 1 FROM erased_accounts WHERE id = ?"
_FINISH_ERASURE = "UPDATE erased_accounts SET pending = 0 WHERE id = ?"
_ERASED = "SELECT id FROM erased_accounts ORDER BY id"
_PENDING = "SELECT id FROM erased_accounts WHERE pending = 1 ORDER BY id"


class SqliteAccountStore:
    """`AccountStore` on a `SqliteDatabase`. Ids are never used twice, those of erased accounts neither."""

    def __init__(self, database: SqliteDatabase) -> None:
        self._database = database

    async def find(self, account_id: int) -> Account | None:
        return await self._database.read(lambda on: _find(on, account_id))

    async def find_credentials(self, email: str) -> Credentials | None:
        key = email_key(email)
        row = await self._database.read(lambda on: on.row(_FIND_CREDENTIALS, (key,)))
        if row is None:
            return None
        *account, password_hash = row
        return Credentials(_account(tuple(account)), str(password_hash))

    async def page(self, limit: int, offset: int) -> tuple[list[Account], int]:

        def query(on: Sql) -> tuple[list[Account], int]:
            [[total]] = on.rows(_COUNT)
            return [_account(row) for row in on.rows(_PAGE, (limit, offset))], cast(int, total)

        return await self._database.read(query)

    def add(self, tx: Tx, account: NewAccount) -> Account:
        on = sql(tx)
        key = email_key(account.email)
        parameters = (
            account.email,
            key,
            account.username,
            username_key(account.username) if account.username else None,
            account.name,
            account.password_hash,
            account.created_at,
            account.created_at,
        )
        row = on.row(_ADD, parameters)
        if row is None:
            raise _conflict("email" if on.row(_IS_EMAIL_TAKEN, (key,)) else "username")
        return _account(row)

    def get(self, tx: Tx, account_id: int) -> Account | None:
        return _find(sql(tx), account_id)

    def update(self, tx: Tx, account: Account) -> None:
        parameters = (account.email, email_key(account.email), account.name, account.updated_at, account.id)
        try:
            sql(tx).run(_UPDATE, parameters)
        except UniqueViolation:
            raise _conflict("email") from None

    def replace_hash(self, tx: Tx, account_id: int, *, old: str, new: str) -> None:
        sql(tx).run(_REPLACE_HASH, (new, account_id, old))

    def set_password(self, tx: Tx, account: Account, password_hash: str) -> None:
        sql(tx).run(_SET_PASSWORD, (password_hash, account.token_version, account.updated_at, account.id))

    async def token_versions(self) -> dict[int, int]:
        rows = await self._database.read(lambda on: on.rows(_TOKEN_VERSIONS))
        return dict(cast(list[tuple[int, int]], rows))

    def erase(self, tx: Tx, account_id: int, *, now: int) -> bool:
        if not sql(tx).run(_REMOVE, (account_id,)):
            return False
        sql(tx).run(_ADD_ERASED, (account_id, now))
        return True

    def is_erased(self, tx: Tx, account_id: int) -> bool:
        return sql(tx).row(_IS_ERASED, (account_id,)) is not None

    def finish_erasure(self, tx: Tx, account_id: int) -> None:
        sql(tx).run(_FINISH_ERASURE, (account_id,))

    async def erased(self) -> list[int]:
        return [cast(int, row[0]) for row in await self._database.read(lambda on: on.rows(_ERASED))]

    async def pending_erasures(self) -> list[int]:
        return [cast(int, row[0]) for row in await self._database.read(lambda on: on.rows(_PENDING))]


def _find(on: Sql, account_id: int) -> Account | None:
    row = on.row(_FIND, (account_id,))
    return None if row is None else _account(row)


def _account(row: Row) -> Account:
    return Account(*cast(tuple[int, str, str, str, int, int, int], row))


def _conflict(field: str) -> errors.Conflict:
    return errors.Conflict(f"{field} is already taken", field=field)
