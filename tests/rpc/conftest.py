"""Fixtures for tests that run over both gRPC servers."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from shortener.rpc import reflection
from shortener.rpc.guard import guarded
from shortener.rpc.health import Health, Serving
from shortener.rpc.settings import RpcSettings
from tests.rpc.both import NAMES, AnyServer, Build, new_server
from tests.rpc.fakes import SETTINGS, Urls


@pytest.fixture(params=NAMES)
def server_name(request: pytest.FixtureRequest) -> str:
    """Which server: the same names as in the configuration."""
    return str(request.param)


@pytest.fixture
async def urls() -> Urls:
    return Urls()


@pytest.fixture
async def serving() -> Serving:
    return Serving()


@pytest.fixture
async def build(server_name: str, urls: Urls, serving: Serving) -> AsyncIterator[Build]:
    """Start servers with the fake service, health and reflection, or with `services` and nothing else."""
    servers: list[AnyServer] = []

    async def start(limits: RpcSettings = SETTINGS, services: Any = None, **options: Any) -> AnyServer:
        if services is None:
            services = [urls, Health(serving, [urls])]
            services += reflection.reflection(services)
            services = guarded(services, new_id=lambda: "request-1", **options)
        server = new_server(server_name, services, settings=limits)
        await server.start("127.0.0.1", 0)
        servers.append(server)
        return server

    yield start
    for server in servers:
        server.close()
        await server.wait_closed()
