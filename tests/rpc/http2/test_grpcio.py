"""Calls by grpcio's clients."""

import asyncio
import logging
from typing import Any

import grpc
import grpc.aio
import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from google.rpc import error_details_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase
from grpc_status import rpc_status

from shortener.gen import url as pb
from shortener.rpc import descriptors, health, reflection
from shortener.rpc.health import Serving
from tests.rpc.http2.served import GET, LIST, Build, channel, method, raw, status_of
from tests.support.rpc_services import Urls, settings


async def test_a_call_is_answered(build: Build) -> None:
    async with channel(await build()) as opened:
        answer = await method(opened, GET)(pb.GetUrlRequest(short_code="abc"))
    assert answer == pb.GetUrlResponse(url=pb.Url(short_code="abc"), found=True)


@pytest.mark.parametrize(
    ("code", "status", "message", "details"),
    [
        ("missing", grpc.StatusCode.NOT_FOUND, "short URL not found", []),
        ("stopped", grpc.StatusCode.UNAVAILABLE, "try again later", []),
        ("bug", grpc.StatusCode.INTERNAL, "internal error (request request-1)", []),
        ("timeout", grpc.StatusCode.INTERNAL, "internal error (request request-1)", []),
        (
            "",
            grpc.StatusCode.INVALID_ARGUMENT,
            "short_code is required",
            [
                error_details_pb2.BadRequest(
                    field_violations=[
                        error_details_pb2.BadRequest.FieldViolation(
                            field="short_code", description="short_code is required"
                        )
                    ]
                )
            ],
        ),
        (
            "taken",
            grpc.StatusCode.ALREADY_EXISTS,
            "alias is taken",
            [
                error_details_pb2.ErrorInfo(
                    reason="ALREADY_EXISTS",
                    domain="shortener",
                    metadata={"suggestion_1": "a1", "suggestion_2": "a2", "suggestion_3": "a3", "field": "alias"},
                )
            ],
        ),
        (
            "limit",
            grpc.StatusCode.RESOURCE_EXHAUSTED,
            "too many",
            [error_details_pb2.RetryInfo(retry_delay={"seconds": 7})],
        ),
    ],
)
async def test_failures_travel_with_status_message_and_details(
    build: Build, code: str, status: grpc.StatusCode, message: str, details: list[Any]
) -> None:
    async with channel(await build()) as opened:
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await method(opened, GET)(pb.GetUrlRequest(short_code=code))
    assert (raised.value.code(), raised.value.details()) == (status, message)
    sent = rpc_status.from_call(raised.value)
    unpacked = []
    for detail in sent.details if sent else []:
        kind = type(details[0])()
        assert detail.Unpack(kind)
        unpacked.append(kind)
    assert unpacked == details


async def test_an_unexpected_error_is_logged_with_its_request_id(
    build: Build, caplog: pytest.LogCaptureFixture
) -> None:
    async with channel(await build()) as opened:
        with pytest.raises(grpc.aio.AioRpcError):
            await method(opened, GET)(pb.GetUrlRequest(short_code="bug"))
    [record] = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert (record.getMessage(), vars(record)["request_id"], vars(record)["method"]) == (
        "call failed",
        "request-1",
        GET,
    )
    assert record.exc_info is not None
    assert "a secret detail" in str(record.exc_info[1])


@pytest.mark.parametrize("data", [b"\x0a\x10abc", b"\x0a\x02\xff\xfe", b"\x00\x05", b"\x0f"])
async def test_malformed_bytes_are_invalid_argument(build: Build, data: bytes) -> None:
    async with channel(await build()) as opened:
        assert await status_of(raw(opened, GET)(data)) == (grpc.StatusCode.INVALID_ARGUMENT, "malformed request")


async def test_a_message_over_the_limit_is_resource_exhausted(build: Build) -> None:
    async with channel(await build()) as opened:
        for size in (65_537, 5_000_000):
            status, _ = await status_of(raw(opened, GET)(b"\x4a\x00" * (size // 2 + 1)))
            assert status is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert (await method(opened, GET)(pb.GetUrlRequest(short_code="x" * 65_000))).found


async def test_gzip_is_understood_and_bounded(build: Build) -> None:
    async with channel(await build(), compression=grpc.Compression.Gzip) as opened:
        assert (await method(opened, GET)(pb.GetUrlRequest(short_code="x" * 5000))).url.short_code == "x" * 5000
        status, _ = await status_of(raw(opened, GET)(b"\x4a\x00" * 4_000_000))
        assert status is grpc.StatusCode.RESOURCE_EXHAUSTED


async def test_another_compression_is_unimplemented_and_told_what_is_accepted(build: Build) -> None:
    async with channel(await build(), compression=grpc.Compression.Deflate) as opened:
        status, _ = await status_of(method(opened, GET)(pb.GetUrlRequest(short_code="x" * 5000)))
        assert status is grpc.StatusCode.UNIMPLEMENTED


async def test_unknown_methods_are_unimplemented(build: Build) -> None:
    async with channel(await build()) as opened:
        for path in ("/url.URLService/Nothing", "/nothing.Here/GetURL"):
            assert (await status_of(raw(opened, path)(b"")))[0] is grpc.StatusCode.UNIMPLEMENTED
        assert (await status_of(raw(opened, "/url.URLService/DeleteURL")(b"")))[0] is grpc.StatusCode.UNIMPLEMENTED


async def test_a_call_without_a_deadline_gets_the_default(build: Build, urls: Urls) -> None:
    server = await build(settings(timeout_seconds=0.1))
    async with channel(server) as opened:
        assert await status_of(raw(opened, LIST)(b"")) == (grpc.StatusCode.DEADLINE_EXCEEDED, "deadline exceeded")
    assert urls.cancelled.is_set()


async def test_cancelling_a_call_cancels_its_handler(build: Build, urls: Urls) -> None:
    async with channel(await build()) as opened:
        call = raw(opened, LIST)(b"")
        await asyncio.wait_for(urls.started.wait(), 5)
        call.cancel()
        await asyncio.wait_for(urls.cancelled.wait(), 5)


async def test_three_hundred_calls_at_once_on_one_channel(build: Build) -> None:
    async with channel(await build()) as opened:
        get = method(opened, GET)
        answers = await asyncio.gather(*(get(pb.GetUrlRequest(short_code=f"c{n}")) for n in range(300)))
    assert [answer.url.short_code for answer in answers] == [f"c{n}" for n in range(300)]


async def test_metadata_reaches_the_handler(build: Build, urls: Urls) -> None:
    async with channel(await build()) as opened:
        await method(opened, GET)(
            pb.GetUrlRequest(short_code="a"), metadata=[("x-one", "1"), ("x-two-bin", b"\x00\xff")]
        )
    assert ("x-one", "1") in urls.metadata
    assert ("x-two-bin", b"\x00\xff") in urls.metadata


async def test_the_service_token_is_required_but_for_health(build: Build, serving: Serving) -> None:
    server = await build(service_token="s3cret", open_services=frozenset({health.SERVICE}))
    async with channel(server) as opened:
        get = method(opened, GET)
        request = pb.GetUrlRequest(short_code="a")
        refused = (grpc.StatusCode.UNAUTHENTICATED, "a valid service token is required")
        for metadata in ([], [("authorization", "Bearer wrong")], [("authorization", "s3cret")]):
            assert await status_of(get(request, metadata=metadata)) == refused
        assert (await get(request, metadata=[("authorization", "bearer s3cret")])).found
        check = health_pb2_grpc.HealthStub(opened).Check
        assert (await check(health_pb2.HealthCheckRequest())).status == health_pb2.HealthCheckResponse.NOT_SERVING


async def test_each_call_is_observed(build: Build) -> None:
    seen = []
    server = await build(observe=lambda path, status, seconds: seen.append((path, status, 0 <= seconds < 5)))
    async with channel(server) as opened:
        await method(opened, GET)(pb.GetUrlRequest(short_code="a"))
        await status_of(method(opened, GET)(pb.GetUrlRequest(short_code="missing")))
        await status_of(method(opened, LIST)(pb.ListUrLsRequest(), timeout=0.1))
    await server.drain(5)
    assert sorted(seen) == sorted([(GET, "OK", True), (GET, "NOT_FOUND", True), (LIST, "DEADLINE_EXCEEDED", True)])


async def test_health_follows_the_server(build: Build, serving: Serving) -> None:
    async with channel(await build()) as opened:
        stub = health_pb2_grpc.HealthStub(opened)
        watch = stub.Watch(health_pb2.HealthCheckRequest(service="url.URLService"))
        states = health_pb2.HealthCheckResponse
        assert (await watch.read()).status == states.NOT_SERVING
        serving.start()
        assert (await watch.read()).status == states.SERVING
        for name in ("", "url.URLService", "grpc.health.v1.Health"):
            assert (await stub.Check(health_pb2.HealthCheckRequest(service=name))).status == states.SERVING
        unknown = stub.Check(health_pb2.HealthCheckRequest(service="user.UserService"))
        assert await status_of(unknown) == (grpc.StatusCode.NOT_FOUND, "unknown service")
        serving.stop()
        assert (await watch.read()).status == states.NOT_SERVING
        assert await watch.code() is grpc.StatusCode.UNAVAILABLE


async def test_reflection_lists_and_describes_down_to_fields(build: Build) -> None:
    server = await build()

    def look() -> tuple[list[str], list[str], list[str]]:
        with grpc.insecure_channel(f"127.0.0.1:{server.port}") as opened:
            database = ProtoReflectionDescriptorDatabase(opened)
            file = database.FindFileContainingSymbol("url.URLService")
            checks = database.FindFileContainingSymbol("grpc.health.v1.Health")
            message = next(message for message in file.message_type if message.name == "URL")
            return list(database.get_services()), [f.name for f in message.field], [s.name for s in checks.service]

    services, fields, checks = await asyncio.to_thread(look)
    assert sorted(services) == [
        "grpc.health.v1.Health",
        "grpc.reflection.v1.ServerReflection",
        "grpc.reflection.v1alpha.ServerReflection",
        "url.URLService",
    ]
    assert fields == [
        "short_code", "long_url", "clicks", "created_at", "updated_at", "is_active", "expires_at", "short_url",
    ]  # fmt: skip
    assert checks == ["Health"]


DETAILS = "google/rpc/error_details.proto"
DESCRIBED = {
    "google.rpc.Status": ["google/rpc/status.proto", "google/protobuf/any.proto"],
    "google.protobuf.Duration": ["google/protobuf/duration.proto"],
    **{
        f"google.rpc.{name}": [DETAILS, "google/protobuf/duration.proto"]
        for name in (*error_details_pb2.DESCRIPTOR.message_types_by_name, "BadRequest.FieldViolation")
    },
}
"""The files that reflection answers with for a symbol: its own first, then those that it imports."""


@pytest.mark.parametrize("version", reflection.VERSIONS)
async def test_reflection_describes_every_message_that_details_may_hold(build: Build, version: str) -> None:
    package = f"grpc.reflection.{version}"
    request = descriptors.message_class(f"{package}.ServerReflectionRequest")
    reply = descriptors.message_class(f"{package}.ServerReflectionResponse")
    by_symbol = [request(file_containing_symbol=symbol) for symbol in DESCRIBED]
    by_name = [request(file_by_filename=files[0]) for files in DESCRIBED.values()]
    async with channel(await build()) as opened:
        ask = opened.stream_stream(
            f"/{package}.ServerReflection/ServerReflectionInfo",
            request_serializer=request.SerializeToString,
            response_deserializer=reply.FromString,
        )
        answers = [answer async for answer in ask(iter(by_symbol + by_name))]
    files = [
        [FileDescriptorProto.FromString(data) for data in answer.file_descriptor_response.file_descriptor_proto]
        for answer in answers
    ]
    assert [[file.name for file in found] for found in files] == [*DESCRIBED.values()] * 2
    for found in files:
        pool = DescriptorPool()
        for file in reversed(found):
            pool.Add(file)  # raises TypeError when an import is missing


async def test_drain_lets_running_calls_finish(build: Build, urls: Urls) -> None:
    server = await build()
    async with channel(server) as opened:
        running = asyncio.ensure_future(method(opened, LIST, pb.ListUrLsResponse)(pb.ListUrLsRequest()))
        await urls.started.wait()
        drained = asyncio.create_task(server.drain(10))
        await asyncio.sleep(0.05)
        assert not drained.done()
        urls.release.set()
        assert (await running).total == 7
        await drained
        server.close()
        await server.wait_closed()
        assert (await status_of(method(opened, GET)(pb.GetUrlRequest(short_code="a"))))[
            0
        ] is grpc.StatusCode.UNAVAILABLE


async def test_calls_that_outlast_the_grace_are_unavailable(build: Build, urls: Urls) -> None:
    server = await build()
    async with channel(server) as opened:
        running = method(opened, LIST, pb.ListUrLsResponse)(pb.ListUrLsRequest())
        await urls.started.wait()
        await server.drain(0.05)
        server.close()
        await server.wait_closed()
        assert await status_of(running) == (grpc.StatusCode.UNAVAILABLE, "the server is stopping")
