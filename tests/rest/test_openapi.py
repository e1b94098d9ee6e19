"""The OpenAPI document and the page made from it."""

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from grpc_tools import protoc

from shortener.api import Operation, Route
from shortener.caller import Caller
from shortener.gen import url, user
from shortener.rest import docs as docspage
from shortener.rest import openapi
from shortener.rpc import descriptors
from tests.rest.site import Site, running


@pytest.fixture
async def document() -> openapi.Json:
    return Site().document()


def validate(document: openapi.Json) -> None:
    from openapi_spec_validator import OpenAPIV31SpecValidator  # takes two seconds, which other workers need not spend

    OpenAPIV31SpecValidator(document).validate()


async def test_the_document_is_valid(document: openapi.Json) -> None:
    validate(document)
    assert document["openapi"] == "3.1.0"
    assert document["info"]["version"] == "1.2.3"


async def test_every_route_is_in_it(document: openapi.Json) -> None:
    described = {(method.upper(), path) for path, methods in document["paths"].items() for method in methods}
    routes = {(route.method, route.path) for each in Site().operations() if (route := each.route)}
    assert described == routes | {("GET", "/healthz"), ("GET", "/readyz"), ("GET", "/metrics")}
    ids = [operation["operationId"] for methods in document["paths"].values() for operation in methods.values()]
    assert len(set(ids)) == len(ids)


async def test_an_operation_says_what_it_takes_and_gives(document: openapi.Json) -> None:
    create = document["paths"]["/api/urls"]["post"]
    assert create["security"] == [{"bearer": []}]
    assert sorted(create["responses"]) == ["201", "400", "401", "408", "409", "413", "415", "500", "503", "504"]
    body = document["components"]["schemas"]["CreateURLRequest"]["properties"]
    assert sorted(body) == ["expires_at", "long_url", "omit_qr_code"]
    reply = document["components"]["schemas"]["CreateURLResponse"]
    assert sorted(reply["required"]) == sorted(reply["properties"])
    assert reply["properties"]["expires_at"]["type"] == "integer"
    assert document["paths"]["/api/wait"]["get"]["security"] == []
    assert document["paths"]["/api/urls/{short_code}"]["get"]["parameters"] == [
        {"name": "short_code", "in": "path", "required": True, "schema": {"type": "string"}}
    ]
    assert document["paths"]["/api/urls/{short_code}/qr"]["get"]["responses"]["200"]["content"] == {"image/png": {}}


def test_schemas_have_the_names_of_the_protos() -> None:
    assert descriptors.descriptor(url.ListUrLsResponse).full_name == "url.ListURLsResponse"
    assert descriptors.descriptor(user.UserListResponse).full_name == "user.UserListResponse"


def test_comments_of_the_protos_become_descriptions(monkeypatch: pytest.MonkeyPatch) -> None:
    said = {"user.RegisterRequest.email": "Required: User email", "user.RegisterRequest.name": "Optional: Full name"}
    monkeypatch.setattr(openapi, "comments", lambda: said)

    async def register(_: user.RegisterRequest, __: Caller) -> user.RegisterResponse:
        return user.RegisterResponse()

    operation = Operation("", register, Route("POST", "/api/auth/register", "Register"))
    schema = openapi.document([operation], title="t", version="1", description="d")["components"]["schemas"][
        "RegisterRequest"
    ]
    assert schema == {
        "type": "object",
        "required": ["email"],
        "properties": {
            "email": {"type": "string", "description": "User email", "minLength": 1},
            "password": {"type": ["string", "null"], "format": "password"},
            "name": {"type": ["string", "null"], "description": "Full name"},
        },
    }


def test_comments_are_read_from_descriptors_with_source_info(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    made = tmp_path / "protos.desc"
    protos = Path(__file__).parents[2] / "protos"
    options = [f"--proto_path={protos}", "--include_source_info", f"--descriptor_set_out={made}"]
    assert protoc.main(["protoc", *options, str(protos / "url.proto")]) == 0
    files = list(FileDescriptorSet.FromString(made.read_bytes()).file)
    monkeypatch.setattr(descriptors, "_our_files", lambda: files)
    assert descriptors.comments.__wrapped__()["url.URL.clicks"] == "Clicks recorded, plus IncrementClicks calls"


class Outline(HTMLParser):
    """Collects what a page refers to, and checks that its elements close."""

    void = frozenset({"meta", "link", "input", "br"})

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.inline: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        named = dict(attrs)
        self.links += [value for name in ("href", "src") if (value := named.get(name))]
        self.ids += [value for name, value in attrs if name == "id" and value]
        self.inline += [name for name in named if name == "style" or name.startswith("on")]
        if tag == "script" and "src" not in named:
            self.inline.append(tag)
        if tag not in self.void:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


async def test_the_page_is_whole_and_its_own(document: openapi.Json) -> None:
    html = docspage.page(document)
    outline = Outline()
    outline.feed(html)
    assert outline.open == []
    assert outline.inline == []
    assert len(set(outline.ids)) == len(outline.ids)
    anchors = {link[1:] for link in outline.links if link.startswith("#")}
    assert anchors <= set(outline.ids)
    assert {link for link in outline.links if not link.startswith("#")} == {
        "/docs/docs.css",
        "/docs/docs.js",
        "/docs/docs.svg",
        "/openapi.json",
    }
    assert "Look &lt;at&gt;" in html
    assert "About &lt;links&gt;." in html
    for path in document["paths"]:
        assert f"<code>{path}</code>" in html


async def test_the_root_tells_people_what_this_is_and_programs_that_it_is_none(document: openapi.Json) -> None:
    outline = Outline()
    outline.feed(docspage.home(document, "https://s.example/?<x>"))
    assert (outline.open, outline.inline) == ([], [])
    assert set(outline.links) == {
        "https://s.example/?<x>",
        "/docs",
        "/docs/docs.css",
        "/docs/docs.js",
        "/docs/docs.svg",
        "/openapi.json",
        "/readyz",
    }
    async with running() as (_, client):
        browser = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"
        for accept, status, media_type in (
            (browser, 200, "text/html"),
            ("*/*", 200, "text/html"),
            ("", 200, "text/html"),
            ("application/json", 404, "application/problem+json"),
            ("application/problem+json, text/html;q=0.5", 404, "application/problem+json"),
        ):
            async with client.get("/", headers={"Accept": accept, "Authorization": ""}) as answer:
                assert (answer.status, answer.content_type) == (status, media_type)
                assert answer.headers["Vary"] == "Accept"


async def test_page_and_assets_are_served_from_here_under_a_strict_policy() -> None:
    async with running() as (_, client):
        types = {
            "/": "text/html; charset=utf-8",
            "/docs": "text/html; charset=utf-8",
            "/docs/docs.css": "text/css; charset=utf-8",
            "/docs/docs.js": "text/javascript; charset=utf-8",
            "/docs/docs.svg": "image/svg+xml",
            "/openapi.json": "application/json",
        }
        for path, content_type in types.items():
            async with client.get(path, headers={"Authorization": ""}) as answer:
                assert (answer.status, answer.headers["Content-Type"]) == (200, content_type)
                text = await answer.text()
                policy = answer.headers["Content-Security-Policy"]
                tag = answer.headers["ETag"]
                assert answer.headers["X-Content-Type-Options"] == "nosniff"
            assert "default-src 'none'" in policy
            assert "unsafe" not in policy
            assert not re.search(r"https?://(?!localhost|www\.w3\.org|example\.com/)", text)
            async with client.get(path, headers={"If-None-Match": tag}) as answer:
                assert (answer.status, await answer.read()) == (304, b"")
        async with client.get("/problems/invalid", allow_redirects=False) as answer:
            assert (answer.status, answer.headers["Location"]) == (302, "/docs#errors")


def test_a_route_without_a_reply_is_described_as_done() -> None:
    async def nothing(_: url.DeleteUrlRequest, __: Caller) -> url.DeleteUrlResponse:
        return url.DeleteUrlResponse()

    operation = Operation("", nothing, Route("DELETE", "/api/things/{name}", "Delete", status=204))
    made = openapi.document([operation], title="t", version="1", description="d")
    validate(made)
    assert made["paths"]["/api/things/{name}"]["delete"]["responses"]["204"] == {"description": "Done"}
