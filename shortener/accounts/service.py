"""The use cases of accounts: register, log in, look at and change one's profile, and the administrator's views."""

import contextlib
import dataclasses
from collections.abc import Callable

from shortener import errors
from shortener.accounts.model import (
    Account,
    Credentials,
    NewAccount,
    check_account_id,
    email_key,
    next_token_version,
    parse_account_id,
    parse_email,
    parse_name,
    parse_page,
    parse_password,
    parse_username,
)
from shortener.accounts.ports import AccountStore, Claims, Passwords, SignedIn, Tokens
from shortener.accounts.throttle import LoginThrottle
from shortener.caller import TRUSTED, Caller
from shortener.clock import Clock
from shortener.tx import Transactions, Tx

_ID_DIGITS = 19
"""No account's id has so many: those that fit into 64 bits are given in turn."""


class AccountService:
    """Everything that can be done with accounts. Any method may raise `errors.Unavailable` or `errors.Exhausted`."""

    def __init__(
        self,
        store: AccountStore,
        transactions: Transactions,
        *,
        passwords: Passwords,
        tokens: Tokens,
        throttle: LoginThrottle,
        clock: Clock,
        registration_is_open: bool = True,
    ) -> None:
        """Keep accounts in `store`. Where registration is not open, only trusted callers make accounts."""
        self._store = store
        self._transactions = transactions
        self._passwords = passwords
        self._tokens = tokens
        self._throttle = throttle
        self._clock = clock
        self._registration_is_open = registration_is_open
        self._token_versions: dict[str, int] = {}  # of the accounts whose password was changed; the store's, kept here
        self.erased: set[str] = set()
        """The ids of erased accounts: their tokens are valid no more, though nothing in them tells so."""

    async def open(self) -> None:
        """Learn which accounts were erased, and which tokens have ended; before anything else is asked."""
        self.erased.update(map(str, await self._store.erased()))
        versions = await self._store.token_versions()
        self._token_versions.update((str(account_id), version) for account_id, version in versions.items())

    async def register(self, email: str, password: str, name: str, *, caller: Caller = TRUSTED) -> SignedIn:
        """Make an account without a username, and a token for it.

        Raises `errors.Forbidden` when registration is closed to the caller, `errors.Invalid`, and `errors.Conflict`
        naming `email` when it is registered already.
        """
        self._check_registration(caller)
        email, password, name = parse_email(email), parse_password(password), parse_name(name)
        return self._tokens.issue(await self._create(email, "", name, password))

    async def login(self, email: str, password: str, *, caller: Caller = TRUSTED) -> SignedIn:
        """Check email and password, and make a token.

        Callers who are not trusted are slowed down when too many logins fail, by `errors.Exhausted`. Raises
        `errors.Invalid` when email or password is missing, else `errors.Unauthenticated` with one message for all
        causes. Whether the account exists shows neither in the answer nor in the time it takes.
        """
        return self._tokens.issue((await self._checked(email, password, caller)).account)

    async def _checked(self, email: str, password: str, caller: Caller) -> Credentials:
        """Return the credentials that email and password fit. Raises what `login` raises."""
        errors.require(email, "email", "is required")
        errors.require(password, "password", "is required")
        try:
            email, password = parse_email(email), parse_password(password)
        except errors.Invalid:
            # No account can have these. It takes as long all the same, so that nobody has to wonder why it does not.
            account, is_possible, password = email, False, ""
        else:
            account, is_possible = email_key(email), True
        with self._throttle.attempt(account, caller) as attempt:
            credentials = await self._store.find_credentials(email) if is_possible else None
            matches = await self._passwords.verify(credentials.password_hash if credentials else None, password)
            attempt.succeeded = matches and credentials is not None
        if credentials is None or not matches:
            raise errors.Unauthenticated("invalid email or password")
        await self._renew_hash(credentials, password)
        return credentials

    def verify_token(self, token: str) -> Claims:
        """Return what a token says. Reads no store.

        A token outlives changes to its account, but neither its erasure nor a new password.
        Raises `errors.Invalid` when it is missing and `errors.Unauthenticated` when it is not valid (any more).
        """
        claims = self.validate(token)
        if claims is None:
            raise errors.Unauthenticated("invalid or expired token")
        return claims

    def validate(self, token: str) -> Claims | None:
        """Return what a token says, None when it is not valid (any more). Raises `errors.Invalid` when missing."""
        errors.require(token, "token", "is required")
        claims = self._tokens.read(token)
        if claims is None or claims.user_id in self.erased:
            return None
        return claims if claims.token_version == self._token_versions.get(claims.user_id, 0) else None

    async def profile(self, token: str) -> Account:
        """Return the account a token belongs to.

        Raises what `verify_token` raises, and `errors.Unauthenticated` when its account is gone.
        """
        return await self.profile_of(self.verify_token(token).user_id)

    async def profile_of(self, user_id: str) -> Account:
        """Return the account of an authenticated caller. Raises `errors.Unauthenticated` when it is gone."""
        return _existing(await self._store.find(parse_account_id(user_id)))

    async def update_profile(self, token: str, *, name: str, email: str) -> Account:
        """Change name and email of the account a token belongs to; an empty value leaves the field as it is.

        When nothing changes the account stays as it is, its `updated_at` too. Raises `errors.Invalid`,
        `errors.Unauthenticated`, and `errors.Conflict` naming `email` when another account has it.
        """
        user_id = self.verify_token(token).user_id
        name = parse_name(name) if name else ""
        email = parse_email(email) if email else ""
        if not name and not email:
            return await self.profile_of(user_id)
        now = self._clock()

        def change(tx: Tx) -> Account:
            account = _existing(self._store.get(tx, parse_account_id(user_id)))
            changed = dataclasses.replace(account, name=name or account.name, email=email or account.email)
            if changed == account:
                return account
            changed = dataclasses.replace(changed, updated_at=now)
            self._store.update(tx, changed)
            return changed

        return await self._transactions(change)

    async def create_user(self, email: str, username: str, password: str, *, caller: Caller = TRUSTED) -> Account:
        """Make an account with a username, which is its name as well.

        Raises `errors.Forbidden` when registration is closed to the caller, `errors.Invalid`, and `errors.Conflict`
        naming `email` or `username` when it is taken.
        """
        self._check_registration(caller)
        email, username, password = parse_email(email), parse_username(username), parse_password(password)
        return await self._create(email, username, username, password)

    async def get_user(self, account_id: int) -> Account:
        """Return an account. Raises `errors.Invalid` for 0 and less, `errors.NotFound` when there is none."""
        check_account_id(account_id)
        account = await self._store.find(account_id)
        if account is None:
            raise errors.NotFound("user not found")
        return account

    async def page(self, limit: int, offset: int) -> tuple[list[Account], int]:
        """Return one page of all accounts, newest first, and how many there are in all.

        `limit` 0 means 20, more than 1,000 is served as 1,000. Raises `errors.Invalid` for negative values.
        """
        return await self._store.page(*parse_page(limit, offset))

    async def find_id(self, user_id: str, email: str) -> int:
        """Return the id of the account that one of these names, also of an erased one.

        Raises `errors.Invalid` unless exactly one is given, `errors.NotFound` when there is no such account.
        """
        if bool(user_id) == bool(email):
            raise errors.Invalid("either user_id or email is required", field="user_id")
        if email:
            credentials = await self._store.find_credentials(parse_email(email))
            account = credentials.account if credentials else None
        else:
            account = await self._store.find(parse_account_id(user_id))
        if account:
            return account.id
        if user_id in self.erased:
            return parse_account_id(user_id)
        raise errors.NotFound("user not found")

    async def check_password(
        self, user_id: str, password: str, *, caller: Caller = TRUSTED, field: str = "password"
    ) -> Account:
        """Return the account of an authenticated caller who knows its password, which came in `field`, too.

        Guesses are slowed down as those of `login` are. Raises what that raises.
        """
        errors.require(password, field, "is required")
        account = await self.profile_of(user_id)
        confirmed = (await self._checked(account.email, password, caller)).account
        if confirmed.id != account.id:  # the address has just become another account's
            raise errors.Unauthenticated("invalid email or password")
        return confirmed

    async def change_password(self, user_id: str, *, old: str, new: str, caller: Caller = TRUSTED) -> SignedIn:
        """Give an authenticated caller who knows the old password a new one, and a new token; all earlier tokens end.

        Guesses at the old one are slowed down as those of `login` are. Raises what that raises, and
        `errors.Invalid` naming `old_password` or `new_password`.
        """
        new = parse_password(new, "new_password")
        account = await self.check_password(user_id, old, caller=caller, field="old_password")
        return self._tokens.issue(await self._change_password(account.id, new, expected=account.token_version))

    async def set_password(self, user_id: str, email: str, new: str) -> int:
        """Give the account that one of these names a new password, and return its id; all its tokens end.

        This is for trusted callers. Raises what `find_id` raises, and `errors.Invalid` naming `new_password`.
        """
        new = parse_password(new, "new_password")
        return (await self._change_password(await self.find_id(user_id, email), new)).id

    async def _change_password(self, account_id: int, password: str, *, expected: int | None = None) -> Account:
        """Store a new password, if the account's tokens still have the `expected` version; None expects nothing."""
        password_hash = await self._passwords.hash(password)
        now = self._clock()

        def work(tx: Tx) -> Account:
            account = self._store.get(tx, account_id)
            if account is None:
                raise errors.NotFound("user not found")
            if expected not in (None, account.token_version):  # somebody else's change came first
                raise errors.Unauthenticated("invalid email or password")
            version = next_token_version(account.token_version, now)
            changed = dataclasses.replace(account, token_version=version, updated_at=now)
            self._store.set_password(tx, changed, password_hash)
            tx.on_commit(lambda: self._token_versions.update({str(account_id): version}))
            return changed

        return await self._transactions(work)

    async def erase(self, account_id: int, then: Callable[[], None]) -> None:
        """Remove an account, and refuse its tokens from now on. What it owns is others' to remove.

        `then` is called once that is durable, also when the caller is cancelled meanwhile. An account that is erased
        already stays so. Raises `errors.NotFound`.
        """
        now = self._clock()

        def work(tx: Tx) -> None:
            if not self._store.erase(tx, account_id, now=now) and not self._store.is_erased(tx, account_id):
                raise errors.NotFound("user not found")
            tx.on_commit(lambda: self.erased.add(str(account_id)))
            tx.on_commit(then)

        await self._transactions(work)

    def is_erased(self, tx: Tx, user_id: str) -> bool:
        """Tell whether this is the id of an erased account, as the transaction sees it."""
        if not user_id.isdecimal() or user_id[0] == "0" or len(user_id) >= _ID_DIGITS:
            return False
        return self._store.is_erased(tx, int(user_id))

    async def pending_erasures(self) -> list[int]:
        """Return the ids of erased accounts whose belongings may not all be removed yet."""
        return await self._store.pending_erasures()

    async def finish_erasure(self, account_id: int) -> None:
        """Note that nothing is left of an erased account."""
        await self._transactions(lambda tx: self._store.finish_erasure(tx, account_id))

    def _check_registration(self, caller: Caller) -> None:
        if not caller.is_trusted and not self._registration_is_open:
            raise errors.Forbidden("registration is closed")

    async def _create(self, email: str, username: str, name: str, password: str) -> Account:
        # The slow hash comes first; whether email and username are free is decided by the transaction alone.
        password_hash = await self._passwords.hash(password)
        account = NewAccount(email, username, name, password_hash, created_at=self._clock())
        return await self._transactions(lambda tx: self._store.add(tx, account))

    async def _renew_hash(self, credentials: Credentials, password: str) -> None:
        """Hash the password anew when the parameters have changed since; only now is it known."""
        old = credentials.password_hash
        if not self._passwords.is_outdated(old):
            return
        # The login is right either way; under load the renewal waits for the next one.
        with contextlib.suppress(errors.Exhausted, errors.Unavailable):
            new = await self._passwords.hash(password)
            account_id = credentials.account.id
            await self._transactions(lambda tx: self._store.replace_hash(tx, account_id, old=old, new=new))


def _existing(account: Account | None) -> Account:
    if account is None:
        raise errors.Unauthenticated("the account of this token no longer exists")
    return account
