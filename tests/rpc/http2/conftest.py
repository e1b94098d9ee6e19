"""Fixtures for tests of the HTTP/2 server by clients of others."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from shortener.config.sections import Grpc
from shortener.rpc import reflection
from shortener.rpc.guard import guarded
from shortener.rpc.health import Health, Serving
from shortener.rpc.http2 import RpcServer
from tests.rpc.http2.served import Build, new_server
from tests.support.rpc_services import GRPC, Urls


@pytest.fixture
async def urls() -> Urls:
    return Urls()


@pytest.fixture
async def serving() -> Serving:
    return Serving()


@pytest.fixture
async def build(urls: Urls, serving: Serving) -> AsyncIterator[Build]:
    """Start servers with the fake service, health and reflection, or with `services` and nothing else."""
    servers: list[RpcServer] = []

    async def start(grpc: Grpc = GRPC, services: Any = None, **options: Any) -> RpcServer:
        if services is None:
            services = [urls, Health(serving, [urls])]
            services += reflection.reflection(services)
            services = guarded(services, new_id=lambda: "request-1", **options)
        server = new_server(services, grpc)
        await server.start("127.0.0.1", 0)
        servers.append(server)
        return server

    yield start
    for server in servers:
        server.close()
        await server.wait_closed()
