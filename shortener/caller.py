"""Who calls: one value for gRPC, REST and pages."""

import enum
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final, TypeAlias


class Kind(enum.Enum):
    """How far a caller is trusted."""

    SERVICE = "service"
    """A service of the operator's: it runs on this machine, or has shown the service token or a client certificate.
    It may do everything for everyone, and no limit touches it."""
    ACCOUNT = "account"
    """An account that has proved itself by a token."""
    ANYONE = "anyone"


@dataclass(frozen=True, slots=True)
class Caller:
    """The caller of one operation.

    `account` is the id of an account that is proven, in decimal, else empty: an account sees its own links alone.
    `scopes` are what a key may do; none means everything. `address` is the client's IP address, "unknown" when nobody
    knows it, empty for a service.
    """

    kind: Kind = Kind.ANYONE
    account: str = ""
    address: str = ""
    scopes: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        """Refuse an account without an id, which would see everything."""
        if (self.kind is Kind.ACCOUNT) != bool(self.account):
            raise ValueError("an account has an id, and nobody else has")

    @property
    def is_trusted(self) -> bool:
        """Whether this is a service of the operator's."""
        return self.kind is Kind.SERVICE


TRUSTED: Final = Caller(Kind.SERVICE)

Authenticate: TypeAlias = Callable[[str, str], Awaitable[Caller]]
"""Takes a bearer token and an address and returns who calls from there.

Raises `errors.Unauthenticated` for any token that it does not accept.
"""
