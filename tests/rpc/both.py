"""What tests over both gRPC servers share: the fake service on either, and grpcio's callables."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, Protocol

import grpc.aio
import pytest

from shortener.gen import url as pb
from shortener.rpc import http2 as h2
from shortener.rpc import stock
from shortener.rpc.http2 import Limits

GET, LIST, CREATE = (f"/url.URLService/{name}" for name in ("GetURL", "ListURLs", "CreateURL"))
NAMES = ("own", "grpclib")


class AnyServer(Protocol):
    """What both servers offer beyond their lives."""

    @property
    def port(self) -> int: ...

    async def start(self, host: str, port: int, *, ssl: Any = None, sock: Any = None) -> None: ...

    async def drain(self, grace_seconds: float) -> None: ...

    def close(self) -> None: ...

    async def wait_closed(self) -> None: ...


Build = Callable[..., Awaitable[AnyServer]]


def new_server(name: str, services: Any, **options: Any) -> AnyServer:
    """Return a server by the name that configuration gives it."""
    if name == "own":
        return h2.RpcServer(services, limits=Limits(sweep_seconds=0.02), **options)
    return stock.RpcServer(services, **options)


@asynccontextmanager
async def channel(server: AnyServer, **options: Any) -> AsyncIterator[grpc.aio.Channel]:
    async with grpc.aio.insecure_channel(f"127.0.0.1:{server.port}", **options) as opened:
        yield opened


def method(opened: grpc.aio.Channel, path: str, reply: Any = pb.GetUrlResponse, kind: str = "unary_unary") -> Any:
    """Return grpcio's callable for a method of our messages."""
    return getattr(opened, kind)(path, request_serializer=bytes, response_deserializer=reply.FromString)


def raw(opened: grpc.aio.Channel, path: str) -> Any:
    """Return grpcio's callable that sends and returns bytes."""
    return opened.unary_unary(path)


async def status_of(call: Any) -> tuple[grpc.StatusCode, str | None]:
    """Return how a call failed."""
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await call
    return raised.value.code(), raised.value.details()
