"""Opens the accounts module."""

from shortener.accounts.passwords import Argon2idPasswords
from shortener.accounts.service import AccountService
from shortener.accounts.signing_keys import load_keys
from shortener.accounts.sqlite import SqliteAccountStore
from shortener.accounts.throttle import LoginThrottle
from shortener.accounts.tokens import JwtTokens
from shortener.core import Core
from shortener.limits import gauges_of
from shortener.tasks import in_thread


async def open_accounts(core: Core) -> AccountService:
    """Open the signing keys, the threads that hash passwords and the service over them. Raises `OperatorError`."""
    auth = core.config.auth
    keys = await in_thread("keys", lambda: load_keys(auth, core.data_dir))
    throttle = LoginThrottle(core.config.limits)
    passwords = Argon2idPasswords(auth)
    core.stack.push_async_callback(passwords.close)
    service = AccountService(
        SqliteAccountStore(core.database),
        core.database.transaction,
        passwords=passwords,
        tokens=JwtTokens(keys, auth, clock=core.clock, new_id=core.new_id),
        throttle=throttle,
        clock=core.clock,
        registration_is_open=auth.registration == "open",
    )
    await service.open()
    waiting = "Passwords being hashed or waiting."
    core.gauges.append(("shortener_passwords_waiting", waiting, {}, lambda: passwords.waiting))
    core.gauges.extend(gauges_of(throttle.limiters))
    return service
