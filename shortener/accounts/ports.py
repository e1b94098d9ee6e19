"""What the accounts module needs from the outside."""

from dataclasses import dataclass
from typing import Protocol

from shortener.accounts.model import Account, Credentials, NewAccount
from shortener.tx import Tx


@dataclass(frozen=True, slots=True)
class Claims:
    """What a valid token says. Times are Unix seconds; it is valid while now < `expires_at`.

    Whether `token_version` is still that of the account is for the service to decide.
    """

    user_id: str
    email: str
    issued_at: int
    expires_at: int
    token_id: str
    token_version: int = 0


@dataclass(frozen=True, slots=True)
class SignedIn:
    """An account, a token just made for it, and when that ends (Unix seconds)."""

    account: Account
    token: str
    expires_at: int


class AccountStore(Protocol):
    """Keeps accounts. Reads wait; writes (and `get`, for use among them) are plain functions in a transaction."""

    async def find(self, account_id: int) -> Account | None:
        """Return the account of this id, None when there is none."""

    async def find_credentials(self, email: str) -> Credentials | None:
        """Return account and password hash of an address in any spelling; None when it is not registered."""

    async def page(self, limit: int, offset: int) -> tuple[list[Account], int]:
        """Return one page of all accounts, newest first, and how many there are in all."""

    def add(self, tx: Tx, account: NewAccount) -> Account:
        """Store an account and return it with its id.

        Raises `errors.Conflict` naming `email` or `username` when another spelling of it is taken; email first.
        """

    def get(self, tx: Tx, account_id: int) -> Account | None:
        """Return the account as this transaction sees it, None when there is none."""

    def update(self, tx: Tx, account: Account) -> None:
        """Store an account's email, name and `updated_at`. Raises `errors.Conflict` naming `email`."""

    def replace_hash(self, tx: Tx, account_id: int, *, old: str, new: str) -> None:
        """Set the password hash to `new` if it still is `old`; otherwise change nothing."""

    def set_password(self, tx: Tx, account: Account, password_hash: str) -> None:
        """Store an account's new password hash, with the account's `token_version` and `updated_at`."""

    async def token_versions(self) -> dict[int, int]:
        """Return the token versions of all accounts whose password was changed, by account id."""

    def erase(self, tx: Tx, account_id: int, *, now: int) -> bool:
        """Remove the account, so that nothing but its id is kept; False when there is none. The erasure is pending."""

    def is_erased(self, tx: Tx, account_id: int) -> bool:
        """Tell whether the account was erased, as this transaction sees it."""

    def finish_erasure(self, tx: Tx, account_id: int) -> None:
        """Note that nothing of the account is left anywhere."""

    async def erased(self) -> list[int]:
        """Return the ids of all accounts that were erased."""

    async def pending_erasures(self) -> list[int]:
        """Return the ids of accounts of which something may be left."""


class Passwords(Protocol):
    """Hashes passwords, away from the event loop. All raise `errors.Exhausted` when too many wait."""

    async def hash(self, password: str) -> str:
        """Return a salted hash of a password from `parse_password`."""

    async def verify(self, password_hash: str | None, password: str) -> bool:
        """Tell whether the hash was made of this password.

        None stands for an account that does not exist: the answer is False, and takes as long as any other.
        """

    def is_outdated(self, password_hash: str) -> bool:
        """Tell whether the hash was made with other parameters than those of today."""


class Tokens(Protocol):
    """Makes and reads tokens. Plain functions: reading a token again costs a look-up."""

    def issue(self, account: Account) -> SignedIn:
        """Make a token for this account, valid from now on."""

    def read(self, token: str) -> Claims | None:
        """Return what a valid token says; None for any other text whatever."""
