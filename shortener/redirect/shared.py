"""What the connections of one redirect server share, and what one of them waits for."""

import asyncio
from dataclasses import dataclass

from aiohttp import web

from shortener.clock import Clock
from shortener.links.model import Link
from shortener.net.addresses import ClientAddresses
from shortener.net.http import HttpLimits
from shortener.net.memo import Memo
from shortener.redirect.batch import AnswerBatch
from shortener.redirect.counting import Counting
from shortener.redirect.head import Fields
from shortener.redirect.ports import LookUp, Misses, Peek, Withheld
from shortener.redirect.settings import Traffic


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
    """What all connections of one server share."""

    limits: HttpLimits
    peek: Peek
    look_up: LookUp | None
    clock: Clock
    addresses: ClientAddresses
    counting: Counting
    batch: AnswerBatch
    fallback: web.Server
    traffic: Traffic
    heads: Memo[bytes, Fields]
    withheld: Withheld | None = None
    misses: Misses | None = None
