"""The guard around every RPC method: errors to statuses, the service token, metrics. Knows no server.

It wraps the handlers of `__mapping__()` once, so it works alike over grpclib and over our own HTTP/2 server. Of a
stream it uses `metadata` and `deadline` alone. A handler that never waits is never suspended here either.
"""

import asyncio
import hmac
import logging
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Protocol

from grpclib import GRPCError
from grpclib.const import Handler, Status

from shortener import errors
from shortener.errors import Code
from shortener.ids import NewId
from shortener.observe.log import OncePerSecond
from shortener.observe.request_log import OFF, RequestLog
from shortener.rpc.details import to_grpc

log = logging.getLogger(__name__)

Observe = Callable[[str, Status, float], None]
"""Told of each finished call: path of the method, status, seconds it took."""

Admits = Callable[[str, "str | bytes | None"], bool]
"""Told a method's path and the `authorization` of a call, says whether the call is let in."""

_LEVELS = {Code.UNAUTHENTICATED: logging.INFO, Code.EXHAUSTED: logging.INFO, Code.UNAVAILABLE: logging.WARNING}
"""Refusals that are logged, a line a second of each method and code at most: an overload must not become two."""


class Service(Protocol):
    """Anything with RPC methods by path, as betterproto and grpclib generate it."""

    def __mapping__(self) -> Mapping[str, Handler]:
        """Return the handlers by path, such as "/url.URLService/GetURL"."""


class Wrapped:
    """A service of wrapped handlers, by path."""

    def __init__(self, mapping: Mapping[str, Handler]) -> None:
        self._mapping = dict(mapping)

    def __mapping__(self) -> dict[str, Handler]:
        """Return them, as a generated service does."""
        return dict(self._mapping)


async def received(stream: Any) -> Any:
    """Return the request of a unary call. Raises `errors.Invalid` when there is none."""
    request = await stream.recv_message()
    if request is None:
        raise errors.Invalid("malformed request")
    return request


def guarded(
    services: Sequence[Service],
    *,
    new_id: NewId,
    service_token: str = "",
    open_services: frozenset[str] = frozenset(),
    observe: Observe | None = None,
    requests: RequestLog = OFF,
) -> list[Service]:
    """Return `services` with every handler wrapped; order and paths stay.

    Domain errors become statuses with google.rpc details. Any other exception is INTERNAL: the caller gets a request
    id from `new_id`, the log gets it with the traceback. With a `service_token`, callers must send it as
    `authorization: Bearer <token>`, else UNAUTHENTICATED; `open_services` (full names, such as
    "grpc.health.v1.Health") are exempt. `observe` must neither fail nor wait. `requests` hears of calls if `observe`
    does.
    """
    guards: list[Service] = []
    admits = holders_of(service_token, open_services)
    for service in services:
        mapping = {}
        for path, handler in service.__mapping__().items():
            func = _translated(handler.func, path, new_id)
            if service_token:
                func = _admitted(func, path, admits)
            if observe is not None:
                lasting = handler.cardinality.server_streaming
                func = _observed(func, path, observe, requests, may_be_slow=not lasting)
            mapping[path] = handler._replace(func=func)
        guards.append(Wrapped(mapping))
    return guards


Func = Callable[[Any], Awaitable[None]]  # the stream's type is the server's own


def _translated(func: Func, path: str, new_id: NewId) -> Func:
    may_log = {code: OncePerSecond() for code in _LEVELS}

    async def call(stream: Any) -> None:
        try:
            await func(stream)
        except GRPCError:
            raise
        except errors.Failure as failure:
            calls = may_log[failure.code]() if failure.code in _LEVELS else 0
            if calls:
                facts = {"method": path, "code": failure.code.value, "calls": calls}
                log.log(_LEVELS[failure.code], "call refused", extra=facts)
            raise to_grpc(failure) from None
        except Exception as error:  # noqa: BLE001 - the text of an unexpected exception must not leave the process
            raise _unexpected(error, stream, path, new_id) from None

    return call


def _unexpected(error: Exception, stream: Any, path: str, new_id: NewId) -> GRPCError:
    if isinstance(error, TimeoutError) and _is_past(stream.deadline):
        return GRPCError(Status.DEADLINE_EXCEEDED, "deadline exceeded")
    request_id = new_id()
    log.error("call failed", exc_info=error, extra={"method": path, "request_id": request_id})
    return _InternalError(request_id)


class _InternalError(GRPCError):
    """INTERNAL, and the id that tells which."""

    def __init__(self, request_id: str) -> None:
        super().__init__(Status.INTERNAL, f"internal error (request {request_id})")
        self.request_id = request_id


def _is_past(deadline: Any) -> bool:
    return deadline is not None and deadline.time_remaining() <= 0


def holders_of(token: str, open_services: frozenset[str] = frozenset()) -> Admits:
    """Return what lets in who shows the service token, and everyone for `open_services`."""
    wanted = f"bearer {token}".encode()

    def admits(path: str, authorization: str | bytes | None) -> bool:
        if path.split("/")[1] in open_services:
            return True
        if not isinstance(authorization, str):
            return False
        scheme, _, rest = authorization.partition(" ")
        return hmac.compare_digest(f"{scheme.lower()} {rest}".encode(), wanted)

    return admits


def _admitted(func: Func, path: str, admits: Admits) -> Func:
    async def call(stream: Any) -> None:
        if not admits(path, stream.metadata.get("authorization") if stream.metadata else None):
            raise GRPCError(Status.UNAUTHENTICATED, "a valid service token is required")
        await func(stream)

    return call


def _observed(func: Func, path: str, observe: Observe, requests: RequestLog, *, may_be_slow: bool) -> Func:
    clock = time.perf_counter
    least_seconds = requests.least_seconds

    async def call(stream: Any) -> None:
        started = clock()
        status = Status.OK
        request_id = ""
        try:
            await func(stream)
        except GRPCError as error:
            status = error.status
            if isinstance(error, _InternalError):
                request_id = error.request_id
            raise
        except asyncio.CancelledError:  # the caller went away, or a server ended the call at its deadline
            status = Status.DEADLINE_EXCEEDED if _is_past(stream.deadline) else Status.CANCELLED
            raise
        finally:
            seconds = clock() - started
            observe(path, status, seconds)
            if seconds >= least_seconds:
                size = getattr(stream, "reply_size", None)  # the stock server's streams do not tell
                requests.add("grpc", path, status.name, seconds, request_id=request_id, size=size,
                             may_be_slow=may_be_slow)  # fmt: skip

    return call
