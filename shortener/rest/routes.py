"""REST routes as values: what a module's `rest.py` exports and the gateway mounts. Knows no web framework.

The same objects give the handlers of the gateway and its OpenAPI document, so the two cannot disagree.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

import betterproto

from shortener import errors
from shortener.errors import Code
from shortener.limits import Kind
from shortener.rest.auth import Principal


@dataclass(frozen=True, slots=True)
class Query:
    """One parameter of the query string; always optional. Absent is 0 or the empty string.

    `kind` is `int` or `str`; `choices` lists the allowed texts in the documentation (the handler enforces them). A
    parameter that is there but empty is refused, unless the empty text is one of its choices.
    """

    name: str
    kind: type[int] | type[str]
    description: str
    choices: tuple[str, ...] = ()
    low: int | None = None
    high: int | None = None
    """The least and the greatest number that is accepted, for the documentation (the handler enforces them)."""


@dataclass(frozen=True, slots=True)
class Call:
    """One parsed request. Path and query values and the body have their declared types.

    `query` holds every declared parameter. `body` is set when the route declares one. `address` is the client's
    IP address, behind proxies that are trusted to forward it; it is never empty on the gateway. `idempotency_key` is
    what came as that header, unchecked; None without it and on routes that do not take one.
    """

    principal: Principal | None = None
    path: Mapping[str, str] = field(default_factory=dict)
    query: Mapping[str, str | int] = field(default_factory=dict)
    body: betterproto.Message | None = None
    address: str = ""
    idempotency_key: str | None = None

    def caller_id(self) -> str:
        """Return the caller's user id; raises `errors.Unauthenticated` without a principal."""
        if self.principal is None:
            raise errors.Unauthenticated("a bearer token is required")
        return self.principal.user_id

    def text(self, name: str) -> str:
        """Return the query parameter `name`, declared as `str`; empty when absent."""
        value = self.query[name]
        assert isinstance(value, str)
        return value

    def number(self, name: str) -> int:
        """Return the query parameter `name`, declared as `int`; 0 when absent."""
        value = self.query[name]
        assert isinstance(value, int)
        return value


@dataclass(frozen=True, slots=True)
class Reply:
    """The answer of a handler: a message sent as JSON, or raw `content` of `content_type`, or nothing.

    A `stream` is content of any length, sent as it comes. A failure of its first part is answered like any other; a
    later one breaks the connection off, so that nobody takes what came for the whole.
    """

    message: betterproto.Message | None = None
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    content: bytes = b""
    content_type: str = ""
    stream: AsyncIterator[bytes] | None = None


Handler = Callable[[Call], Awaitable[Reply]]


class Admit(Protocol):
    """Decides whether a caller may have one more of what is limited."""

    def __call__(self, kind: Kind, address: str, account_id: str = "") -> None:
        """Count the request. Raises `errors.Exhausted` when there were too many."""


@dataclass(frozen=True, slots=True)
class Route:
    """One operation of the REST API.

    `path` holds parameters in braces (`/api/urls/{short_code}`). `body_hides` names fields of the body message
    that a REST caller may not set (`user_id`, `token`): they are ignored when sent and left out of the document.
    `reply` and `status` describe success; `media_types` replaces JSON for answers that are not messages.
    `errors` names the failures documented beside those every route can have. `limit` names what each request counts
    as, once it is known to be well-formed.
    """

    method: str
    path: str
    handler: Handler
    summary: str
    auth: bool = True
    body: type[betterproto.Message] | None = None
    body_hides: frozenset[str] = frozenset()
    query: tuple[Query, ...] = ()
    reply: type[betterproto.Message] | None = None
    status: int = 200
    errors: tuple[Code, ...] = ()
    media_types: tuple[str, ...] = ()
    limit: Kind | None = None
    slow: bool = False
    """True for statistics, which get the longer default deadline."""
    takes_key: bool = False
    """True where an `Idempotency-Key` makes it safe to try again."""
