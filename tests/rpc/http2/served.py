"""What tests by grpcio's clients share: how to build the server, and grpcio's callables."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, Protocol

import grpc.aio
import pytest

from shortener.config.sections import Grpc
from shortener.gen import url as pb
from shortener.rpc.http2 import RpcServer

GET, LIST, CREATE = (f"/url.URLService/{name}" for name in ("GetURL", "ListURLs", "CreateURL"))

Build = Callable[..., Awaitable[RpcServer]]


class Listening(Protocol):
    """A server that has started."""

    @property
    def port(self) -> int: ...


def new_server(services: Any, grpc: Grpc) -> RpcServer:
    return RpcServer(services, grpc, sweep_seconds=0.02)


@asynccontextmanager
async def channel(server: Listening, **options: Any) -> AsyncIterator[grpc.aio.Channel]:
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
