"""Calls of every kind, with everything that travels beside messages."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
import grpc.aio
import pytest
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from shortener.gen.url import GetUrlRequest, GetUrlResponse
from tests.rpc.http2 import served
from tests.rpc.http2.served import Build, channel
from tests.support.h2_peer import Odd
from tests.support.rpc_services import settings
from tests.support.waiting import until

CODE = grpc.StatusCode
LARGE = settings(message_size_max=1_048_576)


@pytest.fixture
def odd() -> Odd:
    return Odd()


def method(opened: grpc.aio.Channel, name: str, kind: str = "unary_unary") -> Any:
    return served.method(opened, f"/test.Odd/{name}", kind=kind)


async def requests(*codes: str) -> AsyncIterator[GetUrlRequest]:
    for code in codes:
        yield GetUrlRequest(short_code=code)


@pytest.mark.parametrize("size", [1, 16_384, 70_000, 1_000_000])
async def test_messages_of_all_sizes_travel_both_ways(build: Build, odd: Odd, size: int) -> None:
    async with channel(await build(LARGE, services=[odd])) as opened:
        assert (await method(opened, "echo")(GetUrlRequest("x" * size))).url.short_code == "x" * size
        big = await method(opened, "big")(GetUrlRequest(str(size)))
        assert len(big.url.long_url) == size


async def test_limits_follow_the_largest_message_that_is_allowed(build: Build, odd: Odd) -> None:
    async with channel(await build(settings(message_size_max=8_388_608), services=[odd])) as opened:
        assert (await method(opened, "metadata")(GetUrlRequest("x" * 6_000_000))).found
        status, _ = await served.status_of(method(opened, "metadata")(GetUrlRequest("x" * 9_000_000)))
        assert status is CODE.RESOURCE_EXHAUSTED


async def test_a_status_may_follow_a_message(build: Build, odd: Odd) -> None:
    async with channel(await build(services=[odd])) as opened:
        assert await served.status_of(method(opened, "missing")(GetUrlRequest("a"))) == (CODE.NOT_FOUND, "no such link")
        call = method(opened, "missing", "unary_stream")(GetUrlRequest("a"))
        assert await call.read() == GetUrlResponse(found=False)
        assert await call.code() == CODE.NOT_FOUND


async def test_error_details_and_unicode_messages_arrive(build: Build, odd: Odd) -> None:
    async with channel(await build(services=[odd])) as opened:
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await method(opened, "detailed")(GetUrlRequest("a"))
    assert (raised.value.code(), raised.value.details()) == (CODE.INVALID_ARGUMENT, "long_url: 100% ✗")
    status, detail = rpc_status.from_call(raised.value), error_details_pb2.BadRequest()
    assert status is not None
    assert status.details[0].Unpack(detail)
    assert [(found.field, found.description) for found in detail.field_violations] == [("long_url", "ungültig ✗")]


async def test_metadata_arrives(build: Build, odd: Odd) -> None:
    async with channel(await build(services=[odd])) as opened:
        sent = (("x-a", "1"), ("x-a", "2"), ("x-b-bin", b"\x00\xfe\xff"))
        await method(opened, "metadata")(GetUrlRequest("a"), metadata=sent)
    assert [pair for pair in odd.seen[0] if pair[0].startswith("x-")] == sorted(sent)


async def test_streams_of_each_direction(build: Build, odd: Odd) -> None:
    async with channel(await build(services=[odd])) as opened:
        counted = [r.url.clicks async for r in method(opened, "count", "unary_stream")(GetUrlRequest("300"))]
        assert counted == list(range(300))
        collected = await method(opened, "collect", "stream_unary")(requests("a", "b", "c"))
        assert collected.url.short_code == "a,b,c"
        assert (await method(opened, "collect", "stream_unary")(requests())).url.short_code == ""
        codes = [str(n) for n in range(200)]
        mirrored = [r.url.short_code async for r in method(opened, "mirror", "stream_stream")(requests(*codes))]
        assert mirrored == codes


async def test_a_stream_answers_while_the_client_still_sends(build: Build, odd: Odd) -> None:
    async with channel(await build(services=[odd])) as opened:
        call = method(opened, "mirror", "stream_stream")()
        for code in "abc":
            await call.write(GetUrlRequest(code))
            assert (await call.read()).url.short_code == code
        await call.done_writing()
        assert await call.read() is grpc.aio.EOF
        assert await call.code() == CODE.OK


async def test_streams_outlive_the_default_deadline_and_end_with_their_own(build: Build, odd: Odd) -> None:
    async with channel(await build(settings(timeout_seconds=0.05), services=[odd])) as opened:
        call = method(opened, "mirror", "stream_stream")()
        await asyncio.sleep(0.2)
        await call.write(GetUrlRequest("late"))
        assert (await call.read()).url.short_code == "late"
        call.cancel()
        watch = method(opened, "forever", "unary_stream")(GetUrlRequest("a"), timeout=0.2)
        assert (await watch.read()).found
        assert await watch.code() == CODE.DEADLINE_EXCEEDED
        await until(lambda: odd.ended == ["CancelledError"])


async def test_a_lost_connection_cancels_its_handlers(build: Build, odd: Odd) -> None:
    server = await build(services=[odd])
    opened = grpc.aio.insecure_channel(f"127.0.0.1:{server.port}")
    call = method(opened, "wait")(GetUrlRequest("a"))
    await until(lambda: odd.started == ["a"])
    await opened.close()
    await until(lambda: odd.ended == ["CancelledError"])
    with pytest.raises(asyncio.CancelledError):
        await call
