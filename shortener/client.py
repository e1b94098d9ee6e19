"""How the command line reaches the service: over gRPC when a server runs, else by opening the data directory."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TypeVar

import grpclib
from grpclib.client import Channel

from shortener.app import open_app
from shortener.config import service_token
from shortener.gen.analytics import AnalyticsServiceBase, AnalyticsServiceStub
from shortener.gen.url import UrlServiceBase, UrlServiceStub
from shortener.gen.user import UserServiceBase, UserServiceStub
from shortener.sections import Config

CONNECT_SECONDS = 2.0
T = TypeVar("T")


class Refused(Exception):  # noqa: N818 - reads as client.Refused
    """The server answered with an error, or could not be spoken to."""


@dataclass(frozen=True, slots=True)
class Api:
    """The three services; in process or far away, they are called alike."""

    urls: UrlServiceStub | UrlServiceBase
    users: UserServiceStub | UserServiceBase
    analytics: AnalyticsServiceStub | AnalyticsServiceBase


async def call(config: Config, server: str | None, talk: Callable[[Api], Awaitable[T]]) -> T:
    """Run `talk` against the server, or against the data directory when none listens and none was named.

    Raises `Refused` for every answer but OK, and the domain's failures when working in process.
    """
    host, port = _address(config, server)
    if await _listens(host, port):
        try:
            async with _remote(config, host, port) as api:
                return await talk(api)
        except grpclib.GRPCError as error:
            raise Refused(error.message or error.status.name) from None
        except (OSError, grpclib.exceptions.StreamTerminatedError) as error:
            raise Refused(f"{host}:{port}: {error}") from None
    if server:
        raise Refused(f"no server listens on {server}")
    async with open_app(config) as app:
        return await talk(Api(app.urls, app.users, app.statistics))


def _address(config: Config, server: str | None) -> tuple[str, int]:
    if not server:
        return config.grpc.host, config.grpc.url_port
    host, _, port = server.rpartition(":")
    if not host or not port.isdecimal() or int(port) > 65_535:
        raise Refused(f"--server must be HOST:PORT, not {server!r}")
    return host.strip("[]"), int(port)


async def _listens(host: str, port: int) -> bool:
    if port == 0:
        return False
    try:
        async with asyncio.timeout(CONNECT_SECONDS):
            _, writer = await asyncio.open_connection(host, port)
    except (OSError, TimeoutError):
        return False
    writer.close()
    await writer.wait_closed()
    return True


@asynccontextmanager
async def _remote(config: Config, host: str, port: int) -> AsyncIterator[Api]:
    tls = ssl.create_default_context(cafile=config.grpc.tls_certificate) if config.grpc.tls_certificate else None
    token = service_token(config)
    metadata = {"authorization": f"Bearer {token}"} if token else None
    async with Channel(host, port, ssl=tls) as channel:
        yield Api(
            UrlServiceStub(channel, metadata=metadata),
            UserServiceStub(channel, metadata=metadata),
            AnalyticsServiceStub(channel, metadata=metadata),
        )
