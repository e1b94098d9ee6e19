"""What the connections of one redirect server share, and what one of them waits for."""

import asyncio
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING

from shortener.clock import Clock
from shortener.links.model import Link
from shortener.net.addresses import ClientAddresses
from shortener.net.memo import Memo
from shortener.net.refusals import IDLE_SECONDS_MIN, LOOKED_AT, Refusals
from shortener.redirect.batch import AnswerBatch
from shortener.redirect.counting import Counting
from shortener.redirect.fallback import FallbackServer
from shortener.redirect.head import Fields
from shortener.redirect.ports import LookUp, Misses, Peek, Withheld
from shortener.redirect.settings import RedirectSettings, Traffic

if TYPE_CHECKING:
    from shortener.redirect.lane import Lane


TOO_MANY = (
    b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nRetry-After: 1\r\nServer: shortener\r\n"
    b"Connection: close\r\n\r\n"
)
"""What a connection beyond the limit is told."""


@dataclass(frozen=True, slots=True)
class Parked:
    """A request whose link is being read: its bytes, what they mean, and when they came, by `perf_counter`."""

    found: "asyncio.Future[Link | None]"
    came: float
    data: bytes
    short_code: str
    fields: Fields


@dataclass(slots=True)
class LaneShared:
    """What all connections of one server share. `tick` is the loop's time, renewed by the server now and then."""

    settings: RedirectSettings
    peek: Peek
    look_up: LookUp | None
    clock: Clock
    addresses: ClientAddresses
    counting: Counting
    batch: AnswerBatch
    fallback: FallbackServer
    traffic: Traffic
    tick: float
    refusals: Refusals
    heads: Memo[bytes, Fields]
    withheld: Withheld | None = None
    misses: Misses | None = None
    connections: "set[Lane]" = field(default_factory=set)
    empty: asyncio.Event = field(default_factory=asyncio.Event)

    def make_room(self) -> bool:
        """Close a connection that has been idle for a while, if one is soon found; say whether there was one."""
        then = self.tick - IDLE_SECONDS_MIN
        for lane in islice(self.connections, LOOKED_AT):
            if lane.is_idle_since(then):
                self.connections.discard(lane)
                self.traffic.evicted_connections += 1
                lane.close()
                return True
        return False
