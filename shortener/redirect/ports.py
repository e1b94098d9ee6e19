"""What the redirect server needs from the outside."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from shortener.clock import Clock
from shortener.ids import NewId
from shortener.links.model import Link
from shortener.observe.request_log import OFF, RequestLog

Find: TypeAlias = Callable[[str], Awaitable[Link | None]]
"""Returns the link of a short code, live or not, wherever it is kept; None for a code that was never in use.

Raises `errors.Unavailable` or `errors.Exhausted` when the store cannot answer now.
"""

Peek: TypeAlias = Callable[[str], Link | None]
"""Returns the link of a short code if it is in memory; None says nothing about whether it exists. Never waits."""

LookUp: TypeAlias = Callable[[str], asyncio.Future[Link | None] | None]
"""Begins to look up a short code that is not in memory, and returns what will be the link, or None for a code that was
never in use; its failure says nothing.

None instead of a future: not now, or it is known already that there is none. Never waits. Others have the same future:
it must not be cancelled.
"""

Withheld: TypeAlias = Callable[[Link], bool]
"""Tells whether visitors get a warning instead of this link's redirect. Never waits, and is quick."""

Settled: TypeAlias = Callable[[], Awaitable[None]]
"""Returns when all clicks flushed so far are on the disk, or cannot be brought there."""

Observe: TypeAlias = Callable[[str, str, float, int], None]
"""Told of answers: the lane (fast or slow), the status, the seconds each took, and how many."""


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


def _observe_nothing(lane: str, status: str, seconds: float, times: int) -> None:
    pass


@dataclass(frozen=True, slots=True)
class RedirectPorts:
    """All of it.

    With `look_up` the lane waits for links that `peek` does not have; without, aiohttp does. With `settled` each
    redirect waits for it after its click was flushed; since the lane does not wait, aiohttp then answers everything.
    Without `misses` anyone may ask for as many unknown codes as they like.
    """

    find: Find
    peek: Peek
    clicks: Clicks
    clock: Clock
    new_id: NewId
    look_up: LookUp | None = None
    settled: Settled | None = None
    withheld: Withheld | None = None
    misses: Misses | None = None
    observe: Observe = _observe_nothing
    requests: RequestLog = OFF
