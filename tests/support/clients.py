"""Stock clients of a running server, and what the tests of the contract's rules ask through them."""

import contextlib
import http.client
import json
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import grpc
import h2.connection
import h2.events
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from tests.support.process import Running

SECONDS_MAX = 10


@contextlib.contextmanager
def stubs_of(pb: SimpleNamespace, server: Running) -> Iterator[SimpleNamespace]:
    """Give the three services as grpcio's stubs, all on the one port that has them all."""
    with grpc.insecure_channel(server.url) as channel:
        yield SimpleNamespace(
            channel=channel,
            urls=pb.url_pb2_grpc.URLServiceStub(channel),
            users=pb.user_pb2_grpc.UserServiceStub(channel),
            analytics=pb.analytics_pb2_grpc.AnalyticsServiceStub(channel),
        )


def status(call: Callable[..., Any], request: object) -> str:
    """Return the name of the status that a call ends with."""
    try:
        call(request, timeout=SECONDS_MAX)
    except grpc.RpcError as error:
        return str(error.code().name)
    return "OK"


def refusal(call: Callable[..., Any], request: object) -> tuple[str, str, list[Any]]:
    """Return status, message and the decoded google.rpc details of a call that must fail."""
    try:
        call(request, timeout=SECONDS_MAX)
    except grpc.RpcError as error:
        whole = rpc_status.from_call(error)
        return error.code().name, error.details(), [_unpacked(detail) for detail in whole.details] if whole else []
    raise AssertionError(f"not refused: {request!r:.200}")


def _unpacked(detail: Any) -> Any:
    kind = getattr(error_details_pb2, detail.TypeName().rpartition(".")[2])
    message = kind()
    assert detail.Unpack(message)
    return message


@dataclass
class Heard:
    """What came back on one stream, in order: the names of h2's events, all headers, the data."""

    events: list[str] = field(default_factory=list)
    headers: dict[str, str] = field(default_factory=dict)
    data: bytes = b""


def call_over_h2(address: str, path: str, message: bytes, *headers: tuple[str, str]) -> Heard:
    """Make one unary call with nothing but an HTTP/2 codec, so that every frame of the answer shows."""
    host, _, port = address.rpartition(":")
    heard = Heard()
    connection = h2.connection.H2Connection()
    connection.initiate_connection()
    named = [(":method", "POST"), (":scheme", "http"), (":path", path), (":authority", address)]
    connection.send_headers(1, [*named, ("te", "trailers"), ("content-type", "application/grpc"), *headers])
    connection.send_data(1, b"\0" + len(message).to_bytes(4, "big") + message, end_stream=True)
    with socket.create_connection((host, int(port)), timeout=SECONDS_MAX) as peer:
        peer.sendall(connection.data_to_send())
        while "StreamEnded" not in heard.events:
            piece = peer.recv(65_536)
            assert piece, heard
            for event in connection.receive_data(piece):
                _note(heard, event)
            peer.sendall(connection.data_to_send())
    return heard


def _note(heard: Heard, event: h2.events.Event) -> None:
    name = type(event).__name__
    if isinstance(event, h2.events.ResponseReceived | h2.events.TrailersReceived):
        heard.headers |= {_text(key): _text(value) for key, value in event.headers or []}
    if isinstance(event, h2.events.DataReceived):
        heard.data += event.data or b""
    if name in ("ResponseReceived", "DataReceived", "TrailersReceived", "StreamEnded", "StreamReset"):
        heard.events.append(name)


def _text(value: Any) -> str:
    return value.decode("ascii") if isinstance(value, bytes) else str(value)


@dataclass(frozen=True)
class Answer:
    """One HTTP answer; header names are lower-case."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def ask(address: str, method: str, path: str, body: object = None, *, token: str = "", **headers: str) -> Answer:
    """Send one HTTP request exactly as it is given; an object becomes JSON, `x_y` the header `x-y`."""
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    if token:
        sent["Authorization"] = f"Bearer {token}"
    if isinstance(body, dict):
        body, sent["Content-Type"] = json.dumps(body).encode(), "application/json"
    host, _, port = address.rpartition(":")
    connection = http.client.HTTPConnection(host, int(port), timeout=SECONDS_MAX)
    try:
        connection.request(method, path, body, sent)  # type: ignore[arg-type]  # bytes or None by now
        response = connection.getresponse()
        return Answer(response.status, {key.lower(): value for key, value in response.getheaders()}, response.read())
    finally:
        connection.close()
