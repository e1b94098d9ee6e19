"""grpclib's plain server with our services behind it; the contract's tests run over it too."""

import asyncio
import socket
from collections.abc import AsyncIterator

import grpc.aio
import pytest

from shortener.gen import url as pb
from shortener.rpc.guard import guarded
from shortener.rpc.stock import StockServer
from tests.rpc.http2.served import GET, LIST, channel, method, raw, status_of
from tests.support.rpc_services import Urls
from tests.support.waiting import until


@pytest.fixture
async def urls() -> Urls:
    return Urls()


@pytest.fixture
async def server(urls: Urls) -> AsyncIterator[StockServer]:
    made = StockServer(guarded([urls], new_id=lambda: "request-1"))
    await made.start("127.0.0.1", 0)
    yield made
    made.close()
    await made.wait_closed()


async def test_calls_are_answered_and_connections_counted(server: StockServer) -> None:
    async with channel(server) as opened:
        answer = await method(opened, GET)(pb.GetUrlRequest("abc"))
        assert answer == pb.GetUrlResponse(url=pb.Url("abc"), found=True)
        assert (server.connections, server.refused_connections) == (1, 0)
    await until(lambda: server.connections == 0)


@pytest.mark.parametrize(
    ("request_bytes", "status", "message"),
    [
        (b"\x0a\x07missing", grpc.StatusCode.NOT_FOUND, "short URL not found"),
        (b"", grpc.StatusCode.INVALID_ARGUMENT, "short_code is required"),
        (b"\x0a\x03bug", grpc.StatusCode.INTERNAL, "internal error (request request-1)"),
        (b"\x0a\x10abc", grpc.StatusCode.INVALID_ARGUMENT, "malformed request"),
        (b"\x0a\x02\xff\xfe", grpc.StatusCode.INVALID_ARGUMENT, "malformed request"),
    ],
)
async def test_failures_have_our_statuses(
    server: StockServer, request_bytes: bytes, status: grpc.StatusCode, message: str
) -> None:
    async with channel(server) as opened:
        assert await status_of(raw(opened, GET)(request_bytes)) == (status, message)


async def test_a_callers_deadline_ends_its_call(server: StockServer, urls: Urls) -> None:
    async with channel(server) as opened:
        assert (await method(opened, GET)(pb.GetUrlRequest("abc"))).found  # It is connected.
        status, _ = await status_of(method(opened, LIST)(pb.ListUrLsRequest(), timeout=0.5))
        assert status is grpc.StatusCode.DEADLINE_EXCEEDED
    await asyncio.wait_for(urls.cancelled.wait(), 5)


async def test_closing_cancels_the_calls_under_way(server: StockServer, urls: Urls) -> None:
    async with channel(server) as opened:
        call = method(opened, LIST)(pb.ListUrLsRequest())
        await urls.started.wait()
        await server.drain(10)
        await server.wait_closed()
        assert urls.cancelled.is_set()
        call.cancel()


async def test_a_bound_socket_is_taken_and_a_taken_port_is_refused(urls: Urls) -> None:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port = sock.getsockname()[1]
        server = StockServer([urls])
        with pytest.raises(OSError, match="already in use"):
            await server.start("127.0.0.1", port)
        await server.start("127.0.0.1", port, sock=sock)
        async with channel(server) as opened:
            assert (await method(opened, GET)(pb.GetUrlRequest("abc"))).found
        server.close()
        await server.wait_closed()
