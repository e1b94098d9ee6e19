"""Requests, floods and silences of hand-made HTTP/2, and TLS."""

import asyncio
import ssl
import subprocess
from pathlib import Path

import grpc
import h2.errors
import h2.settings
import pytest

from shortener.gen import url as pb
from shortener.rpc.guard import guarded
from tests.rpc.http2.hostile_client import wire
from tests.rpc.http2.served import CREATE, GET, LIST, Build, method, new_server, status_of
from tests.support.rpc_services import Urls, settings


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


async def test_a_line_break_in_metadata_is_never_let_in(build: Build, urls: Urls) -> None:
    async with wire(await build()) as peer:
        peer.call(1, {"x": "a\r\nb"})
        await peer.until(lambda: 1 in peer.ended or 1 in peer.resets)
        assert peer.headers[1]["grpc-status"] in ("3", "13")
        assert urls.metadata == []


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
    async with wire(await build(settings(streams_max=20, timeout_seconds=0.5))) as peer:
        peer.h2.update_settings({h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: 0})
        body = bytes(pb.CreateUrlRequest(expires_at=300_000))
        for stream in range(1, 21, 2):
            peer.call(stream, {":path": CREATE}, b"\0" + len(body).to_bytes(4, "big") + body)
        await peer.until(lambda: len(peer.ended | set(peer.resets)) == 10)
        states = [peer.headers[stream]["grpc-status"] for stream in range(1, 21, 2)]
        assert set(states) <= {"4", "8"}


async def test_tls_with_client_certificates(urls: Urls, tmp_path: Path) -> None:
    names = certificates(tmp_path)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=names["ca"])
    context.load_cert_chain(names["cert"], names["key"])
    context.verify_mode = ssl.CERT_REQUIRED
    context.set_alpn_protocols(["h2"])
    server = new_server(guarded([urls], new_id=str), settings(handshake_seconds=0.5))
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
