"""What callers can ask for, as values that both wires are made from. Knows no wire and no framework.

Each module's `api.py` has one function for each operation, `(message, Caller) -> message`, and a list of `Operation`s.
gRPC mounts an operation by its path. REST mounts it by its `Route`, of which the OpenAPI document is made as well.
"""

import typing
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from shortener import errors
from shortener.errors import Code
from shortener.limits import Counted

KEY_METADATA = "idempotency-key"
"""Where gRPC callers put idempotency keys; REST callers use a header of that name, in any case.

The names are those of draft-ietf-httpapi-idempotency-key-header. What a key may be and what it does is the domain's.
"""
KEY_HEADER = "Idempotency-Key"
REPLAYED_HEADER = "Idempotent-Replayed"
"""Is `true` with an HTTP answer that was given before."""


@dataclass(slots=True)
class IdempotencyKey:
    """A key as a caller sent it, unchecked. Once the call is answered, `replayed` tells whether it was before."""

    text: str
    replayed: bool = False


def one_key(values: Sequence[str]) -> IdempotencyKey | None:
    """Return the only value as a key, None when there is none. Raises `errors.Invalid` when there are more."""
    if len(values) > 1:
        raise errors.Invalid(f"{KEY_METADATA} is given more than once", field=KEY_METADATA)
    return IdempotencyKey(values[0]) if values else None


@dataclass(frozen=True, slots=True)
class Content:
    """An answer over REST that is no message: bytes, or a stream of any length that is sent as it comes.

    A failure of a stream's first part is answered like any other; a later one breaks the connection off, so that nobody
    takes what came for the whole.
    """

    content_type: str
    body: bytes | AsyncIterator[bytes]
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Query:
    """One parameter of the query string, which becomes a field of the request; always optional.

    Absent is 0 or the empty string. `kind` is `int` or `str`; `choices`, `low` and `high` say in the documentation what
    is accepted (the operation enforces it). A parameter that is there but empty is refused, unless the empty text is
    one of its choices.
    """

    name: str
    kind: type[int] | type[str]
    description: str
    choices: tuple[str, ...] = ()
    low: int | None = None
    high: int | None = None


@dataclass(frozen=True, slots=True)
class Route:
    """How REST offers an operation.

    The request's fields come from a JSON body (of POST and PATCH), then from `path`, which names parameters in braces
    (`/api/urls/{short_code}`), from `query`, and from the caller: `fills` names fields that a REST caller may not set
    (`user_id`, the proven account; `token`, the bearer token). `headers` makes the answer's own headers. 204 sends no
    message. `errors` names the failures documented beside those that every route can have, `media_types` the types of
    answers that are not messages. Without `auth` anyone may ask.
    """

    method: str
    path: str
    summary: str
    auth: bool = True
    fills: tuple[str, ...] = ()
    query: tuple[Query, ...] = ()
    status: int = 200
    headers: Callable[[Any], Mapping[str, str]] | None = None
    errors: tuple[Code, ...] = ()
    media_types: tuple[str, ...] = ()

    @property
    def has_body(self) -> bool:
        """Whether requests have a JSON body."""
        return self.method in ("POST", "PATCH", "PUT")


Function: TypeAlias = Callable[..., Awaitable[Any]]  # each takes and returns messages of its own types


@dataclass(frozen=True, slots=True)
class Operation:
    """One thing that callers can ask for.

    `function` takes the request and the caller, and an `IdempotencyKey` or None as well when `takes_key`; its
    annotations say which messages those are. It raises the domain's errors. `path` is that of the gRPC method, empty
    where there is none.
    """

    path: str
    function: Function
    route: Route | None = None
    limit: Counted | None = "misses"
    """What a call counts as for callers who are not trusted; over gRPC, calls that end in NOT_FOUND count as misses."""
    slow: bool = False
    """True for statistics, which get the longer default deadline."""
    takes_key: bool = False
    """True where an idempotency key makes it safe to try again."""
    missing: Callable[[], Any] | None = None
    """Makes a message that is sent before NOT_FOUND over gRPC."""

    @property
    def request(self) -> Any:  # generated classes, and plain ones where there is no RPC
        """The class of requests."""
        return next(iter(typing.get_type_hints(self.function).values()))

    @property
    def reply(self) -> Any:  # as above
        """The class of answers."""
        return typing.get_type_hints(self.function)["return"]


def by_path(operations: Sequence[Operation]) -> dict[str, Operation]:
    """Return the operations that gRPC offers, by path."""
    return {operation.path: operation for operation in operations if operation.path}
