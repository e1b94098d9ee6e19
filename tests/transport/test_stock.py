"""The grpclib adapter, called by grpcio and by hand-made HTTP/2."""

import asyncio
import logging
import ssl
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import h2.config
import h2.connection
import h2.errors
import h2.events
import pytest
from google.rpc import error_details_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase
from grpc_status import rpc_status

from shortener.gen import url as pb
from shortener.transport import codec, health, reflection
from shortener.transport.health import Health, Serving
from shortener.transport.rpc import guarded
from shortener.transport.settings import RpcSettings
from shortener.transport.stock import RpcServer
from tests.transport.fakes import SETTINGS, Urls, settings

GET, LIST, CREATE = (f"/url.URLService/{name}" for name in ("GetURL", "ListURLs", "CreateURL"))
Build = Callable[..., Awaitable[RpcServer]]


@pytest.fixture
async def urls() -> Urls:
    return Urls()


@pytest.fixture
async def serving() -> Serving:
    return Serving()


@pytest.fixture
async def build(urls: Urls, serving: Serving) -> AsyncIterator[Build]:
    servers: list[RpcServer] = []

    async def start(limits: RpcSettings = SETTINGS, **options: Any) -> RpcServer:
        services = [urls, Health(serving, [urls])]
        services += reflection.reflection(services)
        server = RpcServer(guarded(services, new_id=lambda: "request-1", **options), settings=limits)
        await server.start("127.0.0.1", 0)
        servers.append(server)
        return server

    yield start
    for server in servers:
        server.close()
        await server.wait_closed()


@asynccontextmanager
async def channel(server: RpcServer, **options: Any) -> AsyncIterator[grpc.aio.Channel]:
    async with grpc.aio.insecure_channel(f"127.0.0.1:{server.port}", **options) as opened:
        yield opened


def method(opened: grpc.aio.Channel, path: str, reply: Any = pb.GetUrlResponse) -> Any:
    return opened.unary_unary(
        path, request_serializer=codec.encode, response_deserializer=lambda data: codec.decode(reply, data)
    )


def raw(opened: grpc.aio.Channel, path: str) -> Any:
    return opened.unary_unary(path)


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


async def status_of(call: Any) -> tuple[grpc.StatusCode, str | None]:
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await call
    return raised.value.code(), raised.value.details()


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
    server = await build(settings(default_timeout_seconds=0.1))
    async with channel(server) as opened:
        assert await status_of(raw(opened, LIST)(b"")) == (grpc.StatusCode.DEADLINE_EXCEEDED, "deadline exceeded")
    assert urls.cancelled.is_set()


async def test_slow_methods_get_longer(build: Build) -> None:
    server = await build(
        settings(default_timeout_seconds=60.0, slow_timeout_seconds=0.1, slow_methods=frozenset({LIST}))
    )
    async with channel(server) as opened:
        assert await status_of(raw(opened, LIST)(b"")) == (grpc.StatusCode.DEADLINE_EXCEEDED, "deadline exceeded")


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
    server = await build(observe=lambda path, status, seconds: seen.append((path, status.name, 0 <= seconds < 5)))
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


class Wire:
    """An HTTP/2 client that can be rude."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self.h2 = h2.connection.H2Connection(
            h2.config.H2Configuration(validate_outbound_headers=False, normalize_outbound_headers=False)
        )
        self.h2.initiate_connection()
        self.headers: dict[int, dict[str, str]] = {}
        self.resets: dict[int, int] = {}
        self.ended: set[int] = set()
        self.pings = 0
        self.goaway: int | None = None
        self.closed = False

    def flush(self, extra: bytes = b"") -> None:
        self.writer.write(self.h2.data_to_send() + extra)

    def call(
        self, stream: int, changes: dict[str, str | None] | None = None, body: bytes | None = b"\0\0\0\0\0"
    ) -> None:
        headers: dict[str, str | None] = {
            ":method": "POST",
            ":scheme": "http",
            ":path": GET,
            ":authority": "localhost",
            "te": "trailers",
            "content-type": "application/grpc",
        }
        headers.update(changes or {})
        pairs = [(name, value.encode("latin-1")) for name, value in headers.items() if value is not None]
        self.h2.send_headers(stream, pairs, end_stream=body == b"")
        if body:
            self.h2.send_data(stream, body, end_stream=True)
        self.flush()

    async def until(self, done: Callable[[], bool], seconds: float = 5) -> None:
        async with asyncio.timeout(seconds):
            while not done():
                try:
                    data = await self.reader.read(65536)
                except ConnectionResetError:  # closed while our bytes were on their way
                    data = b""
                if not data:
                    self.closed = True
                    assert done(), "closed too early"
                    return
                for event in self.h2.receive_data(data):
                    self._note(event)
                self.flush()

    def _note(self, event: Any) -> None:
        if isinstance(event, h2.events.ResponseReceived | h2.events.TrailersReceived):
            pairs = {name.decode(): value.decode() for name, value in event.headers}
            self.headers.setdefault(event.stream_id, {}).update(pairs)
        elif isinstance(event, h2.events.StreamEnded):
            self.ended.add(event.stream_id)
        elif isinstance(event, h2.events.StreamReset):
            self.resets[event.stream_id] = int(event.error_code)
        elif isinstance(event, h2.events.ConnectionTerminated):
            self.goaway = int(event.error_code)
        elif isinstance(event, h2.events.PingReceived):
            self.pings += 1


@asynccontextmanager
async def wire(server: RpcServer) -> AsyncIterator[Wire]:
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    opened = Wire(reader, writer)
    opened.flush()
    try:
        yield opened
    finally:
        writer.close()


@pytest.mark.parametrize(
    ("changes", "http", "status"),
    [
        ({":method": None}, "400", "13"),
        ({":path": None}, "400", "13"),
        ({":method": "GET"}, "405", "13"),
        ({"te": None}, "400", "13"),
        ({"content-type": "text/plain"}, "415", "2"),
        ({"content-type": None}, "415", "2"),
        ({"x-bin": "a"}, "200", "3"),
        ({"x": "caf\xe9"}, "200", "3"),
        ({"x": "a\r\nb"}, "200", "3"),
        ({"grpc-timeout": "soon"}, "200", "3"),
        ({"grpc-timeout": "0m"}, "200", "4"),
        ({"grpc-timeout": "99999999H"}, "200", "3"),
        ({"grpc-encoding": "snappy"}, "200", "12"),
        ({"content-type": "application/grpc+proto"}, "200", "3"),
    ],
)
async def test_every_request_is_answered(build: Build, changes: dict[str, str | None], http: str, status: str) -> None:
    async with wire(await build()) as peer:
        for stream in (1, 3):  # the connection survives
            peer.call(stream, changes)
            await peer.until(lambda stream=stream: stream in peer.ended or stream in peer.resets)
            answer = peer.headers[stream]
            assert (answer[":status"], answer["grpc-status"]) == (http, status)
        if status == "12":
            assert answer["grpc-accept-encoding"] == "identity,gzip"


@pytest.mark.parametrize("body", [b"", b"\0\0\0\0\x05ab", b"\0\0\0", b"\2\0\0\0\0", b"\1\0\0\0\0"])
async def test_odd_bodies_are_answered(build: Build, body: bytes) -> None:
    async with wire(await build()) as peer:
        peer.call(1, {"grpc-encoding": "gzip"}, body)
        await peer.until(lambda: 1 in peer.ended)
        assert peer.headers[1]["grpc-status"] == "3"


async def test_empty_data_frames_before_a_message_are_nothing(build: Build) -> None:
    async with wire(await build()) as peer:
        peer.call(1, body=None)
        for part in (b"", b"\0\0", b"", b"\0\0\x03\x0a\x01", b"", b"x"):
            peer.h2.send_data(1, part)
        peer.h2.end_stream(1)
        peer.flush()
        await peer.until(lambda: 1 in peer.ended)
        assert peer.headers[1]["grpc-status"] == "0"


async def test_unknown_frames_are_ignored(build: Build) -> None:
    async with wire(await build()) as peer:
        peer.flush(b"\0\0\x04\xfa\0\0\0\0\0abcd")
        peer.call(1)
        await peer.until(lambda: 1 in peer.ended)
        assert peer.headers[1]["grpc-status"] == "3"


async def test_one_stream_too_many_is_refused_alone(build: Build, urls: Urls) -> None:
    async with wire(await build(settings(streams_max=2))) as peer:
        await peer.until(lambda: peer.h2.remote_settings.max_concurrent_streams == 2)
        peer.h2.remote_settings.max_concurrent_streams = 1000
        peer.h2.remote_settings.acknowledge()
        for stream in (1, 3, 5):
            peer.call(stream, {":path": LIST})
        await peer.until(lambda: 5 in peer.resets)
        assert peer.resets == {5: h2.errors.ErrorCodes.REFUSED_STREAM}
        urls.release.set()
        await peer.until(lambda: {1, 3} <= peer.ended)
        peer.call(7, {":path": LIST})
        await peer.until(lambda: 7 in peer.ended)
        assert {peer.headers[stream]["grpc-status"] for stream in (1, 3, 7)} == {"0"}


async def test_idle_connections_are_pinged_and_dead_ones_dropped(build: Build) -> None:
    async with wire(await build(settings(keepalive_seconds=0.05, keepalive_timeout_seconds=0.2))) as peer:
        await peer.until(lambda: peer.pings >= 3)
        await asyncio.sleep(0.5)  # without reading, no ping is answered
        await peer.until(lambda: peer.closed)


@pytest.mark.parametrize("kind", ["ping", "settings", "reset", "empty data"])
async def test_a_flood_of_idle_frames_ends_the_connection(build: Build, kind: str) -> None:
    async with wire(await build()) as peer:
        peer.call(1, {":path": LIST}, body=None)
        peer.h2.remote_settings.max_concurrent_streams = 10**6
        peer.h2.remote_settings.acknowledge()
        for number in range(1500):
            if kind == "ping":
                peer.h2.ping(b"12345678")
            elif kind == "settings":
                peer.h2.update_settings({h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: 65_536 + number})
            elif kind == "reset":
                peer.call(3 + 2 * number, {":path": LIST}, body=None)
                peer.h2.reset_stream(3 + 2 * number)
            else:
                peer.h2.send_data(1, b"")
        peer.flush()
        await peer.until(lambda: peer.goaway is not None or peer.closed)
        assert peer.goaway in (h2.errors.ErrorCodes.ENHANCE_YOUR_CALM, None)  # None: our own bytes overtook it


async def test_a_connection_that_never_greets_is_closed(build: Build) -> None:
    server = await build(settings(handshake_seconds=0.1))
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    async with asyncio.timeout(5):
        await reader.read()
    writer.close()


async def test_an_idle_connection_is_told_to_go(build: Build) -> None:
    async with wire(await build(settings(handshake_seconds=0.1, idle_seconds=0.1))) as peer:
        await peer.until(lambda: peer.goaway is not None)
        assert peer.goaway == 0


async def test_connections_are_counted(build: Build) -> None:
    server = await build(settings(connections_max=1))
    async with wire(server) as first, wire(server) as second:
        first.call(1)
        await first.until(lambda: 1 in first.ended)
        await second.until(lambda: second.closed)


async def test_answers_that_nobody_reads_are_bounded(build: Build) -> None:
    async with wire(await build(settings(streams_max=20, default_timeout_seconds=0.5))) as peer:
        peer.h2.update_settings({h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: 0})
        body = codec.encode(pb.CreateUrlRequest(expires_at=300_000))
        for stream in range(1, 21, 2):
            peer.call(stream, {":path": CREATE}, b"\0" + len(body).to_bytes(4, "big") + body)
        await peer.until(lambda: len(peer.ended | set(peer.resets)) == 10)
        states = [peer.headers[stream]["grpc-status"] for stream in range(1, 21, 2)]
        assert states.count("8") == 7
        assert states.count("4") == 3


async def test_tls_with_client_certificates(urls: Urls, tmp_path: Path) -> None:
    names = certificates(tmp_path)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=names["ca"])
    context.load_cert_chain(names["cert"], names["key"])
    context.verify_mode = ssl.CERT_REQUIRED
    context.set_alpn_protocols(["h2"])
    server = RpcServer(guarded([urls], new_id=str), settings=settings(handshake_seconds=0.5))
    await server.start("127.0.0.1", 0, ssl=context)
    target, request = f"localhost:{server.port}", pb.GetUrlRequest(short_code="a")
    key, cert, ca = [await asyncio.to_thread(Path(names[name]).read_bytes) for name in ("key", "cert", "ca")]
    try:
        async with grpc.aio.secure_channel(target, grpc.ssl_channel_credentials(ca, key, cert)) as opened:
            assert (await method(opened, GET)(request)).found
        async with grpc.aio.secure_channel(target, grpc.ssl_channel_credentials(ca)) as opened:
            assert (await status_of(method(opened, GET)(request)))[0] is grpc.StatusCode.UNAVAILABLE
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        async with asyncio.timeout(5):
            await reader.read()  # who does not shake hands is dropped
        writer.close()
    finally:
        server.close()
        await server.wait_closed()


def certificates(folder: Path) -> dict[str, str]:
    """Make a certificate for localhost that is its own authority, with openssl."""
    key, cert = str(folder / "key.pem"), str(folder / "cert.pem")
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
    extension = ["-addext", "subjectAltName=DNS:localhost", "-keyout", key, "-out", cert]
    subprocess.run([*command, *extension], check=True, capture_output=True, timeout=60)
    return {"key": key, "cert": cert, "ca": cert}
