"""What the links module needs from the outside."""

from collections.abc import Callable, Mapping, Sequence
from typing import Literal, Protocol, TypeAlias

from shortener.links.model import Link, LinkRef, NewLink
from shortener.tx import Tx


class LinkStore(Protocol):
    """Keeps links. Reads wait; writes are plain functions inside a transaction.

    A deleted link stays, with `deleted_at` set, so that its code never passes to anyone else.
    """

    async def find(self, short_code: str) -> Link | None:
        """Return the link of this code, deleted or not; None when the code was never in use."""

    async def find_many(self, short_codes: Sequence[str]) -> dict[str, Link]:
        """Return those that exist, deleted or not, by code."""

    async def page(self, owner_id: str, limit: int, offset: int) -> tuple[list[Link], int]:
        """Return one page of an owner's links, newest first, deleted ones omitted, and how many there are in all."""

    async def owned(self, owner_id: str, *, after: int, limit: int) -> list[Link]:
        """Return links of an owner, deleted ones too, in order of their ids: at most `limit` behind id `after`."""

    def add(self, tx: Tx, link: NewLink) -> Link | None:
        """Store a link and return it; None when its code is taken.

        A code is free if it was never in use, or if it was an alias of the same owner and is deleted; then the
        link starts anew, with a new id and no clicks.
        """

    def delete(self, tx: Tx, short_code: str, *, now: int, owner_id: str | None = None) -> bool:
        """Mark a link deleted; False when there is none (or not this owner's, where one is given)."""

    def increment(self, tx: Tx, short_code: str) -> Link | None:
        """Add one to the counter and return the link as it is then; None when there is none or it is deleted."""

    def add_clicks(self, tx: Tx, counts: Mapping[LinkRef, int]) -> dict[LinkRef, int]:
        """Add recorded clicks to the links' counters and return the new `clicks` of each.

        Links whose row is gone (an alias taken again) and erased ones are passed over; deleted ones are still counted.
        """

    def erase_owned(self, tx: Tx, owner_id: str, *, now: int, limit: int) -> list[LinkRef]:
        """Delete at most `limit` links of an owner for good, live ones first, and return which; none when none is left.

        Their codes stay taken, for nobody: destination, owner and counts are gone.
        """


class Blocks(Protocol):
    """Judges where links may lead."""

    def __call__(self, destination: str) -> bool:
        """Tell whether no link may lead to this checked destination."""


IsErased: TypeAlias = Callable[[Tx, str], bool]
"""Tells whether an owner was erased, as the transaction sees it: no link may be made for such an owner."""


class NewCode(Protocol):
    """Makes a candidate for a short code."""

    def __call__(self) -> str:
        """Return the next candidate."""


QrFormat: TypeAlias = Literal["png", "svg"]


class RenderQr(Protocol):
    """Draws the QR code of a short URL. May run elsewhere than on the event loop."""

    def admit(self, owner_id: str) -> None:
        """Raise `errors.Exhausted` when too many of this owner's wait, so that no other work is done in vain."""

    async def __call__(self, short_url: str, image: QrFormat, owner_id: str) -> bytes:
        """Return the image as a whole file. Raises `errors.Exhausted` when too many of this owner's wait."""
