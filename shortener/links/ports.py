"""What the links module needs from the outside."""

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from typing import Literal, Protocol, TypeAlias

from shortener.links.model import Link, LinkDetails, LinkEvent, LinkRecord, LinkRef
from shortener.tx import Tx


class LinkStore(Protocol):
    """Keeps links. Reads wait; writes are plain functions inside a transaction.

    A deleted link stays, with `deleted_at` set, so that its code never passes to anyone else.
    """

    async def links(self, short_codes: Sequence[str]) -> dict[str, Link]:
        """Return those that exist, deleted or not, by code."""

    async def records(self, short_codes: Sequence[str]) -> dict[str, LinkRecord]:
        """Return all that is known of those that exist, deleted or not, by code."""

    async def page(self, owner_id: str, limit: int, offset: int) -> tuple[list[LinkRecord], int]:
        """Return one page of an owner's links, newest first, deleted ones omitted, and how many there are in all."""

    async def owned(self, owner_id: str, *, after: int, limit: int) -> list[LinkRecord]:
        """Return links of an owner, deleted ones too, in order of their ids: at most `limit` behind id `after`."""

    def add(self, tx: Tx, link: LinkDetails) -> int | None:
        """Store a link that has no id yet, and return its id; None when its code is taken.

        A code is free if it was never in use, or if it was an alias of the same owner and is deleted; then the
        link starts anew, with a new id and no clicks.
        """

    def delete(self, tx: Tx, short_code: str, *, now: int, owner_id: str | None = None) -> LinkRef | None:
        """Mark a link deleted; None when there is none (or not this owner's, where one is given)."""

    def increment(self, tx: Tx, short_code: str) -> int | None:
        """Add one to the counter and return its new value; None when there is no link, or it is deleted."""

    def add_clicks(self, tx: Tx, counts: Mapping[LinkRef, int]) -> Collection[LinkRef]:
        """Add recorded clicks to the links' counters, and return the links that were there to be counted.

        Links whose row is gone (an alias taken again) and erased ones are passed over; deleted ones are still counted.
        """

    def erase_owned(self, tx: Tx, owner_id: str, *, now: int, limit: int) -> list[LinkRef]:
        """Delete at most `limit` links of an owner for good, live ones first, and return which; none when none is left.

        Their codes stay taken, for nobody: destination, owner and counts are gone.
        """


class LinkCache(Protocol):
    """Answers look-ups from memory where it can, and is told of each committed write.

    It is told after the commit, before the writer's caller resumes: whoever knows of a write never reads what was
    there before it.
    """

    async def find(self, short_code: str) -> Link | None:
        """Return the link of this code, deleted or not; None when the code was never in use."""

    async def find_record(self, short_code: str) -> LinkRecord | None:
        """Return all that is known of the link of this code, in the same way."""

    def added(self, link: LinkDetails) -> None:
        """Learn of a new link."""

    def changed(self, short_code: str) -> None:
        """Learn that a link was changed or deleted."""

    def counted(self, short_codes: Collection[str]) -> None:
        """Learn that nothing but these links' counters were changed."""


class Outbox(Protocol):
    """Keeps events for whoever delivers them, in the transactions that they belong to."""

    def put(self, tx: Tx, event: LinkEvent) -> None:
        """Add an event."""


Blocks: TypeAlias = Callable[[str], bool]
"""Tells whether no link may lead to this checked destination."""

IsErased: TypeAlias = Callable[[Tx, str], bool]
"""Tells whether an owner was erased, as the transaction sees it: no link may be made for such an owner."""

NewCode: TypeAlias = Callable[[], str]
"""Returns the next candidate for a short code."""

QrFormat: TypeAlias = Literal["png", "svg"]


RenderQr: TypeAlias = Callable[[str, QrFormat], Awaitable[bytes]]
"""Draws the QR code of a short URL: returns the image as a whole file."""
