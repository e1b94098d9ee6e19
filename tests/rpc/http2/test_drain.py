"""Stopping: two GOAWAYs, calls under way are answered, nothing is left behind. And TLS."""

import asyncio
import contextlib
import datetime as dt
import ssl
from pathlib import Path

import grpc
import grpc.aio
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from shortener.gen.url import GetUrlRequest
from shortener.rpc.http2 import RpcServer, connection
from tests.support.h2_peer import GRPC, Odd, channel_to, method, serving
from tests.support.h2_wire import frame, wire
from tests.support.waiting import until

LAST = 2**31 - 1


async def test_draining_says_goaway_twice_and_answers_what_is_under_way() -> None:
    odd = Odd()
    async with serving(odd) as server, wire(server) as client:
        client.write(client.call(1, "/test.Odd/wait"))
        await client.settle()
        drain = asyncio.create_task(server.drain(5))
        async with asyncio.timeout(5):
            while not client.goaways:
                await client.next_frame()
        ping = await client.next_frame()
        assert ping is not None
        client.write(client.call(3, "/test.Odd/wait"))  # it was on its way when we asked
        client.write(frame(6, 1, 0, ping.opaque_data))  # type: ignore[attr-defined]
        client.write(client.call(5))
        await client.settle()
        assert client.goaways == [(LAST, 0), (3, 0)]
        assert client.answers[5].reset == 7
        odd.gate.set()
        assert [(await client.ended(number)).status for number in (1, 3)] == ["0", "0"]
        await client.finish()
        await drain


async def test_draining_does_not_wait_for_a_client_that_ignores_our_ping(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "_DRAIN_PING_SECONDS", 0.05)
    odd = Odd()
    async with serving(odd) as server, wire(server) as client:
        await client.settle()
        await server.drain(5)
        await client.finish()
        assert client.goaways == [(LAST, 0), (0, 0)]


async def test_clients_of_grpcio_lose_no_call_in_a_drain() -> None:
    odd = Odd()
    async with serving(odd) as server, channel_to(server) as channel:
        calls = [asyncio.ensure_future(method(channel, "wait")(GetUrlRequest(str(n)))) for n in range(20)]
        await until(lambda: len(odd.started) == 20)
        drain = asyncio.create_task(server.drain(5))
        await asyncio.sleep(0.01)
        odd.gate.set()
        assert {reply.found for reply in await asyncio.gather(*calls)} == {True}
        await drain
        assert server.connections == 0


async def test_the_grace_ends_and_closing_answers_unavailable() -> None:
    odd = Odd()
    async with serving(odd) as server, wire(server) as client:
        client.write(client.call(1, "/test.Odd/wait"))
        await client.settle()
        await server.drain(0.05)
        server.close()
        await client.finish()
        assert (client.answers[1].status, client.answers[1].headers.get("grpc-message")) == (
            "14",
            "the server is stopping",
        )
        await server.wait_closed()
        assert odd.ended == ["CancelledError"]


async def test_a_closed_server_leaves_nothing_behind_and_can_follow_itself() -> None:
    for _ in range(2):
        odd = Odd()
        async with serving(odd) as server, wire(server) as client:
            client.write(client.call(1), client.call(3, "/test.Odd/wait"))
            await client.settle()
            assert client.answers[1].status == "0"
        assert len(asyncio.all_tasks()) == 1
        assert server.connections == 0


async def test_closing_waits_for_handlers_and_not_for_clients() -> None:
    async with serving(Odd()) as server, wire(server) as client:
        client.write(client.call(1, "/test.Odd/wait"))
        await client.settle()
        server.close()
        await server.wait_closed()
        assert server.connections == 0


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Make a certificate for localhost that signs itself."""
    folder = tmp_path_factory.mktemp("tls")
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    (folder / "cert.pem").write_bytes(made.public_bytes(pem))
    plain = serialization.NoEncryption()
    (folder / "key.pem").write_bytes(key.private_bytes(pem, serialization.PrivateFormat.PKCS8, plain))
    return folder / "cert.pem", folder / "key.pem"


async def test_tls_serves_clients_that_choose_h2_and_no_others(certificate: tuple[Path, Path]) -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(*certificate)
    server = RpcServer([Odd()], GRPC)
    await server.start("127.0.0.1", 0, ssl=context)
    credentials = grpc.ssl_channel_credentials(certificate[0].read_bytes())
    async with grpc.aio.secure_channel(f"localhost:{server.port}", credentials) as channel:
        assert (await method(channel, "echo")(GetUrlRequest("x" * 100_000))).found
    client = ssl.create_default_context(cafile=str(certificate[0]))
    client.set_alpn_protocols(["http/1.1"])

    async def first_byte() -> bytes:
        reader, writer = await asyncio.open_connection("localhost", server.port, ssl=client)
        with contextlib.closing(writer):
            return await reader.readexactly(1)

    with pytest.raises((ConnectionError, ssl.SSLError, asyncio.IncompleteReadError)):
        await first_byte()
    server.close()
    await server.wait_closed()
