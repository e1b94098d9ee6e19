"""What the tests of the HTTP/2 server share: settings, services with odd habits, and peers that speak frames."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextvars import ContextVar
from dataclasses import replace
from typing import Any

import betterproto
import grpc
import grpc.aio
from google.rpc import error_details_pb2
from grpclib import GRPCError
from grpclib.const import Cardinality, Handler, Status

from shortener.config.sections import Grpc
from shortener.gen.url import GetUrlRequest, GetUrlResponse, Url
from shortener.rpc.guard import Admits
from shortener.rpc.http2 import RpcServer

GRPC = Grpc(message_size_max=1_048_576, connections_max=50, handshake_seconds=5.0)
SWEEP_SECONDS = 0.02

Func = Callable[[Any], Awaitable[None]]
call_name: ContextVar[str] = ContextVar("call_name", default="")


class Odd:
    """One handler for each way to answer. `started` and `ended` tell what became of calls."""

    def __init__(self) -> None:
        self.started: list[str] = []
        self.ended: list[str] = []
        self.gate = asyncio.Event()
        self.seen: list[Any] = []
        self.extra: dict[str, Handler] = {}

    async def echo(self, stream: Any) -> None:
        request = await stream.recv_message()
        self.started.append(request.short_code)
        await stream.send_message(GetUrlResponse(url=Url(short_code=request.short_code), found=True))

    async def wait(self, stream: Any) -> None:
        request = await stream.recv_message()
        self.started.append(request.short_code)
        try:
            await self.gate.wait()
            await stream.send_message(GetUrlResponse(found=True))
        except BaseException as error:
            self.ended.append(type(error).__name__)
            raise
        self.ended.append("answered")

    async def missing(self, stream: Any) -> None:
        await stream.recv_message()
        await stream.send_message(GetUrlResponse(found=False))
        raise GRPCError(Status.NOT_FOUND, "no such link")

    async def detailed(self, stream: Any) -> None:
        await stream.recv_message()
        violation = error_details_pb2.BadRequest.FieldViolation(field="long_url", description="ungültig ✗")
        raise GRPCError(
            Status.INVALID_ARGUMENT, "long_url: 100% ✗", [error_details_pb2.BadRequest(field_violations=[violation])]
        )

    async def crash(self, stream: Any) -> None:
        await stream.recv_message()
        raise RuntimeError("secret")

    async def nothing(self, stream: Any) -> None:
        await stream.recv_message()

    async def metadata(self, stream: Any) -> None:
        await stream.recv_message()
        self.seen.append(sorted(stream.metadata.items()))
        await stream.send_message(GetUrlResponse(found=True))

    async def count(self, stream: Any) -> None:
        request = await stream.recv_message()
        for number in range(int(request.short_code)):
            await stream.send_message(GetUrlResponse(url=Url(clicks=number)))

    async def collect(self, stream: Any) -> None:
        codes = [request.short_code async for request in stream]
        await stream.send_message(GetUrlResponse(url=Url(short_code=",".join(codes))))

    async def unread(self, stream: Any) -> None:
        await self.gate.wait()
        await stream.send_message(GetUrlResponse(found=True))

    async def mirror(self, stream: Any) -> None:
        async for request in stream:
            await stream.send_message(GetUrlResponse(url=Url(short_code=request.short_code)))

    async def forever(self, stream: Any) -> None:
        try:
            await stream.recv_message()
            await stream.send_message(GetUrlResponse(found=True))
            await asyncio.Event().wait()
        except BaseException as error:
            self.ended.append(type(error).__name__)
            raise

    async def big(self, stream: Any) -> None:
        request = await stream.recv_message()
        await stream.send_message(GetUrlResponse(url=Url(long_url="x" * int(request.short_code))))

    def __mapping__(self) -> dict[str, Handler]:
        plain = (self.echo, self.wait, self.missing, self.detailed, self.crash, self.nothing, self.metadata, self.big)
        mapping = {f"/test.Odd/{func.__name__}": unary(func) for func in plain}
        for func, cardinality in (
            (self.count, Cardinality.UNARY_STREAM),
            (self.forever, Cardinality.UNARY_STREAM),
            (self.collect, Cardinality.STREAM_UNARY),
            (self.unread, Cardinality.STREAM_UNARY),
            (self.mirror, Cardinality.STREAM_STREAM),
        ):
            mapping[f"/test.Odd/{func.__name__}"] = Handler(func, cardinality, GetUrlRequest, GetUrlResponse)
        return mapping | self.extra


def unary(func: Func) -> Handler:
    """Make a plain method of a handler."""
    return Handler(func, Cardinality.UNARY_UNARY, GetUrlRequest, GetUrlResponse)


@contextlib.asynccontextmanager
async def serving(*services: Any, admits: Admits | None = None, **changes: Any) -> AsyncIterator[RpcServer]:
    """Run a server on a free port, with `GRPC` changed."""
    server = RpcServer(services, replace(GRPC, **changes), admits=admits, sweep_seconds=SWEEP_SECONDS)
    await server.start("127.0.0.1", 0)
    try:
        yield server
    finally:
        server.close()
        await server.wait_closed()


def encode(message: betterproto.Message) -> bytes:
    return bytes(message)


@contextlib.asynccontextmanager
async def channel_to(server: RpcServer, **options: Any) -> AsyncIterator[grpc.aio.Channel]:
    """Open a grpcio channel of its own connection."""
    pairs = [("grpc.use_local_subchannel_pool", 1), *((name.replace("__", "."), v) for name, v in options.items())]
    async with grpc.aio.insecure_channel(f"127.0.0.1:{server.port}", options=pairs) as channel:
        yield channel


def method(channel: Any, name: str, kind: str = "unary_unary") -> Any:
    """Return grpcio's callable for a method of `Odd`."""
    return getattr(channel, kind)(
        f"/test.Odd/{name}", request_serializer=encode, response_deserializer=GetUrlResponse.FromString
    )
