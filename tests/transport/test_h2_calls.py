"""Calls of every kind by grpcio's clients."""

import asyncio
import logging
import threading
from collections.abc import AsyncIterator
from typing import Any

import grpc
import grpc.aio
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from grpclib import GRPCError
from grpclib.const import Status

from shortener.gen.url import GetUrlRequest, GetUrlResponse, Url, UrlServiceBase
from shortener.transport.h2 import RpcServer
from shortener.transport.health import Health, Serving
from shortener.transport.reflection import reflection
from tests.transport.h2_peer import Odd, channel_to, encode, eventually, method, serving, unary
from tests.transport.h2_wire import wire

CODE = grpc.StatusCode


async def failure(call: Any) -> grpc.aio.AioRpcError:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return caught.value


async def requests(*codes: str) -> AsyncIterator[GetUrlRequest]:
    for code in codes:
        yield GetUrlRequest(short_code=code)


async def test_a_service_made_for_grpclib_is_served() -> None:
    class Service(UrlServiceBase):
        async def get_url(self, get_url_request: GetUrlRequest) -> GetUrlResponse:
            return GetUrlResponse(url=Url(short_code=get_url_request.short_code), found=True)

    async with serving(Service()) as server, channel_to(server) as channel:
        call = channel.unary_unary(
            "/url.URLService/GetURL", request_serializer=encode, response_deserializer=GetUrlResponse.FromString
        )
        assert await call(GetUrlRequest("abc")) == GetUrlResponse(url=Url(short_code="abc"), found=True)


async def test_many_calls_at_once_get_their_own_answers() -> None:
    async with serving(Odd()) as server, channel_to(server) as channel:
        answers = await asyncio.gather(*(method(channel, "echo")(GetUrlRequest(str(n))) for n in range(300)))
    assert [answer.url.short_code for answer in answers] == [str(n) for n in range(300)]


async def test_sync_clients_of_several_threads_are_served() -> None:
    async with serving(Odd()) as server:
        port, found = server.port, []

        def ask(name: str) -> None:
            with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
                found.append(method(channel, "echo")(GetUrlRequest(name), timeout=5).url.short_code)

        threads = [threading.Thread(target=ask, args=(str(n),)) for n in range(8)]
        for thread in threads:
            thread.start()
        await asyncio.to_thread(lambda: [thread.join() for thread in threads])
    assert sorted(found) == [str(n) for n in range(8)]


async def test_a_request_above_the_limit_is_refused() -> None:
    async with serving(Odd(), message_size_max=1024) as server, channel_to(server) as channel:
        error = await failure(method(channel, "echo")(GetUrlRequest("x" * 2000)))
        assert error.code() == CODE.RESOURCE_EXHAUSTED
        assert (await method(channel, "echo")(GetUrlRequest("x" * 1000))).found


async def test_a_compressed_request_is_inflated() -> None:
    async with serving(Odd()) as server, channel_to(server) as channel:
        call = method(channel, "echo")(GetUrlRequest("x" * 5000), compression=grpc.Compression.Gzip)
        assert (await call).url.short_code == "x" * 5000
        error = await failure(method(channel, "echo")(GetUrlRequest("x" * 5000), compression=grpc.Compression.Deflate))
        assert error.code() == CODE.UNIMPLEMENTED


@pytest.mark.parametrize("name", ["crash", "nothing"])
async def test_faults_of_handlers_are_internal_and_keep_their_text(name: str, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR, "shortener"):
        async with serving(Odd()) as server, channel_to(server) as channel:
            error = await failure(method(channel, name)(GetUrlRequest("a")))
    assert (error.code(), error.details()) == (CODE.INTERNAL, "internal error")
    assert [record.name for record in caplog.records] == ["shortener.transport.h2.stream"]


async def test_an_error_that_cannot_be_sent_is_internal_and_the_connection_lives(
    caplog: pytest.LogCaptureFixture,
) -> None:
    odd = Odd()

    async def strange(stream: Any) -> None:
        raise GRPCError(Status.NOT_FOUND, "x", ["no message"])

    async def wrong(stream: Any) -> None:
        await stream.send_message("no message")

    odd.extra = {"/test.Odd/strange": unary(strange), "/test.Odd/wrong": unary(wrong)}
    async with serving(odd) as server, channel_to(server) as channel:
        for name in ("strange", "wrong"):
            error = await failure(method(channel, name)(GetUrlRequest("a")))
            assert (error.code(), error.details()) == (CODE.INTERNAL, "internal error")
        assert (await method(channel, "echo")(GetUrlRequest("b"))).found
    assert len(caplog.records) == 2


async def test_a_deadline_cancels_the_handler_and_is_named() -> None:
    odd = Odd()
    async with serving(odd) as server, channel_to(server) as channel:
        error = await failure(method(channel, "wait")(GetUrlRequest("a"), timeout=0.1))
        assert error.code() == CODE.DEADLINE_EXCEEDED
        await eventually(lambda: odd.ended == ["CancelledError"])


async def test_a_call_without_a_deadline_gets_the_default_of_its_method() -> None:
    odd = Odd()
    changes = {
        "default_timeout_seconds": 0.05,
        "slow_timeout_seconds": 60.0,
        "slow_methods": frozenset({"/test.Odd/wait"}),
    }
    odd.extra = {"/test.Odd/quick": odd.__mapping__()["/test.Odd/wait"]}
    async with serving(odd, **changes) as server, channel_to(server) as channel:
        slow = method(channel, "wait")(GetUrlRequest("slow"))
        error = await failure(method(channel, "quick")(GetUrlRequest("quick")))
        assert error.code() == CODE.DEADLINE_EXCEEDED
        odd.gate.set()
        assert (await slow).found


async def test_a_cancelled_call_cancels_its_handler() -> None:
    odd = Odd()
    async with serving(odd) as server, channel_to(server) as channel:
        call = method(channel, "wait")(GetUrlRequest("a"))
        await eventually(lambda: odd.started == ["a"])
        call.cancel()
        await eventually(lambda: odd.ended == ["CancelledError"])
        assert (await method(channel, "echo")(GetUrlRequest("b"))).found


async def test_a_lost_connection_cancels_its_handlers() -> None:
    odd = Odd()
    async with serving(odd) as server:
        async with wire(server) as client:
            client.write(client.call(1, "/test.Odd/forever"), client.call(3, "/test.Odd/wait"))
            await client.settle()
        await eventually(lambda: odd.ended == ["CancelledError", "CancelledError"])
        await eventually(lambda: server.connections == 0)


async def test_unknown_methods_are_unimplemented() -> None:
    async with serving(Odd()) as server, channel_to(server) as channel:
        error = await failure(method(channel, "none")(GetUrlRequest("a")))
        assert (error.code(), error.details()) == (CODE.UNIMPLEMENTED, "unknown method")


async def test_health_is_served_and_watched() -> None:
    serving_now = Serving()
    async with serving(Health(serving_now, [])) as server, channel_to(server) as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        statuses = health_pb2.HealthCheckResponse
        assert (await stub.Check(health_pb2.HealthCheckRequest())).status == statuses.NOT_SERVING
        watch = stub.Watch(health_pb2.HealthCheckRequest())
        assert (await watch.read()).status == statuses.NOT_SERVING
        serving_now.start()
        assert (await watch.read()).status == statuses.SERVING
        serving_now.stop()
        assert (await watch.read()).status == statuses.NOT_SERVING
        assert await watch.code() == CODE.UNAVAILABLE


async def test_reflection_is_served() -> None:
    async with serving(*reflection([Health(Serving(), [])])) as server, channel_to(server) as channel:
        stub = reflection_pb2_grpc.ServerReflectionStub(channel)

        async def ask() -> AsyncIterator[Any]:
            yield reflection_pb2.ServerReflectionRequest(list_services="")
            yield reflection_pb2.ServerReflectionRequest(file_containing_symbol="grpc.health.v1.Health")

        answers = [answer async for answer in stub.ServerReflectionInfo(ask())]
    names = [service.name for service in answers[0].list_services_response.service]
    assert names[0] == "grpc.health.v1.Health"
    assert answers[1].file_descriptor_response.file_descriptor_proto


async def test_a_busy_port_is_an_oserror() -> None:
    async with serving(Odd()) as server:
        other = RpcServer([], settings=server._settings)
        with pytest.raises(OSError, match="in use"):
            await other.start("127.0.0.1", server.port)
        other.close()
        await other.wait_closed()
