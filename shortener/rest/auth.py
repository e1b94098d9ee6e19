"""How a request's header names its caller."""

from collections.abc import Awaitable, Callable

from shortener import errors
from shortener.caller import Caller

Authenticate = Callable[[str, str], Awaitable[Caller]]
"""Takes a bearer token and an address and returns who calls from there.

Raises `errors.Unauthenticated` for any token that it does not accept.
"""


def bearer_token(header: str | None) -> str:
    """Return the token of an `Authorization: Bearer <token>` value (RFC 6750 section 2.1).

    The scheme is compared case-insensitively. Raises `errors.Unauthenticated` when the header is absent,
    names another scheme, or holds anything but one token of visible ASCII characters.
    """
    if header is None:
        raise errors.Unauthenticated("a bearer token is required")
    scheme, _, token = header.partition(" ")
    token = token.strip(" ")
    if scheme.lower() != "bearer" or not token or not all("!" <= character <= "~" for character in token):
        raise errors.Unauthenticated("a bearer token is required")
    return token
