"""The limits on creates, registrations and misses of callers who are not trusted."""

import time
from collections.abc import Mapping
from functools import partial

from shortener.caller import Caller
from shortener.config import sections
from shortener.limits.limiter import Limiter, Rate, Take, Timer, check_all, take_all
from shortener.limits.model import Counted, address_key

_MISSES = "too many requests for what does not exist"


class RateLimits:
    """Counts the creates, registrations and misses of each address, and the creates of each account. Never waits.

    Trusted callers are not counted.
    """

    def __init__(self, limits: sections.Limits, timer: Timer = time.monotonic_ns) -> None:
        limiter = partial(Limiter, keys_max=limits.keys_max, timer=timer)
        self._creates_by_address = limiter(Rate(limits.creates_per_minute, limits.creates_burst))
        self._creates_by_account = limiter(Rate(limits.creates_per_minute, limits.creates_burst))
        self._registrations = limiter(Rate(limits.registrations_per_minute, limits.registrations_burst))
        self._misses = limiter(Rate(limits.misses_per_minute, limits.misses_burst))
        self.limiters: Mapping[str, Limiter] = {
            "creates_by_address": self._creates_by_address,
            "creates_by_account": self._creates_by_account,
            "registrations": self._registrations,
            "misses": self._misses,
        }
        """The limiters by name, to be watched."""

    def admit(self, kind: Counted, caller: Caller) -> None:
        """Count one request of this kind, but for a miss, which is none yet.

        Raises `errors.Exhausted` when there were too many; then it is not counted.

        Creates count by account only where that is proven: what anyone may claim would use up someone else's.
        """
        if caller.is_trusted:
            return
        key = address_key(caller.address)
        if kind == "misses":
            self.check_misses(caller.address)
        elif kind == "registrations":
            take_all([Take(self._registrations, key)], "too many registrations from this address")
        else:
            by_account = [Take(self._creates_by_account, caller.account)] if caller.account else []
            takes = [Take(self._creates_by_address, key), *by_account]
            take_all(takes, "too many links created from this address or by this account")

    def are_too_many(self, address: str) -> bool:
        """Tell whether `check_misses` would refuse this address."""
        return self._misses.wait(address_key(address)) > 0

    def check_misses(self, address: str) -> None:
        """Raise `errors.Exhausted` when this address has asked for too much that does not exist."""
        check_all([Take(self._misses, address_key(address))], _MISSES)

    def miss(self, address: str) -> None:
        """Count one request for what does not exist."""
        self._misses.take(address_key(address))
