"""Nobody reaches what is somebody else's: every route of the running server, with every wrong identity.

The routes come from the server's own OpenAPI document, and rules decide what to ask of each. A new route that no rule
fits (a path parameter of another name, an open route, a body that the values below do not fill) fails here until it is
given what it needs.
"""

import itertools
import json
import time
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, NamedTuple

import pytest

from shortener.accounts.tokens import key_id
from tests.support import process
from tests.support.clients import Answer, ask, stubs_of
from tests.support.forged_tokens import forged

KEY, STRANGER = b"k" * 40, b"s" * 40
SERVICE_TOKEN = "service-token-of-some-length"
PASSWORD = "secret-of-all"
OPEN = {("POST", "/api/auth/register"), ("POST", "/api/auth/login")}
ALICE = {"email": "alice@canary.example", "name": "Alice Canary"}
DESTINATION = "https://canary.example/alice"
ALIAS = "alice-canary"


class Operation(NamedTuple):
    method: str
    path: str
    secured: bool
    fields: dict[str, str]
    parameters: dict[str, str]
    """Names to where they are: path or query."""


class World:
    """A running server with Alice on it, who owns a link."""

    def __init__(self, server: process.Running, stubs: SimpleNamespace, pb: SimpleNamespace) -> None:
        self.server = server
        self._stubs = stubs
        self._pb = pb
        self._numbers = itertools.count(1)
        made = self._register(ALICE["email"], ALICE["name"])
        self.alice_id, self.alice = str(made.user_id), str(made.token)
        link = {"alias": ALIAS, "long_url": DESTINATION}
        assert self.ask("POST", "/api/urls/custom", link, token=self.alice).status == 201

    def _register(self, email: str, name: str) -> Any:
        request = self._pb.user_pb2.RegisterRequest(email=email, password=PASSWORD, name=name)
        return self._stubs.users.Register(request, metadata=(("authorization", f"Bearer {SERVICE_TOKEN}"),))

    def somebody(self) -> tuple[str, str]:
        """Register one more account, over gRPC; return its address and token."""
        email = f"bob{next(self._numbers)}@example.com"
        return email, str(self._register(email, "Bob").token)

    def ask(self, method: str, path: str, body: dict[str, Any] | None = None, *, token: str = "") -> Answer:
        return ask(self.server.gateway, method, path, body, token=token)

    def of_alice(self) -> list[bytes]:
        """Everything that is hers, as she sees it."""
        paths = ("/api/auth/profile", "/api/urls", f"/api/urls/{ALIAS}", f"/api/urls/{ALIAS}/stats")
        answers = [self.ask("GET", path, token=self.alice) for path in paths]
        assert [answer.status for answer in answers] == [200] * len(paths)
        return [answer.body for answer in answers]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, pb: SimpleNamespace) -> Iterator[World]:
    settings = {"AUTH_SECRET": KEY.decode(), "GRPC_SERVICE_TOKEN": SERVICE_TOKEN}
    data_dir = tmp_path_factory.mktemp("ownership") / "data"
    with process.running(data_dir, **settings) as server, stubs_of(pb, server) as stubs:
        yield World(server, stubs, pb)


@pytest.fixture(scope="module")
def operations(world: World) -> list[Operation]:
    document = world.ask("GET", "/openapi.json").json
    found = [
        Operation(
            method.upper(),
            path,
            bool(operation["security"]),
            fields_of(document, operation),
            {each["name"]: each["in"] for each in operation.get("parameters", [])},
        )
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
        if path.startswith("/api/")
    ]
    assert len(found) >= 13
    return found


def fields_of(document: dict[str, Any], operation: dict[str, Any]) -> dict[str, str]:
    if "requestBody" not in operation:
        return {}
    schema = operation["requestBody"]["content"]["application/json"]["schema"]
    if "$ref" in schema:
        schema = document["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    return {name: each["type"] for name, each in schema["properties"].items()}


def filled(operation: Operation, email: str, number: int) -> dict[str, Any] | None:
    """A body that is right for somebody, with Alice's identity wherever there is room for one."""
    if not operation.fields:
        return None
    values = {
        "long_url": "https://example.com/bob",
        "alias": f"bobs-own-{number}",
        "email": email,
        "password": PASSWORD,
        "old_password": PASSWORD,
        "new_password": PASSWORD,
        "name": "Bob",
        "expires_at": 0,
        "omit_qr_code": True,
    }
    for name in operation.fields:
        assert name in values, f"{operation.method} {operation.path}: give {name} a value here"
    return {name: values[name] for name in operation.fields}


def with_what_nobody_may_set(body: dict[str, Any], alice_id: str) -> dict[str, Any]:
    forbidden = {
        "user_id": alice_id,
        "owner_id": alice_id,
        "id": alice_id,
        "sub": alice_id,
        "short_code": ALIAS,
        "clicks": 1_000_000,
        "created_at": 1,
        "updated_at": 1,
        "deleted_at": 1,
        "is_active": False,
        "is_alias": False,
        "role": "admin",
        "is_admin": True,
        "__proto__": {"user_id": alice_id},
    }
    return body | {name: value for name, value in forbidden.items() if name not in body}


def at(path: str) -> str:
    return path.replace("{short_code}", ALIAS)


def test_every_route_has_a_rule(operations: list[Operation]) -> None:
    assert {(each.method, each.path) for each in operations if not each.secured} == OPEN
    in_paths = {name for each in operations for name, place in each.parameters.items() if place == "path"}
    assert in_paths == {"short_code"}
    assert all(("{" in each.path) == ("path" in each.parameters.values()) for each in operations)
    in_queries = {name for each in operations for name, place in each.parameters.items() if place == "query"}
    assert not [name for name in in_queries if name.endswith(("id", "user", "owner", "email", "code", "token"))]


def strangers(world: World) -> dict[str, dict[str, str]]:
    """Headers that name nobody."""
    header = {"alg": "HS256", "typ": "JWT", "kid": key_id(KEY)}
    now = int(time.time())
    said: dict[str, Any] = {"user_id": world.alice_id, "sub": world.alice_id, "email": ALICE["email"], "jti": "x"}
    said |= {"iss": "shortener", "aud": "shortener", "iat": now - 10, "exp": now + 1000}
    assert world.ask("GET", "/api/auth/profile", token=forged(header, said, KEY)).status == 200
    nobody = said | {"user_id": "999999", "sub": "999999"}
    tokens = {
        "garbage": "x.y.z",
        "expired": forged(header, said | {"exp": now}, KEY),
        "forged": forged(header, said, STRANGER),
        "unsigned": forged(header | {"alg": "none"}, said, KEY).rpartition(".")[0] + ".",
        "for another audience": forged(header, said | {"aud": "other"}, KEY),
        "of two users": forged(header, nobody | {"sub": world.alice_id}, KEY),
        "the service's": SERVICE_TOKEN,
        "her id": world.alice_id,
        "her password": PASSWORD,
    }
    return {
        "nothing": {},
        "basic": {"Authorization": "Basic YWxpY2U6c2VjcmV0"},
        "a cookie": {"Cookie": f"token={world.alice}; Authorization=Bearer {world.alice}"},
        "another header": {"X-Authorization": f"Bearer {world.alice}", "X-User-Id": world.alice_id},
        **{name: {"Authorization": f"Bearer {token}"} for name, token in tokens.items()},
    }


def test_who_names_nobody_gets_401_everywhere(world: World, operations: list[Operation]) -> None:
    before, tried = world.of_alice(), 0
    for name, headers in strangers(world).items():
        for operation in operations:
            if operation.secured:
                body = filled(operation, "x@example.com", 0)
                path = at(operation.path) + f"?token={world.alice}&access_token={world.alice}"
                sent = {"body": json.dumps(body).encode(), "Content_Type": "application/json"} if body else {}
                answer = ask(world.server.gateway, operation.method, path, **sent, **headers)
                assert answer.status == 401, (name, operation, answer)
                assert b"canary" not in answer.body.lower()
                tried += 1
    assert tried >= 11 * 13
    assert world.of_alice() == before


def test_somebody_elses_link_is_as_unknown_as_one_that_never_was(world: World, operations: list[Operation]) -> None:
    before, tried = world.of_alice(), 0
    email, token = world.somebody()
    for operation in operations:
        if "short_code" in operation.parameters:
            body = filled(operation, email, 1)
            answer = world.ask(operation.method, at(operation.path), body, token=token)
            never = world.ask(operation.method, operation.path.replace("{short_code}", "neverwas"), body, token=token)
            assert (answer.status, answer.json) == (never.status, never.json), operation
            assert answer.status == 404, operation
            assert world.ask(operation.method, at(operation.path), body).status == 401
            tried += 1
    assert tried >= 6
    assert world.of_alice() == before


def test_a_route_without_an_id_reaches_only_the_callers_own(world: World, operations: list[Operation]) -> None:
    before, tried = world.of_alice(), 0
    for number, operation in enumerate(operations):
        if not operation.secured or "short_code" in operation.parameters:
            continue
        email, token = world.somebody()  # a new one each time: the route may end the account
        body = filled(operation, email, number)
        if body is not None:
            body = with_what_nobody_may_set(body, world.alice_id)
        query = f"?user_id={world.alice_id}&owner_id={world.alice_id}&id={world.alice_id}&email={ALICE['email']}"
        answer = world.ask(operation.method, operation.path + query, body, token=token)
        assert 200 <= answer.status < 300, f"{operation.method} {operation.path} needs other values here: {answer}"
        assert b"canary" not in answer.body.lower(), operation
        assert world.of_alice() == before, operation
        if answer.status == 201:
            check_nothing_was_set(world, token, answer.json["short_code"])
        tried += 1
    assert tried >= 5


def check_nothing_was_set(world: World, token: str, code: str) -> None:
    """The link is Bob's, new, alive and not clicked, whatever else he said."""
    assert code != ALIAS
    link = world.ask("GET", f"/api/urls/{code}", token=token).json["url"]
    assert (link["clicks"], link["is_active"], link["long_url"]) == (0, True, "https://example.com/bob")
    assert abs(link["created_at"] - time.time()) < 600
    assert world.ask("GET", f"/api/urls/{code}", token=world.alice).status == 404
    assert [each["short_code"] for each in world.ask("GET", "/api/urls", token=token).json["urls"]] == [code]


def test_registering_and_logging_in_set_nothing_else_either(world: World) -> None:
    before = world.of_alice()
    person = {"email": "carol@example.com", "password": PASSWORD, "name": "Carol"}
    made = world.ask("POST", "/api/auth/register", with_what_nobody_may_set(person, world.alice_id))
    assert made.status == 201
    assert made.json["user_id"] != world.alice_id
    again = world.ask("POST", "/api/auth/login", with_what_nobody_may_set(person, world.alice_id) | {"name": "x"})
    assert again.status == 200
    profile = world.ask("GET", "/api/auth/profile", token=again.json["token"]).json["user"]
    assert (profile["email"], profile["name"]) == ("carol@example.com", "Carol")
    taken = world.ask("PATCH", "/api/auth/profile", {"email": ALICE["email"]}, token=again.json["token"])
    assert taken.status == 409
    assert world.of_alice() == before
