"""Where callers put idempotency keys: the metadata `idempotency-key`, the header `Idempotency-Key`.

The names are those of draft-ietf-httpapi-idempotency-key-header. What a key may be and what it does is the domain's.
"""

from collections.abc import Awaitable, Callable
from typing import Any, Protocol

from shortener import errors
from shortener.rpc.guard import received

METADATA = "idempotency-key"
HEADER = "Idempotency-Key"
REPLAYED = "Idempotent-Replayed"
"""The header `true` of an HTTP answer that was given before."""


class Keyed(Protocol):
    """An RPC method that takes an idempotency key beside its request."""

    def __call__(self, request: Any, /, *, idempotency_key: str | None) -> Awaitable[Any]:
        """Return the response; None is a call without a key."""


def keyed(method: Keyed) -> Callable[[Any], Awaitable[None]]:
    """Return `method` as the handler of a unary call, with the key out of the call's metadata."""

    async def call(stream: Any) -> None:  # the stream's type is the server's own
        request = await received(stream)
        metadata = stream.metadata
        key = one_key(metadata.getall(METADATA)) if metadata and METADATA in metadata else None
        await stream.send_message(await method(request, idempotency_key=key))

    return call


def one_key(values: list[str]) -> str | None:
    """Return the only value, None when there is none. Raises `errors.Invalid` when there are more."""
    if len(values) > 1:
        raise errors.Invalid(f"{METADATA} is given more than once", field=METADATA)
    return values[0] if values else None
