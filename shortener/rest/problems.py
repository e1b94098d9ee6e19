"""Errors over HTTP: RFC 9457 problem details, one shape for everything that can go wrong on the gateway."""

import logging
import time
from collections.abc import Callable, Mapping
from typing import Any

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from shortener import errors
from shortener.errors import Code
from shortener.ids import NewId
from shortener.net.statuses import TABLE, http_status, problem_type
from shortener.observe.log import RefusalLog
from shortener.observe.request_log import OFF, RequestLog
from shortener.rest import json_codec as jsonio

log = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"
SECURITY_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "Server": "shortener",  # aiohttp would name its version
}
"""On every answer of the gateway; an answer that brings one of its own keeps that."""

HTTP_PROBLEMS: dict[int, tuple[str, str]] = {
    404: ("not_found", "Not found"),
    405: ("method_not_allowed", "Method not allowed"),
    408: ("too_slow", "Request not received in time"),
    413: ("too_large", "Request too large"),
    415: ("unsupported_media_type", "Unsupported media type"),
    417: ("expectation_failed", "Expectation failed"),
}
"""Failures of HTTP itself, by status: the last part of `type`, and the title."""

Observe = Callable[[str, str, float], None]
"""Told of each answer: method and route ("GET /api/urls/{short_code}"), status, seconds it took."""


def problem(
    status: int,
    name: str,
    title: str,
    detail: str,
    *,
    headers: Mapping[str, str] | None = None,
    more: Mapping[str, Any] | None = None,
) -> web.Response:
    """Return a problem answer; `more` are members beside type, title, status and detail."""
    body = {"type": problem_type(name), "title": title, "status": status, "detail": detail, **(more or {})}
    everything = {**SECURITY_HEADERS, "Cache-Control": "no-store", "Content-Type": MEDIA_TYPE, **(headers or {})}
    return web.Response(status=status, body=jsonio.dump(body), headers=everything)


def failure_response(failure: errors.Failure) -> web.Response:
    """Return the answer to one of the domain's failures, with the headers that go with its status."""
    status = http_status(failure)
    headers: dict[str, str] = {}
    more: dict[str, Any] = {"field": failure.field} if failure.field else {}
    if isinstance(failure, errors.Unauthenticated):
        headers["WWW-Authenticate"] = "Bearer"
    if isinstance(failure, errors.Conflict) and failure.suggestions:
        more["suggestions"] = list(failure.suggestions)
    if isinstance(failure, errors.Exhausted):
        headers["Retry-After"] = str(failure.retry_after_seconds)
    elif status == 503:
        headers["Retry-After"] = "1"
    return problem(status, failure.code.value, TABLE[failure.code].title, failure.message, headers=headers, more=more)


def http_problem(status: int, detail: str, headers: Mapping[str, str] | None = None) -> web.Response:
    """Return the answer to a failure of HTTP itself."""
    name, title = HTTP_PROBLEMS.get(status, ("invalid", TABLE[Code.INVALID].title))
    return problem(status, name, title, detail, headers=headers)


def internal_response(request_id: str) -> web.Response:
    """Return the answer to an unexpected exception: nothing of it but an id to quote."""
    title = TABLE[Code.INTERNAL].title
    detail = f"internal error (request {request_id})"
    return problem(500, Code.INTERNAL.value, title, detail, more={"request_id": request_id})


_DETAILS = {
    404: "there is no such route",
    405: "this route does not take that method",
    413: "the body is too large",
    417: "only the expectation 100-continue is known",
}


def from_http_exception(error: web.HTTPException) -> web.Response:
    """Return the answer to what aiohttp raises: the same status and `Allow`, nothing else of it."""
    headers = {"Allow": error.headers["Allow"]} if "Allow" in error.headers else {}
    response = http_problem(error.status, _DETAILS.get(error.status, error.reason), headers)
    if error.status == 413:  # what remains of the body is not worth reading
        response.force_close()
    return response


def problems(new_id: NewId, observe: Observe | None = None, requests: RequestLog = OFF) -> Middleware:
    """Return the outermost middleware: turns every exception into a problem and adds the security headers.

    The text of an unexpected exception goes to the log with a request id from `new_id`; the caller gets the id alone.
    """
    refused = RefusalLog(log, "request refused", "route")

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        started = time.perf_counter()
        response, request_id = await _answer(request, handler)
        for name, value in SECURITY_HEADERS.items():
            response.headers.setdefault(name, value)
        seconds = time.perf_counter() - started
        if observe is not None:
            observe(_route_of(request), str(response.status), seconds)
        if seconds >= requests.least_seconds:
            size = response.content_length
            requests.add("rest", _route_of(request), response.status, seconds, request_id=request_id, size=size)
        return response

    async def _answer(request: web.Request, handler: Handler) -> tuple[web.StreamResponse, str]:
        try:
            return await handler(request), ""
        except errors.Failure as failure:
            refused(_route_of(request), failure)
            return failure_response(failure), ""
        except web.HTTPException as error:
            return error if error.status < 400 else from_http_exception(error), ""
        except Exception as error:
            request_id = new_id()
            facts = {"route": _route_of(request), "request_id": request_id}
            log.error("request failed", exc_info=error, extra=facts)
            return internal_response(request_id), request_id

    return middleware


def _route_of(request: web.Request) -> str:
    """Return method and route's pattern: a request's own path would name links, and give metrics endless labels."""
    resource = request.match_info.route.resource
    method = request.method if request.method in _METHODS else "other"
    return f"{method} {resource.canonical if resource is not None else 'unknown'}"


_METHODS = frozenset({"GET", "HEAD", "POST", "PATCH", "PUT", "DELETE", "OPTIONS"})
