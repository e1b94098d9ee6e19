"""Where callers put idempotency keys: the metadata `idempotency-key`, the header `Idempotency-Key`.

The names are those of draft-ietf-httpapi-idempotency-key-header. What a key may be and what it does is the domain's.
"""

from typing import Any

from shortener import errors
from shortener.api import IdempotencyKey

METADATA = "idempotency-key"
HEADER = "Idempotency-Key"
REPLAYED = "Idempotent-Replayed"
"""The header `true` of an HTTP answer that was given before."""


def key_of(stream: Any) -> IdempotencyKey | None:  # the stream's type is the server's own
    """Return the key in a call's metadata, None without one. Raises `errors.Invalid` when there are more."""
    metadata = stream.metadata
    return one_key(metadata.getall(METADATA)) if metadata and METADATA in metadata else None


def one_key(values: list[str]) -> IdempotencyKey | None:
    """Return the only value as a key, None when there is none. Raises `errors.Invalid` when there are more."""
    if len(values) > 1:
        raise errors.Invalid(f"{METADATA} is given more than once", field=METADATA)
    return IdempotencyKey(values[0]) if values else None
