"""The fast lane: the plain GET of a cached live link is parsed, counted and answered in one step.

That of a link which is not in memory waits here until it has been read. Everything else goes to aiohttp on the same
connection, its bytes untouched. The lane takes the connection back when aiohttp has answered all it was given, and the
next byte begins a request.
"""

import asyncio
from dataclasses import dataclass, field
from time import perf_counter
from typing import cast

from aiohttp import web

from shortener.links.model import Link
from shortener.net.addresses import ClientAddresses
from shortener.net.http import HttpLimits
from shortener.net.listener import Listener
from shortener.net.places import Place
from shortener.redirect.batch import AnswerBatch, Counting
from shortener.redirect.decision import Decide, Decision, Visit
from shortener.redirect.fallback import FallbackConnection
from shortener.redirect.head import (
    BLANK_LINE,
    can_be_short_code,
    is_plain_line,
    may_become_plain,
    read_fields,
    short_code_in,
)
from shortener.redirect.ports import RedirectPorts
from shortener.redirect.state import Traffic

REMEMBERED_SIZE_MAX = 2048
"""Longer heads are read anew each time, so that the memo stays small."""

_REDIRECT = Decision.REDIRECT

PATIENCE_SECONDS = 0.25
"""A link that takes longer to read is waited for by aiohttp, which has a limit for it."""


@dataclass(frozen=True, slots=True)
class WaitingRequest:
    """A request whose link is being read: its bytes, what they mean, and when they came, by `perf_counter`."""

    found: "asyncio.Future[Link | None]"
    came: float
    data: bytes
    visit: Visit


@dataclass(slots=True)
class LaneState:
    """What all connections of one server share. `heads` are well-formed heads that came before, `heads_max` at most."""

    ports: RedirectPorts
    limits: HttpLimits
    decide: Decide
    addresses: ClientAddresses
    counting: Counting
    batch: AnswerBatch
    fallback: web.Server
    traffic: Traffic
    heads_max: int
    heads: dict[bytes, Visit] = field(default_factory=dict)
    listener: Listener = field(init=False)


class Lane(asyncio.Protocol):
    """One connection."""

    __slots__ = (
        "_away", "_clock", "_decide", "_fallback", "_half_closed", "_heads", "_listener", "_partial", "_peek", "_peer",
        "_since", "_state", "_transport", "_trusted", "_waiting", "_write_paused",
    )  # fmt: skip

    def __init__(self, state: LaneState) -> None:
        self._state = state
        self._listener = listener = state.listener
        self._heads = state.heads
        self._peek = state.ports.peek
        self._decide = state.decide
        self._clock = state.ports.clock
        self._transport: asyncio.Transport
        self._peer = ""
        self._trusted = False
        self._away = False  # the next bytes are not the start of a request that the lane may answer
        self._partial = b""  # the start of a head, waiting for its end
        self._waiting: WaitingRequest | None = None
        self._half_closed = False  # the client will send no more, and has not had all its answers
        self._fallback: FallbackConnection | None = None
        self._since = listener.tick  # when the last request came, or began to
        self._write_paused = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the connection, unless there are too many."""
        self._transport = cast(asyncio.Transport, transport)
        self._away = self._listener.admit(self, self._transport) is Place.NONE
        peer = transport.get_extra_info("peername")
        self._peer = peer[0] if isinstance(peer, tuple) else ""
        self._trusted = self._state.addresses.is_proxy(self._peer)

    def data_received(self, data: bytes) -> None:
        """Answer, hand over, or wait for more."""
        if self._away:
            self._received_away(data)
            return
        self._since = self._listener.tick
        line, _, block = data.partition(b"\r\n")
        visit = self._heads.get(block)
        if visit is None or not self._answer(short_code_in(line), visit):
            self._consider(data, line, block)

    def _answer(self, short_code: str, visit: Visit) -> bool:
        """Redirect if the code names a link in memory that leads on; False otherwise."""
        link = self._peek(short_code) if short_code else None
        return link is not None and link.short_code == short_code and self._redirect(link, visit)

    def _redirect(self, link: Link | None, visit: Visit) -> bool:
        if self._decide(link, visit, self._clock()) is not _REDIRECT or link is None or not link.is_plain:
            return False
        state = self._state
        state.counting.offer(link, self._address(visit), visit)
        state.batch.add(self._transport, link.destination)
        return True

    def _address(self, visit: Visit) -> str:
        return self._state.addresses.client(self._peer, visit.forwarded) if self._trusted else self._peer

    def _consider(self, data: bytes, line: bytes, block: bytes) -> None:
        """Decide about bytes that start where a request starts and are not a remembered head."""
        end = data.find(BLANK_LINE)
        if end < 0:
            self._wait_or_hand_over(data)
            return
        whole = end + len(BLANK_LINE) == len(data) <= self._state.limits.head_size_max and is_plain_line(line)
        visit = read_fields(block) if whole else None
        if visit is None:
            self._hand_over(data)
            return
        if len(block) <= REMEMBERED_SIZE_MAX:
            if len(self._heads) >= self._state.heads_max:
                self._heads.clear()
            self._heads[block] = visit
        short_code = short_code_in(line)
        if not self._answer(short_code, visit) and not self._look_up(short_code, data, visit):
            self._hand_over(data)

    def _look_up(self, short_code: str, data: bytes, visit: Visit) -> bool:
        """Let the request wait for its link; False if that cannot be had from here."""
        look_up, misses = self._state.ports.look_up, self._state.ports.misses
        if look_up is None or not can_be_short_code(short_code):
            return False
        if misses is not None and misses.are_too_many(self._address(visit)):
            return False  # aiohttp refuses it
        found = look_up(short_code)
        if found is None:
            return False
        self._away = True
        self._since = self._listener.tick
        self._waiting = WaitingRequest(found, perf_counter(), data, visit)
        found.add_done_callback(self._looked_up)
        return True

    def _looked_up(self, found: "asyncio.Future[Link | None]") -> None:
        waiting = self._waiting
        if waiting is None or waiting.found is not found:
            return  # aiohttp has the request, or the client has gone
        self._waiting = None
        self._away = False
        link = None if found.cancelled() or found.exception() else found.result()
        if self._redirect(link, waiting.visit):
            self._state.batch.waited_since(waiting.came)
            if self._half_closed:
                self._state.batch.flush()
                self._transport.close()
        else:
            self._hand_over(waiting.data)

    def _stop_waiting(self, more: bytes = b"") -> None:
        """Let aiohttp wait for the link, if one is waited for here."""
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            self._hand_over(waiting.data + more)

    def _wait_or_hand_over(self, start: bytes) -> None:
        if len(start) > self._state.limits.head_size_max or not may_become_plain(start):
            self._hand_over(start)
            return
        self._partial = start
        self._away = True

    def _received_away(self, data: bytes) -> None:
        if self._partial:
            whole = self._partial + data
            self._partial = b""
            self._away = False
            line, _, block = whole.partition(b"\r\n")
            self._consider(whole, line, block)
            if not self._away:
                self._since = self._listener.tick
        elif self._waiting is not None:
            self._stop_waiting(data)
        elif self._fallback is not None:
            self._hand_over(data)

    def _hand_over(self, data: bytes) -> None:
        """Let aiohttp have the bytes.

        Answers that the batch still holds leave first: aiohttp never answers within `data_received`, and the loop runs
        what was scheduled in order.
        """
        state = self._state
        state.traffic.handed_over += 1
        self._away = True
        fallback = self._fallback
        if fallback is None:
            fallback = self._fallback = FallbackConnection(
                state.fallback,
                self._listener,
                state.limits,
                traffic=state.traffic,
                known_as=self,
                on_answered=self._answered,
            )
            fallback.connection_made(self._transport)
            if self._write_paused:
                fallback.pause_writing()
        fallback.data_received(data)
        if self._half_closed:
            fallback.eof_received()

    def _answered(self, *, keep_alive: bool) -> None:
        self._since = self._listener.tick
        self._away = not (keep_alive and self._fallback is not None and self._fallback.is_empty)

    def eof_received(self) -> bool:
        """Answer what was asked, then let the connection close."""
        self._state.batch.flush()
        self._half_closed = True
        fallback = self._busy_fallback
        return self._waiting is not None or (fallback is not None and fallback.eof_received())

    def pause_writing(self) -> None:
        """Read no more from a client that does not read."""
        self._write_paused = True
        self._listener.charge(self)
        if self._fallback is not None:
            self._fallback.pause_writing()
        if not self._away:
            self._transport.pause_reading()

    def resume_writing(self) -> None:
        """Go on reading."""
        self._write_paused = False
        self._listener.charge(self)
        if self._fallback is not None:
            self._fallback.resume_writing()
        if not self._away:
            self._transport.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        self._away = True
        self._waiting = None
        self._listener.lost(self)
        if self._fallback is not None:
            self._fallback.connection_lost(exc)

    # What the listener asks.

    @property
    def _busy_fallback(self) -> FallbackConnection | None:
        """The connection as aiohttp has it, while the bytes go there."""
        return self._fallback if self._away and not (self._partial or self._waiting) else None

    @property
    def held(self) -> int:
        """Bytes of the client's input that wait here."""
        return len(self._partial) + (self._fallback.held if self._fallback is not None else 0)

    def waits_since(self) -> float | None:
        """Return since when the client has been awaited, None while it is the client who waits."""
        if self._waiting is not None:
            return None
        fallback = self._busy_fallback
        return self._since if fallback is None else fallback.waits_since()

    def check(self, now: float) -> bool:
        """Tell whether the client has been too slow with a head, or idle for too long."""
        if self._waiting is not None:
            if now - self._since > PATIENCE_SECONDS:
                self._stop_waiting()
            return False
        fallback = self._busy_fallback
        if fallback is not None:
            return fallback.check(now)
        limits = self._state.limits
        return now - self._since > (limits.head_timeout_seconds if self._partial else limits.keepalive_seconds)

    def leave(self) -> None:
        """Close unless a request is being answered or has begun to arrive."""
        self._state.batch.flush()
        fallback = self._busy_fallback
        if fallback is not None:
            fallback.leave()
        elif not (self._waiting or self._partial):
            self._transport.close()

    def stop(self) -> None:
        """Close now, without what was not sent."""
        self._transport.abort()
