"""gRPC beyond loopback asks for the service token, except for health; tried on both gRPC servers."""

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from shortener.config.loading import ConfigError, check
from shortener.config.sections import Config, Grpc
from tests.support import process
from tests.support.clients import ask

TOKEN = "a-service-token-of-some-length"
SECONDS_MAX = 10
WRONG = [
    (),
    (("authorization", TOKEN),),
    (("authorization", f"Bearer {TOKEN}x"),),
    (("authorization", f"Bearer {TOKEN[:-1]}"),),
    (("authorization", f"Bearer  {TOKEN}"),),
    (("authorization", f"Basic {TOKEN}"),),
    (("authorization", "Bearer"),),
    (("authorization", f"Bearer {TOKEN.upper()}"),),
    (("x-authorization", f"Bearer {TOKEN}"),),
    (("authorization", "Bearer x"), ("authorization", f"Bearer {TOKEN}")),
]


@pytest.mark.parametrize(
    "host", ["0.0.0.0", "::", "", "192.0.2.1", "example.com", "127.0.0.1.example", "[::1]", "10.0.0.1"]
)
def test_beyond_loopback_something_must_guard_the_door(host: str) -> None:
    with pytest.raises(ConfigError, match=r"\[grpc\] host .* is not loopback"):
        check(Config(grpc=Grpc(host=host)))
    check(Config(grpc=Grpc(host=host, service_token=TOKEN)))
    check(Config(grpc=Grpc(host=host, allow_insecure=True)))


def test_by_default_every_listener_is_on_loopback(server: process.Running) -> None:
    assert {address.rpartition(":")[0] for address in (server.url, server.user, server.analytics)} == {"127.0.0.1"}
    assert {address.rpartition(":")[0] for address in (server.gateway, server.redirect)} == {"127.0.0.1"}


@pytest.fixture(scope="module", params=["own", "grpclib"])
def guarded(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[process.Running]:
    home: Path = tmp_path_factory.mktemp("access")
    (home / "token").write_text(TOKEN + "\n")
    host = "0.0.0.0" if request.param == "own" else "127.0.0.1"  # grpclib's server is for loopback
    settings = {"GRPC_HOST": host, "GRPC_SERVICE_TOKEN_FILE": home / "token", "GRPC_SERVER": request.param}
    with process.running(home / "data", **settings) as server:
        yield server


def ports(server: process.Running) -> list[str]:
    return [address.replace("0.0.0.0", "127.0.0.1") for address in (server.url, server.user, server.analytics)]


def methods(pb: SimpleNamespace) -> list[str]:
    """The paths of all methods of the three services."""
    files = (pb.url_pb2.DESCRIPTOR, pb.user_pb2.DESCRIPTOR, pb.analytics_pb2.DESCRIPTOR)
    return [
        f"/{service.full_name}/{method.name}"
        for file in files
        for service in file.services_by_name.values()
        for method in service.methods
    ]


def outcome(channel: grpc.Channel, path: str, metadata: tuple[tuple[str, str], ...]) -> str:
    try:
        channel.unary_unary(path)(b"", metadata=metadata, timeout=SECONDS_MAX)
    except grpc.RpcError as error:
        return str(error.code().name)
    return "OK"


def test_no_method_is_open_on_any_port(guarded: process.Running, pb: SimpleNamespace) -> None:
    held = (("authorization", f"Bearer {TOKEN}"),)
    paths = methods(pb)
    assert len(paths) >= 15
    for address in ports(guarded):
        with grpc.insecure_channel(address) as channel:
            served = [path for path in paths if outcome(channel, path, held) != "UNIMPLEMENTED"]
            assert served
            for path in served:
                assert {outcome(channel, path, wrong) for wrong in WRONG} == {"UNAUTHENTICATED"}, path
                assert outcome(channel, path, held) != "UNAUTHENTICATED", path
    with grpc.insecure_channel(ports(guarded)[0]) as channel:
        assert [path for path in paths if outcome(channel, path, held) == "UNIMPLEMENTED"] == []


def test_reflection_needs_the_token_and_health_does_not(guarded: process.Running) -> None:
    wanted = reflection_pb2.ServerReflectionRequest(list_services="*")
    for address in ports(guarded):
        with grpc.insecure_channel(address) as channel:
            reflection = reflection_pb2_grpc.ServerReflectionStub(channel).ServerReflectionInfo
            with pytest.raises(grpc.RpcError) as caught:
                list(reflection(iter([wanted]), timeout=SECONDS_MAX))
            assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED
            held = (("authorization", f"Bearer {TOKEN}"),)
            assert len(list(reflection(iter([wanted]), metadata=held, timeout=SECONDS_MAX))) == 1
            health = health_pb2_grpc.HealthStub(channel)
            answer = health.Check(health_pb2.HealthCheckRequest(), timeout=SECONDS_MAX)
            assert answer.status == health_pb2.HealthCheckResponse.SERVING
            watched = health.Watch(health_pb2.HealthCheckRequest(), timeout=SECONDS_MAX)
            assert next(watched).status == health_pb2.HealthCheckResponse.SERVING
            watched.cancel()
    assert ask(guarded.gateway, "GET", "/readyz").status == 200
