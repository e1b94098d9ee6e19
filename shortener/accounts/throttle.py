"""The login throttle: guessing passwords is slow, from one address or from many, and no owner is locked out by it.

`docs/decisions/0007-login-throttle.md` tells why it is as it is.
"""

import hashlib
import secrets
import time
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

from shortener.caller import Caller
from shortener.config import sections
from shortener.limits import Limiter, Rate, Take, address_key, take_all
from shortener.limits.limiter import Timer

BRAKED_COST = 10
"""What a failure costs an address that the account does not know, while others fail at the account too often."""

_DIGEST_BYTES = 16
_REFUSAL = "too many logins, try again later"


@dataclass(slots=True)
class Attempt:
    """One login that is being tried; `succeeded` is None until the password has been looked at."""

    succeeded: bool | None = None


class LoginThrottle:
    """Decides which logins may be tried. Whether an account exists makes no difference to it.

    `logins_*` and `address_login_failures_*` are for each address, `login_failures_*` for each account at each address;
    an account may see twice that burst of failures from everywhere before the brake is on.
    """

    def __init__(self, limits: sections.Limits, timer: Timer = time.monotonic_ns) -> None:
        limiter = partial(Limiter, keys_max=limits.keys_max, timer=timer)
        per_minute, burst = limits.login_failures_per_minute, limits.login_failures_burst
        self._attempts = limiter(Rate(limits.logins_per_minute, limits.logins_burst))
        self._address_failures = limiter(
            Rate(limits.address_login_failures_per_minute, limits.address_login_failures_burst)
        )
        self._failures = limiter(Rate(per_minute, burst))
        # Twice the burst, so that one address alone does not put the brake on.
        self._account_failures = limiter(Rate(per_minute, 2 * burst))
        self._known: OrderedDict[str, None] = OrderedDict()
        self._known_max = limits.keys_max
        self._digest_key = secrets.token_bytes(_DIGEST_BYTES)
        self.limiters: Mapping[str, Limiter] = {
            "logins": self._attempts,
            "login_failures_by_address": self._address_failures,
            "login_failures_by_account_and_address": self._failures,
        }
        """The limiters that refuse, by name, to be watched."""

    @contextmanager
    def attempt(self, account: str, caller: Caller) -> Iterator["Attempt"]:
        """Try to log in at `account` (its email in normal form, or what was sent instead of one) within the block.

        The block sets the attempt's `succeeded`; when it does not get so far, nothing was tried. Raises
        `errors.Exhausted` when nothing may be tried now. A trusted caller always may.
        """
        attempt = Attempt()
        if caller.is_trusted:
            yield attempt
            return
        account_key, address = self._digest(account), address_key(caller.address)
        pair = self._digest(f"{account_key} {address}")
        failing = self._failing(account_key, address, pair)
        attempts = Take(self._attempts, pair if pair in self._known else address)
        # A failure is taken in advance, so that trying many at once gains nothing.
        take_all([attempts, *failing], _REFUSAL)
        try:
            yield attempt
        finally:
            if attempt.succeeded is not False:
                for limiter, key, cost in failing:
                    limiter.give_back(key, cost)
            if attempt.succeeded is True:
                self._remember(pair)
            elif attempt.succeeded is False and not self._account_failures.wait(account_key):
                self._account_failures.take(account_key)  # No debt: the brake is off soon after the attack.

    def _failing(self, account_key: str, address: str, pair: str) -> list[Take]:
        """Return what a failed login costs."""
        if pair in self._known:
            # What others do at this address is no fault of someone who has proved to belong to the account.
            return [Take(self._failures, pair)]
        is_braked = self._account_failures.wait(account_key) > 0
        cost = BRAKED_COST if is_braked else 1
        return [Take(self._failures, pair, cost), Take(self._address_failures, address)]

    def _remember(self, pair: str) -> None:
        """Note that this account is at home at this address."""
        self._failures.forget(pair)
        self._known[pair] = None
        self._known.move_to_end(pair)
        if len(self._known) > self._known_max:
            self._known.popitem(last=False)

    def _digest(self, text: str) -> str:
        """Return a short key for a text of any length; nobody can find two texts that share one."""
        content = text.encode("utf-8", "surrogatepass")
        return hashlib.blake2b(content, digest_size=_DIGEST_BYTES, key=self._digest_key).hexdigest()
