"""Idempotency keys as callers send them: metadata over both gRPC servers, a header over REST."""

import http.client
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import grpc
import pytest
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo  # type: ignore[import-untyped] # no annotations
from grpc_status import rpc_status

from tests.conftest import both_servers
from tests.support.process import Running

pytestmark = both_servers

Metadata = tuple[tuple[str, str], ...]
CREATE, CUSTOM = "/url.URLService/CreateURL", "/url.URLService/CreateCustomURL"
TRACK = "/analytics.AnalyticsService/TrackClick"
BAD_KEY = "idempotency-key must be 1 to 255 visible ASCII characters"
TWICE = "idempotency-key is given more than once"
REUSED = "idempotency-key was used for another request"


def keyed(*keys: str) -> Metadata:
    return tuple(("idempotency-key", key) for key in keys)


@pytest.fixture
def channel(server: Running) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(server.url) as opened:
        yield opened


@pytest.fixture
def owner(request: pytest.FixtureRequest) -> str:
    return request.node.name.replace("[", "-").replace("]", "")[:64]


def call(channel: grpc.Channel, path: str, request: Any, metadata: Metadata = ()) -> bytes:
    """Return the answer as it came over the wire."""
    answer: bytes = channel.unary_unary(path)(request.SerializeToString(), metadata=metadata, timeout=10)
    return answer


def refusal(channel: grpc.Channel, path: str, request: Any, metadata: Metadata) -> tuple[Any, ...]:
    with pytest.raises(grpc.RpcError) as raised:
        call(channel, path, request, metadata)
    [packed] = rpc_status.from_call(raised.value).details
    detail = {BadRequest.DESCRIPTOR.full_name: BadRequest, ErrorInfo.DESCRIPTOR.full_name: ErrorInfo}[
        packed.TypeName()
    ]()
    packed.Unpack(detail)
    return raised.value.code(), raised.value.details(), detail


def requests(pb: SimpleNamespace, owner: str, code: str = "") -> list[tuple[str, Any, Any]]:
    """A call of each method that takes a key, and one that asks for something else."""
    create, custom, track = (
        pb.url_pb2.CreateURLRequest,
        pb.url_pb2.CreateCustomURLRequest,
        pb.analytics_pb2.TrackClickRequest,
    )
    url, other = "https://example.com/", "https://example.com/other"
    alias = f"a-{abs(hash(owner)) % 10**12}"
    calls = [
        (CREATE, create(long_url=url, user_id=owner), create(long_url=other, user_id=owner)),
        (CUSTOM, custom(alias=alias, long_url=url, user_id=owner), custom(alias=alias, long_url=other, user_id=owner)),
    ]
    if code:
        calls.append((TRACK, track(short_code=code), track(short_code=code, user_agent="other")))
    return calls


def new_link(channel: grpc.Channel, pb: SimpleNamespace, owner: str) -> str:
    request = pb.url_pb2.CreateURLRequest(long_url="https://example.com/", user_id=owner)
    return str(pb.url_pb2.CreateURLResponse.FromString(call(channel, CREATE, request)).short_code)


def test_a_call_that_comes_again_is_answered_with_the_same_bytes(
    channel: grpc.Channel, pb: SimpleNamespace, owner: str
) -> None:
    code = new_link(channel, pb, owner)
    for path, request, _ in requests(pb, owner, code):
        first = call(channel, path, request, keyed("key"))
        assert [call(channel, path, request, keyed("key")) for _ in range(3)] == [first] * 3
        if path != CUSTOM:
            assert call(channel, path, request) != first
            assert call(channel, path, request, keyed("key2")) != first
    stub = pb.url_pb2_grpc.URLServiceStub(channel)
    assert stub.GetURL(pb.url_pb2.GetURLRequest(short_code=code)).url.clicks == 3
    assert stub.ListURLs(pb.url_pb2.ListURLsRequest(user_id=owner)).total == 5


def test_many_at_once_are_one(channel: grpc.Channel, pb: SimpleNamespace, owner: str) -> None:
    code = new_link(channel, pb, owner)
    with ThreadPoolExecutor(16) as threads:
        for path, request, _ in requests(pb, owner, code):
            answers = threads.map(lambda _, p=path, r=request: call(channel, p, r, keyed("key")), range(64))  # type: ignore[misc] # mypy cannot infer lambdas with defaults
            assert len(set(answers)) == 1
    stub = pb.url_pb2_grpc.URLServiceStub(channel)
    assert stub.ListURLs(pb.url_pb2.ListURLsRequest(user_id=owner)).total == 3
    assert stub.GetURL(pb.url_pb2.GetURLRequest(short_code=code)).url.clicks == 1


def test_what_is_wrong_with_a_key_is_said(channel: grpc.Channel, pb: SimpleNamespace, owner: str) -> None:
    def invalid(message: str) -> tuple[Any, ...]:
        violation = BadRequest.FieldViolation(field="idempotency-key", description=message)
        return grpc.StatusCode.INVALID_ARGUMENT, message, BadRequest(field_violations=[violation])

    info = ErrorInfo(reason="ALREADY_EXISTS", domain="shortener", metadata={"field": "idempotency-key"})
    code = new_link(channel, pb, owner)
    for path, request, other in requests(pb, owner, code):
        assert refusal(channel, path, request, keyed("")) == invalid(BAD_KEY)
        assert refusal(channel, path, request, keyed("a b")) == invalid(BAD_KEY)
        assert refusal(channel, path, request, keyed("k" * 256)) == invalid(BAD_KEY)
        assert refusal(channel, path, request, keyed("one", "two")) == invalid(TWICE)
        call(channel, path, request, keyed("key"))
        assert refusal(channel, path, other, keyed("key")) == (grpc.StatusCode.ALREADY_EXISTS, REUSED, info)


def test_methods_that_take_no_key_do_not_mind_one(channel: grpc.Channel, pb: SimpleNamespace, owner: str) -> None:
    stub = pb.url_pb2_grpc.URLServiceStub(channel)
    request = pb.url_pb2.ListURLsRequest(user_id=owner)
    assert stub.ListURLs(request, metadata=keyed("a b", "c")).total == 0


@pytest.fixture
def account(server: Running, pb: SimpleNamespace, owner: str) -> tuple[str, str]:
    """Id and token of a new account."""
    with grpc.insecure_channel(server.user) as channel:
        stub = pb.user_pb2_grpc.UserServiceStub(channel)
        email = f"{abs(hash(owner))}@example.com"
        stub.Register(pb.user_pb2.RegisterRequest(email=email, password="password", name="Ann"))
        answer = stub.Login(pb.user_pb2.LoginRequest(email=email, password="password"))
    return answer.user_id, answer.token


class Gateway:
    """POSTs over one connection."""

    def __init__(self, server: Running, token: str) -> None:
        self.connection = http.client.HTTPConnection(server.gateway, timeout=10)
        self.token = token

    def post(self, path: str, body: object, *keys: str) -> tuple[int, dict[str, str], bytes]:
        self.connection.putrequest("POST", path)
        content = json.dumps(body).encode()
        headers = {"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"}
        for name, value in (headers | {"Content-Length": str(len(content))}).items():
            self.connection.putheader(name, value)
        for key in keys:
            self.connection.putheader("Idempotency-Key", key)
        self.connection.endheaders(content)
        answer = self.connection.getresponse()
        return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()


def test_over_rest_too(server: Running, channel: grpc.Channel, pb: SimpleNamespace, account: tuple[str, str]) -> None:
    user_id, token = account
    gateway = Gateway(server, token)
    for path, body in (
        ("/api/urls", {"long_url": "https://example.com/"}),
        ("/api/urls/custom", {"long_url": "https://example.com/", "alias": f"rest-{user_id}"}),
    ):
        first = gateway.post(path, body, "key")
        again = gateway.post(path, body, "key")
        assert (first[0], first[2], first[1]["location"]) == (again[0], again[2], again[1]["location"])
        assert (first[0], first[1].get("idempotent-replayed"), again[1].get("idempotent-replayed")) == (
            201,
            None,
            "true",
        )
        for keys, status, detail in (
            (("key",), 409, REUSED),
            (("",), 400, BAD_KEY),
            (("a b",), 400, BAD_KEY),
            (("k" * 256,), 400, BAD_KEY),
            (("ключ".encode().decode("latin-1"),), 400, BAD_KEY),
            (("one", "two"), 400, TWICE),
        ):
            answer = gateway.post(path, body | {"expires_at": 1_900_000_000}, *keys)
            problem = json.loads(answer[2])
            assert (answer[0], problem["detail"], problem["field"]) == (status, detail, "idempotency-key")
            assert answer[1]["content-type"] == "application/problem+json"
    # One account, one name space of keys: over gRPC it is the same call.
    request = pb.url_pb2.CreateURLRequest(long_url="https://example.com/", user_id=user_id)
    over_rpc = pb.url_pb2.CreateURLResponse.FromString(call(channel, CREATE, request, keyed("key")))
    over_rest = json.loads(gateway.post("/api/urls", {"long_url": "https://example.com/"}, "key")[2])
    assert (over_rpc.short_code, over_rpc.qr_code) == (over_rest["short_code"], over_rest["qr_code"])
    stub = pb.url_pb2_grpc.URLServiceStub(channel)
    assert stub.ListURLs(pb.url_pb2.ListURLsRequest(user_id=user_id)).total == 2
    gateway.connection.close()
