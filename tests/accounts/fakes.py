"""Accounts without a database, passwords without Argon2id, tokens that anyone can read."""

import dataclasses

from shortener import errors
from shortener.accounts.model import Account, Credentials, NewAccount, email_key, username_key
from shortener.accounts.ports import Claims, SignedIn
from shortener.accounts.service import AccountService
from shortener.accounts.throttle import LoginThrottle
from shortener.clock import Clock
from shortener.config.sections import Limits
from shortener.tx import Tx
from tests.support.fakes import FakeTimer, FakeTransactions


def a_throttle(timer: FakeTimer | None = None, keys_max: int = 1000) -> LoginThrottle:
    return LoginThrottle(Limits(keys_max=keys_max), timer or FakeTimer())


def a_service(
    store: "MemoryAccountStore", passwords: "FakePasswords", clock: Clock, *, registration_is_open: bool = True
) -> AccountService:
    return AccountService(
        store,
        FakeTransactions(store),
        passwords=passwords,
        tokens=FakeTokens(clock),
        throttle=a_throttle(),
        clock=clock,
        registration_is_open=registration_is_open,
    )


class MemoryAccountStore:
    """`AccountStore` in a dict; every write is whole or raises before it begins."""

    def __init__(self) -> None:
        self._credentials: dict[int, Credentials] = {}
        self._last_id = 0
        self._erased: dict[int, bool] = {}  # whether the erasure is pending

    async def find(self, account_id: int) -> Account | None:
        return self._account(account_id)

    async def find_credentials(self, email: str) -> Credentials | None:
        return self._by_email(email)

    async def page(self, limit: int, offset: int) -> tuple[list[Account], int]:
        newest_first = [self._credentials[account_id].account for account_id in sorted(self._credentials, reverse=True)]
        return newest_first[offset : offset + limit], len(newest_first)

    def add(self, tx: Tx, account: NewAccount) -> Account:
        if self._by_email(account.email):
            raise errors.Conflict("email is already taken", field="email")
        taken = {username_key(known.account.username) for known in self._credentials.values()} - {""}
        if username_key(account.username) in taken:
            raise errors.Conflict("username is already taken", field="username")
        self._last_id += 1
        added = Account(
            id=self._last_id,
            email=account.email,
            username=account.username,
            name=account.name,
            created_at=account.created_at,
            updated_at=account.created_at,
        )
        self._credentials[added.id] = Credentials(added, account.password_hash)
        return added

    def get(self, tx: Tx, account_id: int) -> Account | None:
        return self._account(account_id)

    def update(self, tx: Tx, account: Account) -> None:
        holder = self._by_email(account.email)
        if holder and holder.account.id != account.id:
            raise errors.Conflict("email is already taken", field="email")
        if known := self._credentials.get(account.id):
            kept = dataclasses.replace(
                known.account, email=account.email, name=account.name, updated_at=account.updated_at
            )
            self._credentials[account.id] = dataclasses.replace(known, account=kept)

    def replace_hash(self, tx: Tx, account_id: int, *, old: str, new: str) -> None:
        known = self._credentials.get(account_id)
        if known and known.password_hash == old:
            self._credentials[account_id] = dataclasses.replace(known, password_hash=new)

    def set_password(self, tx: Tx, account: Account, password_hash: str) -> None:
        known = self._credentials[account.id]
        kept = dataclasses.replace(known.account, token_version=account.token_version, updated_at=account.updated_at)
        self._credentials[account.id] = Credentials(kept, password_hash)

    async def token_versions(self) -> dict[int, int]:
        accounts = [known.account for known in self._credentials.values()]
        return {account.id: account.token_version for account in accounts if account.token_version}

    def erase(self, tx: Tx, account_id: int, *, now: int) -> bool:
        if self._credentials.pop(account_id, None) is None:
            return False
        self._erased[account_id] = True
        return True

    def is_erased(self, tx: Tx, account_id: int) -> bool:
        return account_id in self._erased

    def finish_erasure(self, tx: Tx, account_id: int) -> None:
        if account_id in self._erased:
            self._erased[account_id] = False

    async def erased(self) -> list[int]:
        return sorted(self._erased)

    async def pending_erasures(self) -> list[int]:
        return sorted(account_id for account_id, pending in self._erased.items() if pending)

    def _account(self, account_id: int) -> Account | None:
        known = self._credentials.get(account_id)
        return known.account if known else None

    def _by_email(self, email: str) -> Credentials | None:
        key = email_key(email)
        return next((known for known in self._credentials.values() if email_key(known.account.email) == key), None)


class FakePasswords:
    """`Passwords` that write the password backwards, and remember what was asked of them."""

    def __init__(self, version: str = "1") -> None:
        self.version = version
        self.hashed: list[str] = []
        self.verified: list[tuple[str | None, str]] = []
        self.is_exhausted = False

    async def hash(self, password: str) -> str:
        if self.is_exhausted:
            raise errors.Exhausted("too many passwords are being checked", overload=True)
        self.hashed.append(password)
        return f"{self.version}:{password[::-1]}"

    async def verify(self, password_hash: str | None, password: str) -> bool:
        self.verified.append((password_hash, password))
        return password_hash is not None and password_hash.partition(":")[2] == password[::-1]

    def is_outdated(self, password_hash: str) -> bool:
        return not password_hash.startswith(f"{self.version}:")


class FakeTokens:
    """`Tokens` in plain text: `token:<account id>:<email>:<end>`, and `:<version>` where it is not 0."""

    def __init__(self, clock: Clock, ttl_seconds: int = 604_800) -> None:
        self._clock = clock
        self._ttl_seconds = ttl_seconds

    def issue(self, account: Account) -> SignedIn:
        expires_at = self._clock() + self._ttl_seconds
        version = f":{account.token_version}" if account.token_version else ""
        return SignedIn(account, f"token:{account.id}:{account.email}:{expires_at}{version}", expires_at)

    def read(self, token: str) -> Claims | None:
        try:
            _, user_id, email, end, *version = token.split(":")
            expires_at, token_version = int(end), int("".join(version) or 0)
        except ValueError:
            return None
        if self._clock() >= expires_at:
            return None
        return Claims(
            user_id, email, expires_at - self._ttl_seconds, expires_at, token_id="1", token_version=token_version
        )
