"""Every error of every route is a problem document of one shape (RFC 9457), and is one that OpenAPI announces."""

import json
from typing import Any

import pytest

from tests.support.clients import Answer, ask
from tests.support.process import Running

MEMBERS = {"type": str, "title": str, "status": int, "detail": str}
OPTIONAL = {"field": str, "suggestions": list, "request_id": str}
WRONG = {"string": 5, "integer": "5", "number": "5", "boolean": "true"}
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PURGE")
CODE = "nothere"

Operation = tuple[str, str, dict[str, Any]]


@pytest.fixture(scope="module")
def token(server: Running) -> str:
    person = {"email": "s@example.com", "password": "secret-1", "name": "S"}
    return str(ask(server.gateway, "POST", "/api/auth/register", person).json["token"])


@pytest.fixture(scope="module")
def document(server: Running) -> dict[str, Any]:
    found: dict[str, Any] = ask(server.gateway, "GET", "/openapi.json").json
    return found


@pytest.fixture(scope="module")
def operations(document: dict[str, Any]) -> list[Operation]:
    return [
        (method.upper(), path, operation)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    ]


def check(answer: Answer, status: int, *, field: str = "", operation: dict[str, Any] | None = None) -> None:
    assert answer.status == status, answer
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["x-content-type-options"] == "nosniff"
    problem = answer.json
    assert {name: type(problem.get(name)) for name in MEMBERS} == MEMBERS, problem
    more = {name: type(value) for name, value in problem.items() if name not in MEMBERS}
    assert more.items() <= OPTIONAL.items(), problem
    assert problem["status"] == status
    assert problem["type"].startswith("/problems/")
    assert problem["title"]
    assert problem["detail"]
    assert problem.get("field", "") == field, problem
    if field:
        assert field in problem["detail"]
    needed = {401: "www-authenticate", 405: "allow", 429: "retry-after", 503: "retry-after"}
    assert status not in needed or answer.headers.get(needed[status])
    if operation is not None:
        assert str(status) in operation["responses"], f"{status} is not announced"


def at(path: str) -> str:
    return path.replace("{short_code}", CODE)


def fields(document: dict[str, Any], operation: dict[str, Any]) -> dict[str, str]:
    """The fields of an operation's body by type; empty when it takes none."""
    if "requestBody" not in operation:
        return {}
    schema = operation["requestBody"]["content"]["application/json"]["schema"]
    if "$ref" in schema:
        schema = document["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    types = {name: each["type"] for name, each in schema["properties"].items()}
    return {name: kind if isinstance(kind, str) else kind[0] for name, kind in types.items()}


def test_there_are_operations(operations: list[Operation]) -> None:
    assert len(operations) >= 16


def test_calls_without_a_good_token(server: Running, operations: list[Operation]) -> None:
    for method, path, operation in operations:
        if not operation["security"]:
            continue
        for headers in ({}, {"Authorization": "Bearer x.y.z"}, {"Authorization": "Basic eDp5"}, {"Authorization": ""}):
            check(ask(server.gateway, method, at(path), **headers), 401, operation=operation)


def test_methods_that_a_route_does_not_take(server: Running, token: str, operations: list[Operation]) -> None:
    for path in {path for _, path, _ in operations} | {"/docs", "/openapi.json"}:
        known = {method for method, other, _ in operations if at(other) in (path, at(path))} or {"GET"}
        for method in METHODS:
            if method in known:
                continue
            answer = ask(server.gateway, method, at(path), token=token)
            check(answer, 405)
            assert {name.strip() for name in answer.headers["allow"].split(",")} - {"HEAD"} == known


def test_bodies_that_are_not_json(server: Running, token: str, operations: list[Operation]) -> None:
    tried = 0
    for method, path, operation in operations:
        if "requestBody" not in operation:
            continue
        tried += 1
        json_type = {"Content-Type": "application/json"}
        for body in (b"", b"{", b"[]", b"null", b'"x"', b"\xff", b'{"a": NaN}', b"[" * 5000, b'{"a": 1, "a": 2'):
            check(ask(server.gateway, method, at(path), body, token=token, **json_type), 400, operation=operation)
        for kind in ("text/plain", "application/xml", "application/json; charset=latin-1"):
            answer = ask(server.gateway, method, at(path), b"{}", token=token, Content_Type=kind)
            check(answer, 415, operation=operation)
        packed = ask(server.gateway, method, at(path), b"{}", token=token, Content_Encoding="gzip", **json_type)
        check(packed, 415, operation=operation)
        large = ask(server.gateway, method, at(path), b'{"x": "' + b"x" * 70_000 + b'"}', token=token, **json_type)
        check(large, 413, operation=operation)
    assert tried >= 5


def test_fields_of_the_wrong_type_are_named(
    server: Running, token: str, document: dict[str, Any], operations: list[Operation]
) -> None:
    tried = 0
    for method, path, operation in operations:
        for name, kind in fields(document, operation).items():
            for wrong in (WRONG[kind], None, [], {}):
                if wrong is None and kind:
                    continue  # null means absent, as proto3's JSON has it
                answer = ask(server.gateway, method, at(path), {name: wrong}, token=token)
                check(answer, 400, field=name, operation=operation)
                tried += 1
    assert tried >= 30


def test_parameters_of_the_wrong_type_are_named(server: Running, token: str, operations: list[Operation]) -> None:
    tried = 0
    for method, path, operation in operations:
        for parameter in operation.get("parameters", []):
            if parameter["in"] != "query":
                continue
            for wrong in ("", "x", "1.5", "9" * 30, "%00"):
                if not wrong and wrong in parameter["schema"].get("enum", []):
                    continue
                answer = ask(server.gateway, method, f"{at(path)}?{parameter['name']}={wrong}", token=token)
                check(answer, 400, field=parameter["name"], operation=operation)
                tried += 1
    assert tried >= 40


def test_links_that_are_not_there(server: Running, token: str, operations: list[Operation]) -> None:
    tried = 0
    for method, path, operation in operations:
        if "{short_code}" in path:
            check(ask(server.gateway, method, at(path), token=token), 404, operation=operation)
            tried += 1
    assert tried >= 6


@pytest.mark.parametrize("path", ["/nothing", "/api", "/api/urls/", "/api/urls/a/b", "/docs/none.js", "/%2e%2e/x"])
def test_routes_that_are_not_there(server: Running, path: str) -> None:
    for method in METHODS:
        check(ask(server.gateway, method, path), 404)


def test_the_root_is_a_page_and_an_error_to_programs(server: Running) -> None:
    for method in ("GET", "HEAD"):
        page = ask(server.gateway, method, "/")
        assert (page.status, page.headers["content-type"]) == (200, "text/html; charset=utf-8")
    check(ask(server.gateway, "GET", "/", Accept="application/json"), 404)
    for method in set(METHODS) - {"GET", "HEAD"}:
        check(ask(server.gateway, method, "/"), 405)


def test_taken_names(server: Running, token: str) -> None:
    link = {"alias": "taken-by-s", "long_url": "https://example.com/"}
    assert ask(server.gateway, "POST", "/api/urls/custom", link, token=token).status == 201
    answer = ask(server.gateway, "POST", "/api/urls/custom", link, token=token)
    check(answer, 409, field="alias")
    assert len(answer.json["suggestions"]) == 3
    person = {"email": "s@example.com", "password": "secret-1", "name": "S"}
    check(ask(server.gateway, "POST", "/api/auth/register", person), 409, field="email")


def test_every_type_leads_to_the_docs(server: Running, token: str) -> None:
    types = {
        ask(server.gateway, "GET", "/api/urls").json["type"],
        ask(server.gateway, "GET", "/nothing").json["type"],
        ask(server.gateway, "PUT", "/api/urls").json["type"],
        ask(server.gateway, "POST", "/api/urls", b"{}", token=token).json["type"],
        ask(server.gateway, "POST", "/api/urls", {}, token=token).json["type"],
    }
    assert len(types) == 5
    for each in types:
        answer = ask(server.gateway, "GET", each)
        assert (answer.status, answer.headers["location"]) == (302, "/docs#errors")


def test_the_redirect_server_uses_the_same_shape(server: Running) -> None:
    for method, status in (("GET", 404), ("PURGE", 405)):
        answer = ask(server.redirect, method, f"/{CODE}", Accept="application/problem+json")
        check(answer, status)
    assert json.loads(ask(server.redirect, "GET", f"/{CODE}", Accept="application/json").body)["status"] == 404
