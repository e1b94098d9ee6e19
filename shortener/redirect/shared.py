"""What the connections of one redirect server share, and what one of them waits for."""

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from shortener.clock import Clock
from shortener.links.model import Link
from shortener.redirect.batch import AnswerBatch
from shortener.redirect.counting import Counting
from shortener.redirect.fallback import FallbackServer
from shortener.redirect.head import Fields
from shortener.redirect.ports import LookUp, Misses, Peek, Withheld
from shortener.redirect.settings import RedirectSettings, Traffic
from shortener.transport.addresses import ClientAddresses
from shortener.transport.memo import Memo

if TYPE_CHECKING:
    from shortener.redirect.lane import Lane


@dataclass(frozen=True, slots=True)
class Parked:
    """A request whose link is being read: its bytes, and what they mean."""

    found: "asyncio.Future[Link | None]"
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
    heads: Memo[bytes, Fields]
    withheld: Withheld | None = None
    misses: Misses | None = None
    connections: "set[Lane]" = field(default_factory=set)
    empty: asyncio.Event = field(default_factory=asyncio.Event)
