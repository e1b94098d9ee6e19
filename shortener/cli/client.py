"""How the command line reaches the service: over gRPC, or offline by opening the data directory."""

import asyncio
import ssl
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar, cast

import grpclib
from google.rpc.error_details_pb2 import ErrorInfo  # type: ignore[import-untyped] # ships no annotations
from grpclib.client import Channel

from shortener.api import Operation, by_path
from shortener.caller import TRUSTED
from shortener.config.loading import service_token
from shortener.config.sections import Config
from shortener.errors import Conflict, OperatorError
from shortener.gen.analytics import AnalyticsServiceStub
from shortener.gen.url import UrlServiceStub
from shortener.gen.user import UserServiceStub
from shortener.server.sockets import join
from shortener.server.tls import client_context
from shortener.storage import files
from shortener.storage.data_dir import InUseError, owner_of

CONNECT_SECONDS = 2.0
CALL_SECONDS = 15.0
"""Deadline of each call."""
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Api:
    """The three services; in process or far away, they are called alike."""

    urls: UrlServiceStub
    users: UserServiceStub
    analytics: AnalyticsServiceStub


async def call_server(config: Config, server: str | None, talk: Callable[[Api], Awaitable[T]]) -> T:
    """Run `talk` against the server at `server`, or against the configured one. Raises `OperatorError`."""
    host, port = _address(config, server)
    where = join(host, port)
    if not await _listens(host, port):
        raise OperatorError(f"no server listens on {server}" if server else _how_to_reach_one(config))
    token = service_token(config)
    try:
        async with Channel(host, port, ssl=client_context(config.grpc, own=not server)) as channel:
            return await talk(_stubs(channel, token))
    except grpclib.GRPCError as error:
        raise OperatorError(_with_suggestions(error.message or error.status.name, _suggestions(error))) from None
    except TimeoutError:
        raise OperatorError(f"{where} did not answer within {CALL_SECONDS:.0f} seconds") from None
    except ssl.SSLError as error:
        reason = (error.reason or str(error)).lower().replace("_", " ")
        raise OperatorError(f"{where}: no TLS connection: {reason}") from None
    except (OSError, grpclib.exceptions.ProtocolError, grpclib.exceptions.StreamTerminatedError):
        how = "" if config.grpc.tls_certificate else " without TLS"
        raise OperatorError(f"{where} does not speak gRPC{how}") from None


async def call_offline(config: Config, talk: Callable[[Api], Awaitable[T]], *, creates: bool) -> T:
    """Run `talk` in this process, on the data directory. `creates` tells that a new database will do.

    Raises `OperatorError`, also when a server runs on the directory, and the domain's failures.
    """
    from shortener.app import open_app  # noqa: PLC0415 - half a second that a client need not wait

    data_dir = Path(config.storage.data_dir)
    if not creates and not (data_dir / files.DATABASE).exists():
        raise OperatorError(f"data directory {data_dir} holds no database")
    try:
        async with open_app(config) as app:
            return await talk(_local(by_path(app.operations)))
    except InUseError as error:
        raise OperatorError(f"{error}: leave --offline away to work with it") from None
    except Conflict as conflict:
        raise OperatorError(_with_suggestions(conflict.message, conflict.suggestions)) from None


def _how_to_reach_one(config: Config) -> str:
    """Return what to tell somebody whose server does not listen where the configuration says."""
    grpc, data_dir = config.grpc, config.storage.data_dir
    nobody = f"no server listens on {join(grpc.host, grpc.url_port)}"
    if grpc.url_port == 0:
        nobody = "nothing tells where the server listens (grpc.url_port is 0)"
    if owner := owner_of(Path(data_dir)):
        return f"{nobody}, but process {owner} uses data directory {data_dir}: name its address with --server"
    return (
        f"{nobody}: start one with `shortener serve`, name another with --server HOST:PORT, "
        f"or work on data directory {data_dir} with --offline"
    )


def _with_suggestions(message: str, suggestions: Sequence[str]) -> str:
    return f"{message}; free are {', '.join(suggestions)}" if suggestions else message


def _suggestions(error: grpclib.GRPCError) -> list[str]:
    found = [sorted(detail.metadata.items()) for detail in error.details or () if isinstance(detail, ErrorInfo)]
    return [text for items in found for name, text in items if name.startswith("suggestion")]


def _address(config: Config, server: str | None) -> tuple[str, int]:
    if not server:
        return config.grpc.host, config.grpc.url_port
    host, _, port = server.rpartition(":")
    if not host or not port.isdecimal() or int(port) > 65_535:
        raise OperatorError(f"--server must be HOST:PORT, not {server!r}")
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
    with suppress(OSError):  # It hung up first; it listens all the same.
        await writer.wait_closed()
    return True


def _stubs(channel: Channel, token: str = "") -> Api:
    metadata = {"authorization": f"Bearer {token}"} if token else None
    return Api(
        UrlServiceStub(channel, timeout=CALL_SECONDS, metadata=metadata),
        UserServiceStub(channel, timeout=CALL_SECONDS, metadata=metadata),
        AnalyticsServiceStub(channel, timeout=CALL_SECONDS, metadata=metadata),
    )


def _local(operations: Mapping[str, Operation]) -> Api:
    """Return stubs that call the operations of this process instead of a server's."""

    async def call(path: str, request: object, _: object, **__: object) -> object:
        return await operations[path].function(request, TRUSTED)

    api = _stubs(cast("Channel", None))
    for stub in (api.urls, api.users, api.analytics):
        vars(stub)["_unary_unary"] = call
    return api
