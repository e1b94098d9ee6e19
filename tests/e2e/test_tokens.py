"""Tokens that nobody may use, over both wires: never let in, never a fault of ours. And keys that take turns."""

import base64
import json
import time
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import grpc
import pytest

from shortener.accounts.tokens import key_id
from tests.support import process
from tests.support.clients import ask, status, stubs_of
from tests.support.forged_tokens import forged
from tests.support.metrics_client import RPC, metrics

NEW, OLD, STRANGER = b"n" * 40, b"o" * 40, b"s" * 40


class Issued:
    """A running server, its keys, and a token it has issued, taken apart."""

    def __init__(self, server: process.Running) -> None:
        self.server = server
        person = {"email": "t@example.com", "password": "secret-1", "name": "T"}
        self.token = str(ask(server.gateway, "POST", "/api/auth/register", person).json["token"])
        header, claims = (base64.urlsafe_b64decode(part + "==") for part in self.token.split(".")[:2])
        self.header: dict[str, Any] = json.loads(header)
        self.claims: dict[str, Any] = json.loads(claims)


@pytest.fixture(scope="module")
def issued(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Issued]:
    home = tmp_path_factory.mktemp("tokens")
    (home / "keys").write_bytes(NEW + b"\n" + OLD + b"\n")
    (home / "keys").chmod(0o600)
    with process.running(home / "data", AUTH_SECRET_FILE=home / "keys") as server:
        yield Issued(server)


def headers(good: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    for algorithm in (
        "none",
        "None",
        "NONE",
        "",
        "HS384",
        "HS512",
        "RS256",
        "ES256",
        "EdDSA",
        "hs256",
        None,
        256,
        ["HS256"],
    ):
        yield f"alg {algorithm!r}", good | {"alg": algorithm}
    secret = base64.urlsafe_b64encode(STRANGER).rstrip(b"=").decode()
    yield "jwk of the forger", good | {"jwk": {"kty": "oct", "k": secret}}
    yield "jku", good | {"jku": "http://127.0.0.1:1/keys"}
    yield "x5u", good | {"x5u": "http://127.0.0.1:1/keys"}
    yield "x5c", good | {"x5c": ["MIIB"]}
    for kid in (
        "../../../dev/null",
        "/etc/passwd",
        "' OR 1=1 --",
        "",
        "\0",
        "x" * 3000,
        None,
        1,
        [],
        {"a": 1},
        key_id(STRANGER),
    ):
        yield f"kid {kid!r:.20}", good | {"kid": kid}
    yield "no kid", {key: value for key, value in good.items() if key != "kid"}
    yield "crit", good | {"crit": ["exp"]}
    yield "b64", good | {"b64": False, "crit": ["b64"]}
    yield "zip", good | {"zip": "DEF"}
    yield "typ", good | {"typ": "JWE"}
    yield from (("array", []), ("number", 1), ("text", "x"), ("null", None), ("nothing", b""), ("deep", b"[" * 2000))


def payloads(good: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    now = int(time.time())
    for name in ("exp", "iat", "user_id", "sub", "email", "jti", "iss", "aud"):
        yield f"no {name}", {key: value for key, value in good.items() if key != name}
        for value in (None, True, [], {}, 1.5, ""):
            yield f"{name} {value!r}", good | {name: value}
    yield "exp is now", good | {"exp": now}
    yield "exp in the past", good | {"exp": now - 1}
    for number in (
        "NaN",
        "Infinity",
        "-Infinity",
        "1e400",
        "-1e400",
        "1e10",
        "9" * 400,
        "-1",
        "0",
        f"{now + 100}.0",
        f'"{now + 100}"',
    ):
        for name in ("exp", "iat", "nbf"):
            if number == "0" and name != "exp":
                continue  # long ago, and so in force
            text = json.dumps(good | {name: "PLACE"}).replace('"PLACE"', number)
            yield f"{name} {number:.12}", text.encode()
    yield "nbf to come", good | {"nbf": now + 1000}
    yield "other audience", good | {"aud": "other"}
    yield "audiences", good | {"aud": [good["aud"], "other"]}
    yield "other issuer", good | {"iss": "other"}
    yield "somebody else's sub", good | {"sub": "2"}
    yield "user 0", good | {"user_id": "0", "sub": "0"}
    yield "user -1", good | {"user_id": "-1", "sub": "-1"}
    yield "user of 400 digits", good | {"user_id": "9" * 400, "sub": "9" * 400}
    yield "user as a number", good | {"user_id": int(good["user_id"]), "sub": int(good["sub"])}
    yield from (
        ("array", [good]),
        ("text", "x"),
        ("number", 1),
        ("null", None),
        ("nothing", b""),
        ("deep", b'{"a":' * 500),
    )
    yield from (("not UTF-8", b"\xff\xfe"), ("UTF-16", json.dumps(good).encode("utf-16")))


def bad_tokens(issued: Issued) -> Iterator[tuple[str, str]]:
    good_header, good_claims = issued.header, issued.claims
    for key, who in ((NEW, "our key"), (STRANGER, "another key")):
        for name, header in headers(good_header):
            for digest in ("sha256", "sha512"):
                yield f"header, {name}, {digest}, {who}", forged(header, good_claims, key, digest)
    for name, claims in payloads(good_claims):
        yield f"claims, {name}", forged(good_header, claims, NEW)
    yield "another key", forged(good_header, good_claims, STRANGER)
    yield "another key under its own kid", forged(good_header | {"kid": key_id(STRANGER)}, good_claims, STRANGER)
    yield "the old key under the new one's kid", forged(good_header, good_claims, OLD)
    yield "an empty key", forged(good_header, good_claims, b"")
    yield "the kid as key", forged(good_header, good_claims, good_header["kid"].encode())
    head, body, signature = issued.token.split(".")
    yield "unsigned", f"{head}.{body}."
    yield "two parts", f"{head}.{body}"
    yield "five parts", f"{head}.{body}.{signature}.x.y"
    yield "a changed signature", f"{head}.{body}.{signature[:-2]}{'AA' if signature[-2:] != 'AA' else 'BB'}"
    yield "padding", f"{head}.{body}.{signature}="
    yield from ((repr(text), text) for text in ("x", ".", "..", "...", "null", "{}", "a.b.c", "x" * 6000))


def test_keys_take_turns(issued: Issued, pb: SimpleNamespace) -> None:
    assert issued.header == {"alg": "HS256", "typ": "JWT", "kid": key_id(NEW)}
    by_old = forged(issued.header | {"kid": key_id(OLD)}, issued.claims, OLD)
    with stubs_of(pb, issued.server) as stubs:
        for token in (issued.token, by_old, forged(issued.header, issued.claims, NEW)):
            assert ask(issued.server.gateway, "GET", "/api/auth/profile", token=token).status == 200
            answer = stubs.users.ValidateToken(pb.user_pb2.ValidateTokenRequest(token=token))
            assert (answer.valid, answer.user_id) == (True, issued.claims["user_id"])


def test_no_other_token_is_good_anywhere(issued: Issued, pb: SimpleNamespace) -> None:
    server, tried = issued.server, 0
    with stubs_of(pb, server) as stubs:
        users, messages = stubs.users, pb.user_pb2
        for name, token in bad_tokens(issued):
            tried += 1
            answer = users.ValidateToken(messages.ValidateTokenRequest(token=token), timeout=10)
            assert answer == messages.ValidateTokenResponse(), name
            assert status(users.GetProfile, messages.GetProfileRequest(token=token)) == "UNAUTHENTICATED", name
            change = messages.UpdateProfileRequest(token=token, name="Mallory")
            assert status(users.UpdateProfile, change) == "UNAUTHENTICATED", name
            refused = ask(server.gateway, "GET", "/api/auth/profile", token=token)
            assert refused.status == 401, (name, refused)
            assert (refused.json["type"], refused.headers["www-authenticate"]) == (
                "/problems/unauthenticated",
                "Bearer",
            )
        with pytest.raises(grpc.RpcError) as missing:
            users.ValidateToken(messages.ValidateTokenRequest())
        assert missing.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert tried > 200
    statuses = {dict(labels).get("status") for name, labels in metrics(server) if name == f"{RPC}_count"}
    assert statuses <= {"OK", "UNAUTHENTICATED", "INVALID_ARGUMENT"}
    levels = {json.loads(line)["level"] for line in server.log.read_text().splitlines()}
    assert levels <= {"info", "debug"}


@pytest.mark.parametrize(
    "value", ["", "Bearer", "Bearer ", "bearer", "Basic eDp5", "Bearer a b", "Token x", "Bearer\tx", "Bearer é"]
)
def test_no_other_header_is_good(issued: Issued, value: str) -> None:
    answer = ask(issued.server.gateway, "GET", "/api/auth/profile", Authorization=value.encode().decode("latin-1"))
    assert answer.status == 401
