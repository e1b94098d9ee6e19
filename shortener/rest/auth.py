"""Who is calling: the principal of one request, and how a header names it."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from shortener import errors


@dataclass(frozen=True, slots=True)
class Principal:
    """The authenticated caller of one request. `user_id` is the account's id, in decimal."""

    user_id: str


Authenticate = Callable[[str], Awaitable[Principal]]
"""Turns a bearer token into its principal; raises `errors.Unauthenticated` for any token it does not accept."""


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
