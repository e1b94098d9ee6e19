"""Mounts REST routes on aiohttp: parses requests into `Call`s, runs the handlers, renders their `Reply`s."""

import asyncio
import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

import betterproto
from aiohttp import web

from shortener import errors
from shortener.errors import Code
from shortener.net.addresses import ClientAddresses
from shortener.net.statuses import TABLE
from shortener.rest import json_codec as jsonio
from shortener.rest.auth import Authenticate, Principal, bearer_token
from shortener.rest.problems import http_problem, problem
from shortener.rest.routes import Admit, Call, Query, Reply, Route
from shortener.rest.streams import streamed
from shortener.rpc.idempotency import HEADER, one_key

_is_integer = re.compile(r"-?[0-9]{1,19}").fullmatch
_INT64_MAX = (1 << 63) - 1


@dataclass(frozen=True, slots=True)
class GatewaySettings:
    """`body_size_max` bytes of a request body, which must arrive within `body_timeout_seconds`.

    A handler gets `timeout_seconds`, or `slow_timeout_seconds` where its route is `slow`: statistics.
    """

    body_size_max: int
    body_timeout_seconds: float
    timeout_seconds: float
    slow_timeout_seconds: float


def new_app(settings: GatewaySettings, *middlewares: Callable[..., Awaitable[web.StreamResponse]]) -> web.Application:
    """Return an application whose bodies are bounded; the first middleware is the outermost."""
    return web.Application(middlewares=list(middlewares), client_max_size=settings.body_size_max)


@dataclass(frozen=True, slots=True)
class Door:
    """What is asked about every caller: who it is, where it is, and whether it may have more."""

    authenticate: Authenticate
    addresses: ClientAddresses
    admit: Admit

    def address(self, request: web.Request) -> str:
        """Return the client's address. One that nobody knows has a name, so that it cannot pass for trusted."""
        forwarded = tuple(request.headers.getall("X-Forwarded-For", ()))
        return self.addresses.client(request.remote or "", forwarded) or "unknown"


def mount(app: web.Application, routes: Sequence[Route], *, door: Door, settings: GatewaySettings) -> None:
    """Add `routes` to `app`. GET routes answer HEAD too; a known path with another method is 405 with `Allow`.

    The handlers raise the domain's errors: `problems.problems` belongs around them.
    """
    methods: dict[str, set[str]] = {}
    for route in routes:
        app.router.add_route(route.method, route.path, _handler(route, door, settings))
        methods.setdefault(route.path, set()).add(route.method)
        if route.method == "GET":
            app.router.add_route("HEAD", route.path, _handler(route, door, settings))
            methods[route.path].add("HEAD")
    for path, allowed in methods.items():
        if "{" not in path:  # or a pattern that fits it too would take the other methods
            app.router.add_route("*", path, _refuser(allowed))


def _refuser(allowed: set[str]) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    async def refuse(request: web.Request) -> web.StreamResponse:
        raise web.HTTPMethodNotAllowed(request.method, sorted(allowed))

    return refuse


def _handler(
    route: Route, door: Door, settings: GatewaySettings
) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    seconds = settings.slow_timeout_seconds if route.slow else settings.timeout_seconds

    async def handle(request: web.Request) -> web.StreamResponse:
        principal = await _principal(request, door.authenticate) if route.auth else None
        query = {query.name: _query_value(request, query) for query in route.query}
        content = b""
        if route.body is not None:
            refusal = _refused_body(request)
            if refusal is not None:
                return refusal
            try:
                async with asyncio.timeout(settings.body_timeout_seconds):
                    content = await request.read()
            except TimeoutError:
                response = http_problem(408, "the body did not arrive in time")
                response.force_close()
                return response
            except web.RequestPayloadError:
                return http_problem(400, "the body is not framed as RFC 9112 has it")
        call = Call(
            principal=principal,
            path=dict(request.match_info),
            query=query,
            body=_body(route, content),
            address=door.address(request),
            idempotency_key=one_key(request.headers.getall(HEADER, [])) if route.takes_key else None,
        )
        if route.limit is not None:
            door.admit(route.limit, call.address, principal.user_id if principal else "")
        return await _run(route, call, seconds, request, settings.body_timeout_seconds)

    return handle


async def _run(
    route: Route, call: Call, seconds: float, request: web.Request, part_seconds: float
) -> web.StreamResponse:
    try:
        async with asyncio.timeout(seconds) as deadline:
            reply = await route.handler(call)
            if reply.stream is None:
                return await _rendered(reply)
            first = await anext(reply.stream, b"")
        return await streamed(request, reply, first, part_seconds)
    except TimeoutError:
        if not deadline.expired():
            raise
        return problem(504, Code.DEADLINE.value, TABLE[Code.DEADLINE].title, f"no answer within {seconds:g} seconds")


async def _principal(request: web.Request, authenticate: Authenticate) -> Principal:
    headers = request.headers.getall("Authorization", [])
    return await authenticate(bearer_token(headers[0] if len(headers) == 1 else None))


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


def _refused_body(request: web.Request) -> web.Response | None:
    """Judge a body by its headers, before anything of it is read."""
    encoding = request.headers.get("Content-Encoding", "identity")
    if encoding.lower() != "identity":
        return http_problem(415, "compressed bodies are not accepted", {"Accept-Encoding": "identity"})
    if request.content_type != "application/json" or (request.charset or "utf-8").lower() not in ("utf-8", "utf8"):
        return http_problem(415, "the body must be application/json in UTF-8", {"Accept": "application/json"})
    return None


def _body(route: Route, content: bytes) -> betterproto.Message | None:
    if route.body is None:
        return None
    return jsonio.message_from(route.body, jsonio.read_object(content), hidden=route.body_hides)


async def _rendered(reply: Reply) -> web.Response:
    headers = {"Cache-Control": "no-store", **reply.headers}
    if reply.message is not None:
        headers["Content-Type"] = "application/json"
        return web.Response(status=reply.status, body=await jsonio.render(reply.message), headers=headers)
    if reply.content_type:
        headers["Content-Type"] = reply.content_type
    return web.Response(status=reply.status, body=reply.content or None, headers=headers)
