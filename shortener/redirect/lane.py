"""The fast lane: the plain GET of a cached live link is parsed, counted and answered in one step.

That of a link which is not in memory waits here until it has been read. Everything else goes to aiohttp on the same
connection, its bytes untouched. The lane takes the connection back when aiohttp has answered all it was given, and the
next byte begins a request.
"""

import asyncio
from time import perf_counter
from typing import cast

from shortener.links.model import Link, is_live
from shortener.net.listener import Listener
from shortener.net.places import Place
from shortener.redirect.fallback import FallbackConnection
from shortener.redirect.head import (
    BLANK_LINE,
    Fields,
    can_be_short_code,
    is_plain_line,
    may_become_plain,
    read_fields,
    short_code_in,
)
from shortener.redirect.shared import LaneShared, Parked

REMEMBERED_SIZE_MAX = 2048
"""Longer heads are read anew each time, so that the memo stays small."""

PATIENCE_SECONDS = 0.25
"""A link that takes longer to read is waited for by aiohttp, which has a limit for it."""


class Lane(asyncio.Protocol):
    """One connection."""

    __slots__ = (
        "_away", "_fallback", "_half_closed", "_listener", "_parked", "_partial", "_peer", "_shared", "_since",
        "_transport", "_trusted", "_write_paused",
    )  # fmt: skip

    def __init__(self, shared: LaneShared, listener: Listener) -> None:
        self._shared = shared
        self._listener = listener
        self._transport: asyncio.Transport
        self._peer = ""
        self._trusted = False
        self._away = False  # the next bytes are not the start of a request that the lane may answer
        self._partial = b""  # the start of a head, waiting for its end
        self._parked: Parked | None = None
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
        self._trusted = self._shared.addresses.is_proxy(self._peer)

    def data_received(self, data: bytes) -> None:
        """Answer, hand over, or wait for more."""
        if self._away:
            self._received_away(data)
            return
        shared = self._shared
        self._since = self._listener.tick
        line, _, block = data.partition(b"\r\n")
        fields = shared.heads.get(block)
        if fields is None or not self._answer(short_code_in(line), fields):
            self._consider(data, line, block)

    def _answer(self, short_code: str, fields: Fields) -> bool:
        """Redirect if the code names a live link that is at hand; False otherwise."""
        return self._redirect(self._shared.peek(short_code) if short_code else None, short_code, fields)

    def _redirect(self, link: Link | None, short_code: str, fields: Fields) -> bool:
        shared = self._shared
        if link is None or link.short_code != short_code or not is_live(link, shared.clock()):
            return False
        if shared.withheld is not None and shared.withheld(link):
            return False
        if not link.is_plain:
            return False
        address = shared.addresses.client(self._peer, fields.forwarded) if self._trusted else self._peer
        shared.counting.offer(link, address, fields.user_agent, fields.referrer)
        shared.batch.add(self._transport, link.destination)
        return True

    def _consider(self, data: bytes, line: bytes, block: bytes) -> None:
        """Decide about bytes that start where a request starts and are not a remembered head."""
        end = data.find(BLANK_LINE)
        if end < 0:
            self._wait_or_hand_over(data)
            return
        whole = end + len(BLANK_LINE) == len(data) <= self._shared.limits.head_size_max and is_plain_line(line)
        fields = read_fields(block) if whole else None
        if fields is None:
            self._hand_over(data)
            return
        if len(block) <= REMEMBERED_SIZE_MAX:
            self._shared.heads.put(block, fields)
        short_code = short_code_in(line)
        if not self._answer(short_code, fields) and not self._look_up(short_code, data, fields):
            self._hand_over(data)

    def _look_up(self, short_code: str, data: bytes, fields: Fields) -> bool:
        """Let the request wait for its link; False if that cannot be had from here."""
        shared = self._shared
        look_up, misses = shared.look_up, shared.misses
        if look_up is None or not can_be_short_code(short_code):
            return False
        if misses is not None:
            address = shared.addresses.client(self._peer, fields.forwarded) if self._trusted else self._peer
            if misses.are_too_many(address):
                return False  # aiohttp refuses it
        found = look_up(short_code)
        if found is None:
            return False
        self._away = True
        self._since = self._listener.tick
        self._parked = Parked(found, perf_counter(), data, short_code, fields)
        found.add_done_callback(self._looked_up)
        return True

    def _looked_up(self, found: "asyncio.Future[Link | None]") -> None:
        parked = self._parked
        if parked is None or parked.found is not found:
            return  # aiohttp has the request, or the client has gone
        self._parked = None
        self._away = False
        link = None if found.cancelled() or found.exception() else found.result()
        if self._redirect(link, parked.short_code, parked.fields):
            self._shared.batch.waited_since(parked.came)
            if self._half_closed:
                self._shared.batch.flush()
                self._transport.close()
        else:
            self._hand_over(parked.data)

    def _unpark(self, more: bytes = b"") -> None:
        """Let aiohttp wait for the link, if one is waited for here."""
        parked, self._parked = self._parked, None
        if parked is not None:
            self._hand_over(parked.data + more)

    def _wait_or_hand_over(self, start: bytes) -> None:
        if len(start) > self._shared.limits.head_size_max or not may_become_plain(start):
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
        elif self._parked is not None:
            self._unpark(data)
        elif self._fallback is not None:
            self._hand_over(data)

    def _hand_over(self, data: bytes) -> None:
        """Let aiohttp have the bytes.

        Answers that the batch still holds leave first: aiohttp never answers within `data_received`, and the loop runs
        what was scheduled in order.
        """
        shared = self._shared
        shared.traffic.handed_over += 1
        self._away = True
        fallback = self._fallback
        if fallback is None:
            fallback = self._fallback = FallbackConnection(
                shared.fallback,
                self._listener,
                shared.limits,
                traffic=shared.traffic,
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
        self._shared.batch.flush()
        self._half_closed = True
        fallback = self._busy_fallback
        return self._parked is not None or (fallback is not None and fallback.eof_received())

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
        self._parked = None
        self._listener.lost(self)
        if self._fallback is not None:
            self._fallback.connection_lost(exc)

    # What the listener asks.

    @property
    def _busy_fallback(self) -> FallbackConnection | None:
        """The connection as aiohttp has it, while the bytes go there."""
        return self._fallback if self._away and not (self._partial or self._parked) else None

    @property
    def held(self) -> int:
        """Bytes of the client's input that wait here."""
        return len(self._partial) + (self._fallback.held if self._fallback is not None else 0)

    def waits_since(self) -> float | None:
        """Return since when the client has been awaited, None while it is the client who waits."""
        if self._parked is not None:
            return None
        fallback = self._busy_fallback
        return self._since if fallback is None else fallback.waits_since()

    def check(self, now: float) -> bool:
        """Tell whether the client has been too slow with a head, or idle for too long."""
        if self._parked is not None:
            if now - self._since > PATIENCE_SECONDS:
                self._unpark()
            return False
        fallback = self._busy_fallback
        if fallback is not None:
            return fallback.check(now)
        limits = self._shared.limits
        return now - self._since > (limits.head_timeout_seconds if self._partial else limits.keepalive_seconds)

    def leave(self) -> None:
        """Close unless a request is being answered or has begun to arrive."""
        self._shared.batch.flush()
        fallback = self._busy_fallback
        if fallback is not None:
            fallback.leave()
        elif not (self._parked or self._partial):
            self._transport.close()

    def stop(self) -> None:
        """Close now, without what was not sent."""
        self._transport.abort()
