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
from grpclib.const import Cardinality, Handler, Status

from shortener import errors
from shortener.api import KEY_METADATA, IdempotencyKey, Operation, by_path, one_key
from shortener.caller import TRUSTED
from shortener.ids import NewId
from shortener.limits import RateLimits
from shortener.net.statuses import TABLE
from shortener.observe.log import RefusalLog
from shortener.observe.request_log import OFF, RequestLog
from shortener.rpc.callers import CallerOf
from shortener.rpc.details import to_grpc

log = logging.getLogger(__name__)

Observe = Callable[[str, str, float], None]
"""Told of each finished call: path of the method, name of the status, seconds it took."""

Admits = Callable[[str, "str | bytes | None"], bool]
"""Told a method's path and the `authorization` of a call, says whether the call is let in."""


def _observe_nothing(path: str, status: str, seconds: float) -> None:
    pass


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


def mounted(
    operations: Sequence[Operation], *, caller_of: CallerOf | None = None, limits: RateLimits | None = None
) -> "Wrapped":
    """Return the operations that gRPC offers as a service. Without `caller_of` every caller is trusted.

    `limits` count what callers ask for who are not; creates by address alone, since any `user_id` may be claimed.
    """
    return Wrapped({path: _handler(each, caller_of, limits) for path, each in by_path(operations).items()})


def _handler(operation: Operation, caller_of: CallerOf | None, limits: RateLimits | None) -> Handler:
    function, limit, missing = operation.function, operation.limit, operation.missing

    async def call(stream: Any) -> None:  # the stream's type is the server's own
        caller = TRUSTED if caller_of is None else caller_of(stream)
        counted = None if caller is TRUSTED else limits
        if counted is not None and limit is not None:
            counted.admit(limit, caller)
        request = await stream.recv_message()
        if request is None:
            raise errors.Invalid("malformed request")
        try:
            reply = await (function(request, caller, _key_of(stream)) if takes_key else function(request, caller))
        except errors.NotFound:
            if counted is not None and limit == "misses":
                counted.miss(caller.address)
            if missing is not None:
                await stream.send_message(missing())
            raise
        await stream.send_message(reply)

    takes_key = operation.takes_key
    return Handler(call, Cardinality.UNARY_UNARY, operation.request, operation.reply)


def _key_of(stream: Any) -> IdempotencyKey | None:  # the stream's type is the server's own
    metadata = stream.metadata
    return one_key(metadata.getall(KEY_METADATA)) if metadata and KEY_METADATA in metadata else None


def guarded(
    services: Sequence[Service],
    *,
    new_id: NewId,
    service_token: str = "",
    open_services: frozenset[str] = frozenset(),
    observe: Observe = _observe_nothing,
    requests: RequestLog = OFF,
) -> list[Service]:
    """Return `services` with every handler wrapped; order and paths stay.

    Domain errors become statuses with google.rpc details. Any other exception is INTERNAL: the caller gets a request
    id from `new_id`, the log gets it with the traceback. With a `service_token`, callers must send it as
    `authorization: Bearer <token>`, else UNAUTHENTICATED; `open_services` (full names, such as
    "grpc.health.v1.Health") are exempt. `observe` must neither fail nor wait.
    """
    admits = holders_of(service_token, open_services) if service_token else None
    return [
        Wrapped(
            {
                path: handler._replace(func=_guarded(path, handler, admits, new_id, observe, requests))
                for path, handler in service.__mapping__().items()
            }
        )
        for service in services
    ]


def _guarded(
    path: str, handler: Handler, admits: Admits | None, new_id: NewId, observe: Observe, requests: RequestLog
) -> Callable[[Any], Awaitable[None]]:
    func, clock, least_seconds = handler.func, time.perf_counter, requests.least_seconds
    may_be_slow = not handler.cardinality.server_streaming
    refused = RefusalLog(log, "call refused", "method")

    async def call(stream: Any) -> None:  # the stream's type is the server's own
        started = clock()
        status, request_id = Status.OK, ""
        try:
            if admits is not None and not admits(
                path, stream.metadata.get("authorization") if stream.metadata else None
            ):
                raise GRPCError(Status.UNAUTHENTICATED, "a valid service token is required")
            await func(stream)
        except GRPCError as error:
            status = error.status
            raise
        except asyncio.CancelledError:  # the caller went away, or a server ended the call at its deadline
            status = Status.DEADLINE_EXCEEDED if _is_past(stream.deadline) else Status.CANCELLED
            raise
        except errors.Failure as failure:
            refused(path, failure)
            status = TABLE[failure.code].grpc
            raise to_grpc(failure) from None  # kept by no variable: its traceback holds this frame
        except Exception as error:
            status, message = Status.DEADLINE_EXCEEDED, "deadline exceeded"
            if not (isinstance(error, TimeoutError) and _is_past(stream.deadline)):
                request_id = new_id()
                status, message = Status.INTERNAL, f"internal error (request {request_id})"
                log.error("call failed", exc_info=error, extra={"method": path, "request_id": request_id})
            raise GRPCError(status, message) from None
        finally:
            seconds = clock() - started
            observe(path, status.name, seconds)
            if seconds >= least_seconds:
                size = getattr(stream, "reply_size", None)  # the stock server's streams do not tell
                requests.add("grpc", path, status.name, seconds, request_id=request_id, size=size,
                             may_be_slow=may_be_slow)  # fmt: skip

    return call


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
