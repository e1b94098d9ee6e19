"""GET and HEAD of a short code over aiohttp, and the few other things a browser asks for."""

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from time import perf_counter

from aiohttp import web

from shortener import errors
from shortener.links.model import Link
from shortener.net.accept import prefers_problem
from shortener.net.addresses import ClientAddresses
from shortener.net.statuses import http_status
from shortener.redirect import pages
from shortener.redirect.answer import CACHE_CONTROL, SERVER, RedirectAnswer
from shortener.redirect.batch import ROUTE, Counting
from shortener.redirect.decision import Decide, Decision, Visit
from shortener.redirect.head import decoded_path, short_code_at
from shortener.redirect.ports import RedirectPorts
from shortener.redirect.state import Traffic

log = logging.getLogger(__name__)

_FIXED: dict[str, tuple[str, bytes, int]] = {
    "/": (pages.HTML_TYPE, pages.HOME, 300),
    "/robots.txt": ("text/plain; charset=utf-8", pages.ROBOTS, 86_400),
    "/favicon.ico": ("image/x-icon", pages.FAVICON, 86_400),
}
"""Path to media type, content and the seconds it may be kept."""


class RedirectHandler:
    """Answers every request that is not the lane's. Never raises but when cancelled."""

    def __init__(
        self,
        ports: RedirectPorts,
        *,
        decide: Decide,
        counting: Counting,
        answer: RedirectAnswer,
        addresses: ClientAddresses,
        traffic: Traffic,
        timeout_seconds: float,
    ) -> None:
        self._ports = ports
        self._decide = decide
        self._counting = counting
        self._answer = answer
        self._addresses = addresses
        self._traffic = traffic
        self._timeout_seconds = timeout_seconds

    async def __call__(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer one request."""
        started = perf_counter()
        request_id = ""
        try:
            response = await self._respond(request)
        except errors.Failure as failure:
            response = self._failed(request, failure)
        except TimeoutError:
            response = self._error(request, 504)
        except Exception:  # the text of an unexpected exception must not leave the process
            request_id = self._ports.new_id()
            log.exception("redirect failed", extra={"request_id": request_id})
            response = self._error(request, 500, request_id=request_id)
        if self._traffic.draining:
            response.force_close()
        seconds = perf_counter() - started
        self._ports.observe("slow", str(response.status), seconds, 1)
        requests = self._ports.requests
        if seconds >= requests.least_seconds:
            size = response.content_length
            requests.add("redirect", _route_of(request), response.status, seconds, request_id=request_id, size=size)
        return response

    async def _respond(self, request: web.BaseRequest) -> web.Response:
        if request.method not in ("GET", "HEAD"):
            return self._error(request, 405, {"Allow": "GET, HEAD"})
        path = _path_of(request)
        fixed = _FIXED.get(path)
        if fixed is not None:
            return _fixed(*fixed)
        short_code = short_code_at(path)
        if not short_code:
            return self._error(request, 404)
        return await self._redirect(request, short_code)

    async def _redirect(self, request: web.BaseRequest, short_code: str) -> web.Response:
        visit = _visit_of(request)
        address = self._addresses.client(request.remote or "", visit.forwarded)
        link = await self._find(short_code, address)
        now = self._ports.clock()
        decision = self._decide(link, visit, now)
        if decision is Decision.GONE:
            return self._error(request, 410)
        if link is None or decision is Decision.UNKNOWN:
            if self._ports.misses is not None:
                self._ports.misses.miss(address)
            return self._error(request, 404)
        if decision is Decision.WARNING:
            self._traffic.withheld += 1
            return _warning(link.destination, request.headers.get("Accept", ""))
        if not link.is_plain:
            raise ValueError("a stored destination is not plain ASCII")
        if request.method == "GET":
            await self._count(link, address, visit)
        self._traffic.slow += 1
        answer = self._answer
        return web.Response(status=answer.status, reason=answer.reason, headers=answer.headers(link.destination, now))

    async def _find(self, short_code: str, address: str) -> Link | None:
        """Return the link. Who has asked for too many unknown codes is refused before any look-up but in memory."""
        misses = self._ports.misses
        if misses is not None and misses.are_too_many(address) and self._ports.peek(short_code) is None:
            misses.check_misses(address)
        async with asyncio.timeout(self._timeout_seconds):
            return await self._ports.find(short_code)

    async def _count(self, link: Link, address: str, visit: Visit) -> None:
        self._counting.offer(link, address, visit)
        self._counting.flush()
        if self._ports.settled is not None:
            with suppress(TimeoutError):  # the click is in the kernel: a disk that hangs does not cost the redirect
                async with asyncio.timeout(self._timeout_seconds):
                    await self._ports.settled()

    def _failed(self, request: web.BaseRequest, failure: errors.Failure) -> web.Response:
        headers = {}
        if isinstance(failure, errors.Exhausted):
            headers["Retry-After"] = str(failure.retry_after_seconds)
        elif isinstance(failure, errors.Unavailable):
            headers["Retry-After"] = "1"
            log.warning("redirect unavailable", extra={"reason": failure.message})
        return self._error(request, http_status(failure), headers)

    def _error(
        self, request: web.BaseRequest, status: int, headers: dict[str, str] | None = None, *, request_id: str = ""
    ) -> web.Response:
        traffic = self._traffic
        if status == 404:
            traffic.not_found += 1
        elif status == 410:
            traffic.gone += 1
        elif status == 429:
            traffic.limited += 1
        elif status != 405:
            traffic.failed += 1
        return error_response(status, headers, request_id=request_id, accept=request.headers.get("Accept", ""))


def _visit_of(request: web.BaseRequest) -> Visit:
    headers = request.headers
    forwarded = tuple(headers.getall("X-Forwarded-For", ()))
    return Visit(headers.get("User-Agent", ""), headers.get("Referer", ""), forwarded)


def _path_of(request: web.BaseRequest) -> str:
    """Return the path that is asked for, decoded; `/` for an absolute URL without one (RFC 9110, 4.2.3)."""
    return decoded_path(request.rel_url.raw_path or "/")


def _route_of(request: web.BaseRequest) -> str:
    """Return a pattern: the path itself would tell who was asked for."""
    method = request.method if request.method in ("GET", "HEAD") else "other"
    path = _path_of(request)
    return f"{method} {path}" if path in _FIXED else f"{method} {ROUTE.partition(' ')[2]}"


def error_response(
    status: int, headers: dict[str, str] | None = None, *, request_id: str = "", accept: str = ""
) -> web.Response:
    """Return the answer of an error status, as a page, or as problem details when `accept` asks for them."""
    page = partial(pages.error_page, status, request_id)
    return _refusal(status, page, headers or {}, request_id=request_id, accept=accept)


def _warning(destination: str, accept: str) -> web.Response:
    """Return what a visitor gets instead of the redirect of a link that is withheld."""
    return _refusal(pages.WITHHELD, partial(pages.warning_page, destination), {}, request_id="", accept=accept)


def _refusal(
    status: int, page: Callable[[], bytes], headers: dict[str, str], *, request_id: str, accept: str
) -> web.Response:
    every = {"Cache-Control": CACHE_CONTROL, "Vary": "Accept", "Server": SERVER, **headers}
    if prefers_problem(accept):
        every |= {"Content-Type": pages.PROBLEM_TYPE, "X-Content-Type-Options": "nosniff"}
        return web.Response(status=status, body=pages.problem(status, request_id), headers=every)
    every |= {"Content-Type": pages.HTML_TYPE, **pages.HTML_HEADERS}
    return web.Response(status=status, body=page(), headers=every)


def _fixed(media_type: str, content: bytes, max_age_seconds: int) -> web.Response:
    headers = {"Cache-Control": f"public, max-age={max_age_seconds}", "Server": SERVER, "Content-Type": media_type}
    if media_type == pages.HTML_TYPE:
        headers |= pages.HTML_HEADERS
    else:
        headers["X-Content-Type-Options"] = "nosniff"
    return web.Response(body=content, headers=headers)
