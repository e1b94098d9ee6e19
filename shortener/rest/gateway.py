"""Mounts operations on aiohttp by their routes: parses requests into messages, runs operations, renders answers."""

import asyncio
import logging
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from shortener import errors
from shortener.api import KEY_HEADER, REPLAYED_HEADER, Content, Operation, Query, Route, one_key
from shortener.caller import Authenticate, Caller
from shortener.config.sections import Gateway, Grpc
from shortener.errors import Code
from shortener.limits import RateLimits
from shortener.net.addresses import ClientAddresses
from shortener.net.statuses import TABLE
from shortener.rest import json_codec as jsonio
from shortener.rest.problems import SECURITY_HEADERS, http_problem, problem

log = logging.getLogger(__name__)
_is_integer = re.compile(r"-?[0-9]{1,19}").fullmatch
_INT64_MAX = (1 << 63) - 1


def new_app(section: Gateway, *middlewares: Callable[..., Awaitable[web.StreamResponse]]) -> web.Application:
    """Return an application whose bodies are bounded; the first middleware is the outermost."""
    return web.Application(middlewares=list(middlewares), client_max_size=section.body_size_max)


@dataclass(frozen=True, slots=True)
class Door:
    """What is asked about every caller: who it is, where it is, and whether it may have more."""

    authenticate: Authenticate
    addresses: ClientAddresses
    limits: RateLimits

    async def caller(self, request: web.Request, route: Route) -> tuple[Caller, dict[str, str]]:
        """Return who calls, and the fields of the request that this fills. Raises `errors.Unauthenticated`."""
        forwarded = tuple(request.headers.getall("X-Forwarded-For", ()))
        address = self.addresses.client(request.remote or "", forwarded) or "unknown"
        if not route.auth:
            return Caller(address=address), {}
        headers = request.headers.getall("Authorization", [])
        token = bearer_token(headers[0] if len(headers) == 1 else None)
        caller = await self.authenticate(token, address)
        values = {"user_id": caller.account, "token": token}
        return caller, {name: values[name] for name in route.fills}


def bearer_token(header: str | None) -> str:
    """Return the token of an `Authorization: Bearer <token>` value (RFC 6750 section 2.1).

    The scheme is compared case-insensitively. Raises `errors.Unauthenticated` when the header is absent,
    names another scheme, or holds anything but one token of visible ASCII characters.
    """
    if header is None:
        raise errors.Unauthenticated("a bearer token is required")
    scheme, _, token = header.partition(" ")
    token = token.strip(" ")
    if scheme.lower() != "bearer" or not token or not all("!" <= character <= "~" for character in token):
        raise errors.Unauthenticated("a bearer token is required")
    return token


def mount(
    app: web.Application, operations: Sequence[Operation], *, door: Door, gateway: Gateway, timeouts: Grpc
) -> None:
    """Add the `operations` that have a route. GET routes answer HEAD too; another method is 405 with `Allow`.

    They raise the domain's errors: `problems.problems` belongs around them. An operation gets the default deadlines of
    gRPC.
    """
    methods: dict[str, set[str]] = {}
    for operation in operations:
        route = operation.route
        if route is None:
            continue
        seconds = timeouts.statistics_timeout_seconds if operation.slow else timeouts.timeout_seconds
        handler = _handler(operation, route, door, seconds, gateway.body_timeout_seconds)
        for method in (route.method, "HEAD") if route.method == "GET" else (route.method,):
            app.router.add_route(method, route.path, handler)
            methods.setdefault(route.path, set()).add(method)
    for path, allowed in methods.items():
        if "{" not in path:  # or a pattern that fits it too would take the other methods
            app.router.add_route("*", path, _refuser(allowed))


def _refuser(allowed: set[str]) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    async def refuse(request: web.Request) -> web.StreamResponse:
        raise web.HTTPMethodNotAllowed(request.method, sorted(allowed))

    return refuse


def _handler(
    operation: Operation, route: Route, door: Door, seconds: float, part_seconds: float
) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    kind, function, counted = operation.request, operation.function, operation.limit
    hidden = frozenset(route.fills)

    async def handle(request: web.Request) -> web.StreamResponse:
        caller, filled = await door.caller(request, route)
        fields: dict[str, str | int] = {query.name: _query_value(request, query) for query in route.query}
        if route.has_body:
            body = await _body(request, part_seconds)
            if isinstance(body, web.Response):
                return body
            message = jsonio.message_from(kind, jsonio.read_object(body), hidden=hidden)
        else:
            message = kind()
        for name, value in (fields | dict(request.match_info) | filled).items():
            setattr(message, name, value)
        key = one_key(request.headers.getall(KEY_HEADER, [])) if operation.takes_key else None
        if counted is not None and counted != "misses":
            door.limits.admit(counted, caller)
        try:
            async with asyncio.timeout(seconds) as deadline:
                reply = await (function(message, caller, key) if operation.takes_key else function(message, caller))
                if not isinstance(reply, Content):
                    return await _rendered(route, reply, {REPLAYED_HEADER: "true"} if key and key.replayed else {})
                first = reply.body if isinstance(reply.body, bytes) else await anext(reply.body, b"")
        except TimeoutError:
            if not deadline.expired():
                raise
            title = TABLE[Code.DEADLINE].title
            return problem(504, Code.DEADLINE.value, title, f"no answer within {seconds:g} seconds")
        headers = {"Cache-Control": "no-store", **reply.headers, "Content-Type": reply.content_type}
        if isinstance(reply.body, bytes):
            return web.Response(body=first, headers=headers)
        return await _streamed(request, reply.body, first, headers, part_seconds)

    return handle


async def _body(request: web.Request, seconds: float) -> bytes | web.Response:
    """Return the body, or the answer to one that is refused, by its headers before anything of it is read."""
    encoding = request.headers.get("Content-Encoding", "identity")
    if encoding.lower() != "identity":
        return http_problem(415, "compressed bodies are not accepted", {"Accept-Encoding": "identity"})
    if request.content_type != "application/json" or (request.charset or "utf-8").lower() not in ("utf-8", "utf8"):
        return http_problem(415, "the body must be application/json in UTF-8", {"Accept": "application/json"})
    try:
        async with asyncio.timeout(seconds):
            return await request.read()
    except TimeoutError:
        response = http_problem(408, "the body did not arrive in time")
        response.force_close()
        return response
    except web.RequestPayloadError:
        return http_problem(400, "the body is not framed as RFC 9112 has it")


def _query_value(request: web.Request, query: Query) -> str | int:
    """Return a parameter's value, zero or empty when it is absent; raises `errors.Invalid` naming it."""
    texts = request.query.getall(query.name, [])
    if len(texts) > 1:
        raise errors.Invalid(f"{query.name} is given more than once", field=query.name)
    if not texts:
        return query.kind()
    [text] = texts
    if not text and "" not in query.choices:
        raise errors.Invalid(f"{query.name} is given without a value", field=query.name)
    if query.kind is str:
        return text
    if not _is_integer(text):
        raise errors.Invalid(f"{query.name} must be an integer", field=query.name)
    number = int(text)
    if abs(number) > _INT64_MAX:
        raise errors.Invalid(f"{query.name} is out of range", field=query.name)
    return number


async def _rendered(route: Route, reply: Any, headers: dict[str, str]) -> web.Response:
    headers |= {"Cache-Control": "no-store", **(route.headers(reply) if route.headers else {})}
    if route.status == 204:
        return web.Response(status=204, headers=headers)
    headers["Content-Type"] = "application/json"
    return web.Response(status=route.status, body=await jsonio.render(reply), headers=headers)


async def _streamed(
    request: web.Request, parts: AsyncIterator[bytes], first: bytes, headers: Mapping[str, str], part_seconds: float
) -> web.StreamResponse:
    """Send a stream, whose first part has been taken already.

    The client must take each part within `part_seconds`. The connection is broken off when it does not, or when
    making a part fails: the end of the last chunk is then missing, and nobody takes what came for the whole.
    """
    response = web.StreamResponse(headers={**SECURITY_HEADERS, **headers})
    try:
        await response.prepare(request)
        if request.method != "HEAD":
            async with asyncio.timeout(part_seconds):
                await response.write(first)
            async for part in parts:
                async with asyncio.timeout(part_seconds):
                    await response.write(part)
    except Exception as error:  # noqa: BLE001 - the answer has begun: there is no other way to tell than to break it off
        if not isinstance(error, ConnectionError):
            log.warning("an answer was broken off: %s: %s", type(error).__name__, error)
        if request.transport is not None:
            request.transport.abort()
    finally:
        if close := getattr(parts, "aclose", None):
            await close()
    return response
