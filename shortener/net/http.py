"""aiohttp's connection with what aiohttp leaves out: bounded input, faults that end it, half-closed clients, time.

It builds on `web.RequestHandler`, aiohttp's protocol class, whose private state is used here alone; tests cover it.
"""

import asyncio
from dataclasses import dataclass
from typing import Any

from aiohttp import http_parser, web
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.streams import EMPTY_PAYLOAD, StreamReader
from aiohttp.web_protocol import _ErrInfo  # how the class is told to answer what is no request

from shortener.net.http_head import BLANK_LINE, for_parser, is_hopeless
from shortener.net.listener import Listener
from shortener.net.places import Connection

PIPELINED_MAX = 8
"""Requests of one connection that are read before they are answered; what follows them waits."""
FIELDS_MAX = 100
FOREVER_SECONDS = 10.0 * 365 * 86_400
"""aiohttp's own idle timer is put this far away: the listener times connections."""
DRAIN_IDLE_SECONDS = 0.5
"""How long an idle connection is kept while draining, so that a client about to ask still gets its answer."""
UNREAD_BODY_MAX = 65_536
"""Bytes of a body that was not wanted which are read all the same, so that the connection can go on."""


class NotHttpError(Exception):
    """What came is no request that can be answered otherwise; never raised, but handed to `handle_error`."""


_NOT_HTTP = NotHttpError()


@dataclass(frozen=True, slots=True)
class HttpLimits:
    """What one connection may send, in bytes, and how long it may take.

    A request's head must arrive within `head_timeout_seconds` of its first byte; a connection without a request is
    closed after `keepalive_seconds`.
    """

    head_timeout_seconds: float
    keepalive_seconds: float
    line_size_max: int
    head_size_max: int


class HttpConnection(web.RequestHandler):
    """Hands aiohttp one whole message after another, so that it is always known where the next one begins.

    After the first fault nothing more is read: the fault is answered behind what came before it, and that is the end.
    `pending` requests have not been answered yet. The listener knows the connection as `known_as`.
    """

    __slots__ = (
        "_body", "_body_left", "_body_size", "_ended", "_faulty", "_input", "_limits", "_listener", "_since",
        "_waits_for_head", "known_as", "pending",
    )  # fmt: skip

    def __init__(self, server: web.Server, listener: Listener, limits: HttpLimits) -> None:
        super().__init__(
            server,
            loop=asyncio.get_running_loop(),
            keepalive_timeout=FOREVER_SECONDS,
            access_log=None,  # type: ignore[arg-type] # None is how aiohttp turns it off; its annotation forgets that
            max_line_size=limits.line_size_max,
            max_field_size=limits.line_size_max,
            max_headers=FIELDS_MAX,
            lingering_time=limits.head_timeout_seconds,
            auto_decompress=False,  # a compressed body is refused, not inflated
        )
        self._listener = listener
        self._limits = limits
        self.known_as: Connection = self
        self.pending = 0
        self._input = b""  # not given to the parser yet
        self._body: StreamReader | None = None  # of the last request, while it is incomplete
        self._body_left = 0  # bytes of it that have not come; -1 where its chunks will tell
        self._body_size = 0  # and those that have
        self._ended = False  # the client sends nothing more
        self._faulty = False
        self._since = listener.tick  # when the last answer was given, or the unfinished head began
        self._waits_for_head = True

    # Input.

    def data_received(self, data: bytes) -> None:
        """Take bytes from the client; aiohttp calls this without any when it has room for more of a body."""
        if self._faulty or self._parser is None:
            return
        if data:
            self._input += data
        else:
            self._parse(b"")
        self._feed()

    def _feed(self) -> None:
        """Give the parser what it has room for, one message at a time; the rest waits, and the client with it."""
        while self._input and not self._faulty:
            if self._reading_paused or len(self._messages) >= PIPELINED_MAX:
                if not self._buffer_paused:
                    self._pause_reading_for_buffer()
                    self._listener.charge(self.known_as)
                return
            if not (self._feed_head() if self._body is None else self._feed_body()):
                break
        if self._buffer_paused and not self._faulty:
            self._resume_reading_for_buffer()

    _resume_reading_if_drained = _feed  # aiohttp calls it when a request has been taken from the queue

    def _feed_head(self) -> bool:
        """Give the parser a head if a whole one is there."""
        if self._input.startswith(b"\r\n"):  # as RFC 9112, 2.2, has it
            self._input = self._input.removeprefix(b"\r\n")
            return True
        end = self._input.find(BLANK_LINE) + len(BLANK_LINE)
        if end < len(BLANK_LINE):
            if len(self._input) > self._limits.head_size_max or is_hopeless(self._input, self._limits.line_size_max):
                self.fail(400)
            elif not self._waits_for_head and not self.pending:
                self._waits_for_head, self._since = True, self._listener.tick
            return False
        head, self._input = self._input[:end], self._input[end:]
        parsable = for_parser(head) if end <= self._limits.head_size_max else None
        if parsable is None:
            self.fail(400)
        elif self.accepts(parsable):
            self._parse(parsable)
        return True

    def accepts(self, head: bytes) -> bool:
        """Tell whether a request with this head is answered by the application; else `fail` comes first."""
        return True

    def _feed_body(self) -> bool:
        """Give the parser the next part of a body, if there is one, and nothing of what follows the body."""
        if self._body_left >= 0:
            size = min(self._body_left, len(self._input))
            self._body_left -= size
        else:  # a body in chunks ends with a blank line, which must not be cut in two; those within it do no harm
            end = self._input.find(BLANK_LINE)
            size = end + len(BLANK_LINE) if end >= 0 else len(self._input) - len(BLANK_LINE) + 1
        if size <= 0:
            return False
        piece, self._input = self._input[:size], self._input[size:]
        self._body_size += size
        self._parse(piece)
        return True

    def _parse(self, piece: bytes) -> None:
        assert self._parser is not None
        try:
            messages, _, _ = self._parser.feed_data(piece)
        except HttpProcessingError:  # whose traceback holds the bytes: it must not be kept
            if self._body is None:
                self.fail(400)
                return
            messages = []
            self._body.set_exception(web.RequestPayloadError("the body is malformed"))
        for message, body in messages:
            self._queue(message, body)
            if body is not EMPTY_PAYLOAD:
                self._body = body
                self._body_left = -1 if message.chunked else int(message.headers["Content-Length"])
        if self._body is None:
            return
        if self._body.exception() is not None:  # the handler is told, and answers
            self._faulty, self._input = True, b""
            self._pause_reading_for_buffer()
        elif self._body.is_eof():
            self._body, self._body_size = None, 0

    def fail(self, status: int) -> None:
        """Answer with an error when all before it are answered, and read nothing more."""
        self._faulty = True
        self._input = b""
        self._queue(_ErrInfo(status=status, exc=_NOT_HTTP, message=""), EMPTY_PAYLOAD)
        self._pause_reading_for_buffer()

    def _queue(self, message: "http_parser.RawRequestMessage | _ErrInfo", body: StreamReader) -> None:
        self._request_count += 1
        self.pending += 1
        self._waits_for_head = False
        self._messages.append((message, body))
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def eof_received(self) -> bool:  # type: ignore[override] # aiohttp's returns nothing, which closes
        """Stay open while whole requests wait for their answers."""
        self._ended = True
        return self.pending > 0 and self._body is None

    # Output.

    def pause_writing(self) -> None:
        """Count what waits for the client to take it."""
        super().pause_writing()
        self._listener.charge(self.known_as)

    def resume_writing(self) -> None:
        """Count it again: the client has taken most."""
        super().resume_writing()
        self._listener.charge(self.known_as)

    async def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        """Write an answer; after the last one, or when the rest of a body is not worth reading, close."""
        is_last = self.pending == 1
        is_unread = is_last and self._body is not None and self._left_of_body() > UNREAD_BODY_MAX
        ends = is_last and (self._ended or self._faulty)
        if ends or is_unread or self._listener.draining:
            resp.force_close()
        result = await super().finish_response(request, resp, start_time)
        self.pending -= 1
        self._since, self._waits_for_head = self._listener.tick, bool(self._input)
        if is_unread or (is_last and self._faulty):
            self._part()
        if self.pending:
            await asyncio.sleep(0)  # From Python 3.12 on aiohttp would hold the loop until all requests are answered.
        return result

    def log_exception(self, *args: Any, **kwargs: Any) -> None:
        """Log what aiohttp could not handle, unless the client sent what cannot be: anyone can do that."""
        if not self._faulty:
            super().log_exception(*args, **kwargs)

    def _left_of_body(self) -> int:
        return self._body_left if self._body_left >= 0 else UNREAD_BODY_MAX + 1

    def _part(self) -> None:
        """Leave the connection to the listener, which gives the client time to read the last answer."""
        self.transport = None
        self.force_close()
        self._listener.part_with(self.known_as)

    # What the listener asks.

    @property
    def is_empty(self) -> bool:
        """Whether everything was answered, and the next byte begins a request."""
        return not (self.pending or self._input or self._faulty or self._ended or self._body is not None)

    @property
    def held(self) -> int:
        """Bytes of the client's input that wait here."""
        return len(self._input) + self._body_size

    def waits_since(self) -> float | None:
        """Return since when the client has been awaited, None while it is the client who waits."""
        return None if self.pending and self._body is None else self._since

    def check(self, now: float) -> bool:
        """Tell whether the client has been too slow with a head, or idle for too long."""
        if self.pending:
            return False
        seconds = self._limits.head_timeout_seconds if self._waits_for_head else self._limits.keepalive_seconds
        return now - self._since > seconds

    def leave(self) -> None:
        """Close unless a request is being answered."""
        if not self.pending:
            self.force_close()

    def stop(self) -> None:
        """Close now, without what was not sent."""
        if self.transport is not None:
            self.transport.abort()


def require_c_parser() -> None:
    """Raise RuntimeError unless aiohttp parses with its C parser: the Python one can be led astray (smuggling)."""
    if http_parser.HttpRequestParser is http_parser.HttpRequestParserPy:
        raise RuntimeError("aiohttp runs without its C extensions, which this server relies on")
