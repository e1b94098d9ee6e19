"""What the redirect server needs from the outside."""

import asyncio
from typing import Protocol

from shortener.links.model import Link


class Resolve(Protocol):
    """Finds the live link of a short code, wherever it is kept."""

    async def __call__(self, short_code: str) -> Link:
        """Return the link.

        Raises `errors.NotFound` for a code that was never in use, `errors.Gone` for an expired or deleted link,
        `errors.Unavailable` or `errors.Exhausted` when the store cannot answer now.
        """


class Peek(Protocol):
    """Looks a short code up in memory alone."""

    def __call__(self, short_code: str) -> Link | None:
        """Return the link if it is at hand, live or not; None says nothing about whether it exists. Never waits."""


class LookUp(Protocol):
    """Begins to look a short code up that is not at hand."""

    def __call__(self, short_code: str) -> "asyncio.Future[Link | None] | None":
        """Return what will be the link, or None for a code that was never in use; its failure says nothing.

        None instead of a future: not now, or it is known already that there is none. Never waits. Others have
        the same future: it must not be cancelled.
        """


class Withheld(Protocol):
    """Judges live links."""

    def __call__(self, link: Link) -> bool:
        """Tell whether visitors get a warning instead of this link's redirect. Never waits, and is quick."""


class Clicks(Protocol):
    """Takes the clicks that redirects are. Neither method waits for the event loop."""

    def offer(self, link: Link, address: str, user_agent: str, referrer: str) -> None:
        """Note one click now.

        `address` is the client's IP address, `user_agent` and `referrer` are the request's own texts, uncropped,
        empty when not sent.
        """

    def flush(self) -> None:
        """Put all clicks noted so far where the end of this process cannot lose them. Cheap when there are none.

        Raises `errors.Failure` or `OSError` when that fails.
        """


class Misses(Protocol):
    """Bounds how many unknown codes one address may ask for."""

    def are_too_many(self, address: str) -> bool:
        """Tell whether this address has asked for too many."""

    def check_misses(self, address: str) -> None:
        """Raise `errors.Exhausted` when this address has asked for too many."""

    def miss(self, address: str) -> None:
        """Count one unknown code."""


class Settled(Protocol):
    """Waits until flushed clicks are as safe as the operator wants them."""

    async def __call__(self) -> None:
        """Return when all clicks flushed so far are on the disk, or cannot be brought there."""
