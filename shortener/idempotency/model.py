"""What a call with an idempotency key is known by, and the rules about keys."""

import hashlib
import json
import re
from dataclasses import dataclass
from typing import TypeAlias

from shortener import errors

FIELD = "idempotency-key"
"""How errors name the key: the metadata's name, and the header's but for its case."""
KEY_LENGTH_MAX = 255
DIGEST_SIZE = 16
SECRET_SIZE = 32

_KEY = re.compile(rf"[\x21-\x7e]{{1,{KEY_LENGTH_MAX}}}")

Answer: TypeAlias = tuple[int | str, ...]
"""What an answer is made from again, as the module that gave it understands it."""


@dataclass(frozen=True, slots=True)
class Asked:
    """One call with a key, as keyed hashes of `DIGEST_SIZE` bytes: nobody can tell from them what was sent.

    `key` stands for the method, its caller and the key; `request` for everything that the caller asked for; `caller`
    for the caller alone, whatever the method.
    """

    key: bytes
    request: bytes
    caller: bytes


def parse_key(text: str) -> str:
    """Return an idempotency key: 1 to 255 visible ASCII characters. Raises `errors.Invalid`."""
    if not _KEY.fullmatch(text):
        raise errors.Invalid(f"{FIELD} must be 1 to {KEY_LENGTH_MAX} visible ASCII characters", field=FIELD)
    return text


def asked(secret: bytes, method: str, caller: str, key: str, request: Answer) -> Asked:
    """Return what the call is known by. Raises `errors.Invalid` for a bad key.

    The hashes are keyed with a secret that is not in the database: a request may hold an address, and there are few
    enough of those to try them all.
    """
    return Asked(
        _digest(secret, method, caller, parse_key(key)), _digest(secret, method, *request), _digest(secret, caller)
    )


def _digest(secret: bytes, *values: int | str) -> bytes:
    text = json.dumps(values)  # Tells where one value ends and the next begins, and 1 from "1".
    return hashlib.blake2b(text.encode("ascii"), key=secret, digest_size=DIGEST_SIZE).digest()


def reused() -> errors.Conflict:
    """Return the error for a key that came before with another request."""
    return errors.Conflict(f"{FIELD} was used for another request", field=FIELD)
