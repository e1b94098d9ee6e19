"""What the analytics module needs from the outside."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from shortener.analytics.model import Address, Agent, Click, Place, Position
from shortener.links.model import LinkRef
from shortener.tx import Tx


class ClickStore(Protocol):
    """Keeps clicks, their roll-ups and visitor sets, and how far the journal has been moved into them."""

    def append(self, tx: Tx, clicks: Sequence[Click]) -> list[int]:
        """Record clicks, with roll-ups and visitor sets, and return their event ids in the same order."""

    def is_counted(self, click: Click) -> bool:
        """Tell whether a click counts in roll-ups and in its link's `clicks`: bots may be configured not to."""

    async def position(self) -> Position:
        """Return how far the journal has been moved; `START` when nothing ever was."""

    def advance(self, tx: Tx, old: Position, new: Position) -> bool:
        """Move the position from `old` to `new`; False, and nothing is changed, when it is not `old`."""


class CountClicks(Protocol):
    """Adds recorded clicks to the links' own counters (`LinkService.add_clicks`)."""

    def __call__(self, tx: Tx, counts: Mapping[LinkRef, int]) -> None:
        """Add `counts` inside the caller's transaction. Links that are gone are passed over."""


class GeoLocator(Protocol):
    """Finds where addresses are, without asking anyone else."""

    def locate(self, address: Address) -> Place:
        """Return the place; `NOWHERE` for private, reserved and unknown addresses. Never raises."""


class ParseAgent(Protocol):
    """Understands User-Agent headers. The first call may take half a second, later ones microseconds."""

    def __call__(self, user_agent: str) -> Agent:
        """Return what the header tells. Never raises."""


class DescribeClick(Protocol):
    """Turns what a caller tells about a click into a `Click`."""

    async def __call__(self, ref: LinkRef, *, at: int, address: str, user_agent: str, referrer: str) -> Click:
        """Return the click; an empty `address` is a click without a visitor.

        Raises `errors.Invalid` (field `ip_address`) for an address that is none.
        """
