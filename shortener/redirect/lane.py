"""The fast lane: the plain GET of a cached live link is parsed, counted and answered in one step.

That of a link which is not in memory waits here until it has been read. Everything else goes to aiohttp on the same
connection, its bytes untouched. The lane takes the connection back when aiohttp has answered all it was given, and it
is known where the next request begins.
"""

import asyncio
from time import perf_counter
from typing import cast

from shortener.links.model import Link
from shortener.redirect.answer import can_be_sent
from shortener.redirect.fallback import FallbackConnection
from shortener.redirect.head import (
    BLANK_LINE,
    Fields,
    ascii_line,
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
        "_away",
        "_fallback",
        "_half_closed",
        "_handed",
        "_parked",
        "_partial",
        "_peer",
        "_shared",
        "_since",
        "_sticky",
        "_transport",
        "_trusted",
        "_waiting_for_head",
        "_write_paused",
    )

    def __init__(self, shared: LaneShared) -> None:
        self._shared = shared
        self._transport: asyncio.Transport
        self._peer = ""
        self._trusted = False
        self._away = False  # the next bytes are not the start of a request that the lane may answer
        self._partial = b""  # the start of a head, waiting for its end
        self._parked: Parked | None = None
        self._half_closed = False  # the client will send no more, and has not had all its answers
        self._fallback: FallbackConnection | None = None
        self._handed = 0  # requests given to aiohttp
        self._sticky = False  # aiohttp keeps the connection: nobody else knows where its next request begins
        self._since = shared.tick  # when the connection was last seen to do something
        self._waiting_for_head = False  # `_since` is when the unfinished head began
        self._write_paused = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the connection, or refuse it when there are too many."""
        self._transport = cast(asyncio.Transport, transport)
        shared = self._shared
        if len(shared.connections) >= shared.settings.connections_max and not shared.make_room():
            self._away = self._sticky = True
            shared.refusals.refuse(self._transport)
            return
        shared.connections.add(self)
        peer = transport.get_extra_info("peername")
        self._peer = peer[0] if isinstance(peer, tuple) else ""
        self._trusted = shared.addresses.is_proxy(self._peer)

    def data_received(self, data: bytes) -> None:
        """Answer, hand over, or wait for more."""
        if self._away:
            self._received_away(data)
            return
        shared = self._shared
        self._since = shared.tick
        line, _, block = data.partition(b"\r\n")
        fields = shared.heads.get(block)
        if fields is None or not self._answer(short_code_in(line), fields):
            self._consider(data, line, block)

    def _answer(self, short_code: str, fields: Fields) -> bool:
        """Redirect if the code names a live link that is at hand; False otherwise."""
        return self._redirect(self._shared.peek(short_code) if short_code else None, short_code, fields)

    def _redirect(self, link: Link | None, short_code: str, fields: Fields) -> bool:
        shared = self._shared
        if link is None or link.short_code != short_code or not link.is_live(shared.clock()):
            return False
        if shared.withheld is not None and shared.withheld(link):
            return False
        destination = link.destination
        if not can_be_sent(destination):
            return False
        address = shared.addresses.client(self._peer, fields.forwarded) if self._trusted else self._peer
        shared.counting.offer(link, address, fields.user_agent, fields.referrer)
        shared.batch.add(self._transport, destination)
        return True

    def _consider(self, data: bytes, line: bytes, block: bytes) -> None:
        """Decide about bytes that start where a request starts and are not a remembered head."""
        if not line.isascii() and len(line) < len(data):
            line = ascii_line(line)
            data = line + b"\r\n" + block
        end = data.find(BLANK_LINE)
        if end < 0:
            self._wait_or_hand_over(data)
            return
        whole = end + len(BLANK_LINE) == len(data) <= self._shared.settings.head_size_max and is_plain_line(line)
        fields = read_fields(block) if whole else None
        if fields is None:
            self._hand_over(data, sticky=True)
            return
        if len(block) <= REMEMBERED_SIZE_MAX:
            self._shared.heads.put(block, fields)
        short_code = short_code_in(line)
        if not self._answer(short_code, fields) and not self._look_up(short_code, data, fields):
            self._hand_over(data, sticky=False)

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
        self._waiting_for_head = False
        self._since = shared.tick
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
            self._hand_over(parked.data, sticky=False)

    def _unpark(self, more: bytes = b"") -> None:
        """Let aiohttp wait for the link, if one is waited for here."""
        parked, self._parked = self._parked, None
        if parked is not None:
            self._hand_over(parked.data + more, sticky=bool(more))

    def _wait_or_hand_over(self, start: bytes) -> None:
        if len(start) > self._shared.settings.head_size_max or not may_become_plain(start):
            self._hand_over(start, sticky=True)
            return
        if not self._partial:
            self._waiting_for_head = True
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
                self._waiting_for_head = False
                self._since = self._shared.tick
        elif self._parked is not None:
            self._unpark(data)
        elif self._fallback is not None:
            self._hand_over(data, sticky=True)

    def _hand_over(self, data: bytes, *, sticky: bool) -> None:
        """Let aiohttp have the bytes. Unless `sticky` they are one whole request, and nothing else.

        Answers that the batch still holds leave first: aiohttp never answers within `data_received`, and the loop runs
        what was scheduled in order.
        """
        shared = self._shared
        shared.traffic.handed_over += 1
        self._away = True
        self._sticky = self._sticky or sticky
        self._handed += 1
        fallback = self._fallback
        if fallback is None:
            fallback = self._fallback = FallbackConnection(shared.fallback, shared.settings, self._answered)
            fallback.connection_made(self._transport)
            if self._write_paused:
                fallback.pause_writing()
        if not self._waiting_for_head and fallback.begun == fallback.answered:
            self._waiting_for_head = True
            self._since = shared.tick
        fallback.data_received(data)

    def _answered(self, *, keep_alive: bool) -> None:
        self._since = self._shared.tick
        self._waiting_for_head = False
        if self._half_closed:
            self._transport.close()
            return
        fallback = self._fallback
        if keep_alive and not self._sticky and fallback is not None and fallback.answered == self._handed:
            self._away = False

    def eof_received(self) -> bool:
        """Answer what was asked, then let the connection close."""
        self._shared.batch.flush()
        if self._parked is not None:
            self._half_closed = True
            return True
        if self._fallback is not None:
            self._fallback.eof_received()
        return False

    def pause_writing(self) -> None:
        """Read no more from a client that does not read."""
        self._write_paused = True
        self._since = self._shared.tick
        if self._fallback is not None:
            self._fallback.pause_writing()
        if not self._away:
            self._transport.pause_reading()

    def resume_writing(self) -> None:
        """Go on reading."""
        self._write_paused = False
        self._since = self._shared.tick
        if self._fallback is not None:
            self._fallback.resume_writing()
        if not self._away:
            self._transport.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        shared = self._shared
        self._away = self._sticky = True
        self._parked = None
        shared.connections.discard(self)
        if not shared.connections:
            shared.empty.set()
        if self._fallback is not None:
            self._fallback.connection_lost(exc)

    @property
    def is_idle(self) -> bool:
        """Whether no request is being answered or has begun to arrive."""
        fallback = self._fallback
        busy = fallback is not None and fallback.begun != fallback.answered
        return not (busy or self._waiting_for_head or self._write_paused or self._parked)

    def is_idle_since(self, then: float) -> bool:
        """Whether nothing has happened here after `then`."""
        return self._since <= then and self.is_idle

    def close_if_overdue(self) -> None:
        """Close the connection if the client has kept it waiting for too long."""
        shared = self._shared
        if self._parked is not None:
            if shared.tick - self._since > PATIENCE_SECONDS:
                self._unpark()
            return
        fallback = self._fallback
        if self._write_paused:
            limit = shared.settings.head_timeout_seconds
        elif fallback is not None and fallback.begun != fallback.answered:
            return  # the handler has a limit of its own
        elif self._waiting_for_head:
            limit = shared.settings.head_timeout_seconds
        else:
            limit = shared.settings.keepalive_seconds
        if shared.tick - self._since > limit:
            shared.traffic.timed_out_connections += 1
            self._transport.abort()

    def close(self) -> None:
        """Close once what was written has left."""
        self._transport.close()

    def abort(self) -> None:
        """Close now."""
        self._transport.abort()
