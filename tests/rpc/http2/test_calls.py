"""What the server promises of calls, by hand-made frames; `test_grpcio` has calls by grpcio's clients."""

import asyncio
import logging
import threading
from collections.abc import AsyncIterator
from typing import Any

import grpc
import grpc.aio
import pytest
from grpclib import GRPCError
from grpclib.const import Status

from shortener.gen.url import GetUrlRequest, GetUrlResponse, Url, UrlServiceBase
from shortener.rpc.http2 import RpcServer
from tests.support.h2_peer import GRPC, Odd, channel_to, encode, method, serving, unary
from tests.support.waiting import until

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


@pytest.mark.parametrize("name", ["crash", "nothing"])
async def test_faults_of_handlers_are_internal_and_keep_their_text(name: str, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR, "shortener"):
        async with serving(Odd()) as server, channel_to(server) as channel:
            error = await failure(method(channel, name)(GetUrlRequest("a")))
    assert (error.code(), error.details()) == (CODE.INTERNAL, "internal error")
    assert [record.name for record in caplog.records] == ["shortener.rpc.http2.stream"]


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
        await until(lambda: odd.ended == ["CancelledError"])


@pytest.mark.parametrize("name", ["GetStats", "GetTimeSeries", "GetGeoStats"])
async def test_a_call_without_a_deadline_gets_the_default_of_its_method(name: str) -> None:
    odd = Odd()
    odd.extra = {f"/analytics.AnalyticsService/{name}": odd.__mapping__()["/test.Odd/wait"]}
    times = {"timeout_seconds": 0.05, "statistics_timeout_seconds": 60.0}
    async with serving(odd, **times) as server, channel_to(server) as channel:
        slow = channel.unary_unary(
            f"/analytics.AnalyticsService/{name}",
            request_serializer=bytes,
            response_deserializer=GetUrlResponse.FromString,
        )(GetUrlRequest("slow"))
        error = await failure(method(channel, "wait")(GetUrlRequest("quick")))
        assert error.code() == CODE.DEADLINE_EXCEEDED
        odd.gate.set()
        assert (await slow).found


async def test_a_busy_port_is_an_oserror() -> None:
    async with serving(Odd()) as server:
        other = RpcServer([], GRPC)
        with pytest.raises(OSError, match="in use"):
            await other.start("127.0.0.1", server.port)
        other.close()
        await other.wait_closed()
