"""aiohttp as the lane's fallback: its own connection object, told when it is busy, with error answers of ours."""

from typing import Protocol

from aiohttp import web

from shortener.net.http import HttpConnection, HttpLimits, NotHttpError
from shortener.net.listener import Listener
from shortener.net.places import Connection
from shortener.redirect.handler import error_response
from shortener.redirect.state import Traffic


class Answered(Protocol):
    """Told when aiohttp has written an answer."""

    def __call__(self, *, keep_alive: bool) -> None:
        """Take note; without `keep_alive` aiohttp is about to close the connection."""


class FallbackConnection(HttpConnection):
    """One connection as aiohttp sees it, from the first request that the lane handed over."""

    __slots__ = ("_on_answered", "_traffic")

    def __init__(
        self,
        server: web.Server,
        listener: Listener,
        limits: HttpLimits,
        *,
        traffic: Traffic,
        known_as: Connection,
        on_answered: Answered,
    ) -> None:
        """`known_as` is the connection as the listener has it."""
        super().__init__(server, listener, limits)
        self._traffic = traffic
        self._on_answered = on_answered
        self.known_as = known_as

    async def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        """Write the answer, and say so once the client has room for more."""
        result = await super().finish_response(request, resp, start_time)
        self._on_answered(keep_alive=bool(result[0].keep_alive))
        return result

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Answer what is not HTTP with a page that does not repeat it, and close. Not logged: anyone can cause it."""
        if isinstance(exc, NotHttpError):
            self._traffic.malformed += 1
        else:
            self.log_exception("redirect server failed", exc_info=exc)
        response = error_response(status)
        response.force_close()
        return response
