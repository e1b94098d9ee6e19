"""aiohttp as the lane's fallback: its own connection object, told when it is busy, with error answers of ours."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Protocol

from aiohttp import http_parser, web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.http_parser import RawRequestMessage
from aiohttp.streams import StreamReader

from shortener.redirect.handler import error_response
from shortener.redirect.settings import RedirectSettings, Traffic

FOREVER_SECONDS = 10.0 * 365 * 86_400
"""aiohttp's own idle timer is put this far away: the lane times the connection as a whole."""

FIELDS_MAX = 100
"""Header lines that aiohttp takes, each of `head_size_max` at most."""

Handle = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


class Answered(Protocol):
    """Told when aiohttp has written an answer."""

    def __call__(self, *, keep_alive: bool) -> None:
        """Take note; without `keep_alive` aiohttp is about to close the connection."""


class FallbackConnection(web.RequestHandler):
    """One connection as aiohttp sees it, from the first request that the lane handed over.

    `begun` and `answered` count requests: while they differ aiohttp is at work.
    """

    __slots__ = ("_traffic", "answered", "begun", "on_answered")

    def __init__(self, server: "FallbackServer", settings: RedirectSettings, on_answered: Answered) -> None:
        super().__init__(
            server,
            loop=asyncio.get_running_loop(),
            keepalive_timeout=FOREVER_SECONDS,
            access_log=None,  # type: ignore[arg-type] # None is how aiohttp turns it off; its annotation forgets that
            max_line_size=settings.head_size_max,
            max_field_size=settings.head_size_max,
            max_headers=FIELDS_MAX,
            lingering_time=settings.head_timeout_seconds,
            auto_decompress=False,
        )
        self.begun = 0
        self.answered = 0
        self.on_answered = on_answered
        self._traffic = server.traffic

    async def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        """Write the answer, and say so once the client has room for more."""
        result = await super().finish_response(request, resp, start_time)
        self.answered += 1
        self.on_answered(keep_alive=bool(result[0].keep_alive))
        return result

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Answer what is not HTTP with a page that does not repeat it, and close. Not logged: anyone can cause it."""
        if status >= 500:
            self.log_exception("redirect server failed", exc_info=exc)
        else:
            self._traffic.malformed += 1
        response = error_response(status)
        response.force_close()
        return response


class FallbackServer(web.Server):
    """Keeps the connections that aiohttp works on.

    Raises `RuntimeError` when aiohttp lacks its C parser: the other one takes what it should refuse.
    """

    def __init__(self, handle: Handle, traffic: Traffic) -> None:
        if http_parser.HttpRequestParser is http_parser.HttpRequestParserPy:
            raise RuntimeError("aiohttp was installed without its C parser")
        super().__init__(handle, request_factory=self._request)
        self.traffic = traffic

    def _request(
        self,
        message: RawRequestMessage,
        payload: StreamReader,
        protocol: web.RequestHandler,
        writer: AbstractStreamWriter,
        task: "asyncio.Task[None]",
    ) -> web.BaseRequest:
        if isinstance(protocol, FallbackConnection):
            protocol.begun += 1
        return web.BaseRequest(message, payload, protocol, writer, task, asyncio.get_running_loop())
