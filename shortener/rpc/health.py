"""gRPC health (grpc.health.v1) of one listener's services; the HTTP routes are in `rest/operations.py`."""

import asyncio
from collections.abc import Iterable, Sequence
from typing import Any

from grpclib import GRPCError
from grpclib.const import Cardinality, Handler, Status

from shortener.rpc.descriptors import message_class
from shortener.rpc.guard import Service

SERVICE = "grpc.health.v1.Health"


class Serving:
    """Whether this process serves: one switch for the health of every listener and for /readyz."""

    def __init__(self) -> None:
        self._ready = False
        self._stopping = False
        self._changed = asyncio.Event()

    @property
    def is_ready(self) -> bool:
        """True between `start` and `stop`."""
        return self._ready

    @property
    def is_stopping(self) -> bool:
        """True after `stop`."""
        return self._stopping

    def start(self) -> None:
        """Report SERVING from now on: every listener accepts."""
        self._change(ready=True)

    def stop(self) -> None:
        """Report NOT_SERVING from now on, and let those who watch go. There is no way back."""
        self._stopping = True
        self._change(ready=False)

    def _change(self, *, ready: bool) -> None:
        self._ready = ready
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    async def wait_changed(self) -> None:
        """Wait for the next `start` or `stop`."""
        await self._changed.wait()


class Health:
    """The health service of a listener: knows `services` by their full names, and the empty name for all of them."""

    def __init__(self, serving: Serving, services: Sequence[Service]) -> None:
        self._serving = serving
        self._names = frozenset(["", SERVICE, *service_names(services)])
        self._request = message_class("grpc.health.v1.HealthCheckRequest")
        self._response = message_class("grpc.health.v1.HealthCheckResponse")

    def __mapping__(self) -> dict[str, Handler]:
        """Return Check and Watch."""
        types = (self._request, self._response)
        return {
            f"/{SERVICE}/Check": Handler(self._check, Cardinality.UNARY_UNARY, *types),
            f"/{SERVICE}/Watch": Handler(self._watch, Cardinality.UNARY_STREAM, *types),
        }

    async def _check(self, stream: Any) -> None:
        """Answer the status of one service; NOT_FOUND for a name this listener does not serve."""
        request = await stream.recv_message()
        if request is None or request.service not in self._names:
            raise GRPCError(Status.NOT_FOUND, "unknown service")
        await stream.send_message(self._status(request.service))

    async def _watch(self, stream: Any) -> None:
        """Answer the status of one service now and at each change; ends with UNAVAILABLE when the server stops."""
        request = await stream.recv_message()
        name = "" if request is None else request.service
        while True:
            await stream.send_message(self._status(name))
            if self._serving.is_stopping:
                raise GRPCError(Status.UNAVAILABLE, "the server is stopping")
            await self._serving.wait_changed()

    def _status(self, name: str) -> Any:
        status = "SERVING" if self._serving.is_ready else "NOT_SERVING"
        return self._response(status=status if name in self._names else "SERVICE_UNKNOWN")


def service_names(services: Iterable[Service]) -> list[str]:
    """Return the full names of services ("url.URLService"), in order, each once."""
    return list(dict.fromkeys(path.split("/")[1] for service in services for path in service.__mapping__()))
