"""Random identifiers, for requests and tokens."""

import secrets
from collections.abc import Callable

NewId = Callable[[], str]


def random_id() -> str:
    """Return 128 random bits as 32 hexadecimal digits."""
    return secrets.token_hex(16)
