"""Who calls: one value for gRPC, REST and pages."""

import enum
from dataclasses import dataclass
from typing import Final


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

    `account` is the id of an account that is proven, in decimal, else empty. `scopes` are what a key may do; none
    means everything. `address` is the client's IP address, "unknown" when nobody knows it, empty for a service.
    """

    kind: Kind = Kind.ANYONE
    account: str = ""
    address: str = ""
    scopes: frozenset[str] = frozenset()

    @property
    def is_trusted(self) -> bool:
        """Whether this is a service of the operator's."""
        return self.kind is Kind.SERVICE

    @property
    def owner(self) -> str | None:
        """The account whose belongings are all that the caller sees; None for who sees everything."""
        return self.account if self.kind is Kind.ACCOUNT else None


TRUSTED: Final = Caller(Kind.SERVICE)
