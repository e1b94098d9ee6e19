"""Every page of both HTTP servers is locked down, every other answer is sniffed by nobody, and GET changes nothing."""

import base64
import hashlib
import json
import re
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from html.parser import HTMLParser
from itertools import chain
from pathlib import Path
from typing import Any

import pytest

from shortener.redirect import handler, pages
from tests.support import process
from tests.support.clients import Answer, ask

CLICK_TABLES = {"visitors", "clicks", "click_rollups", "visitor_sets", "journal_position", "sqlite_sequence"}
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE")
ASSETS = ("/docs/docs.css", "/docs/docs.js", "/docs/docs.svg")
UNKNOWN = ("/nothing", "/docs/%2e%2e/x", "/docs/", "/api/")
NOT_IN_THE_DOCUMENT = ("/", "/docs", *ASSETS, "/openapi.json", "/problems/invalid", *UNKNOWN)


class Page(HTMLParser):
    """Collects whatever a strict policy does not allow in a page, and the styles it has to allow by their hash."""

    def __init__(self) -> None:
        super().__init__()
        self.inline: list[str] = []
        self.styles: list[str] = []
        self._in_style = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.inline += [f"{tag} {name}" for name, _ in attrs if name == "style" or name.startswith("on")]
        self.inline += [f"{tag} {value}" for _, value in attrs if value and value.lower().startswith("javascript:")]
        self._in_style = tag == "style"
        if tag == "script" and "src" not in dict(attrs):
            self.inline.append(tag)

    def handle_data(self, data: str) -> None:
        if self._in_style:
            self.styles.append(data)
            self._in_style = False


def check_headers(headers: dict[str, str], body: bytes) -> None:
    """Judge one answer by its media type; names of headers are lower-case."""
    media_type = headers.get("content-type", "").partition(";")[0]
    if not media_type:
        assert body == b""
        return
    assert headers["x-content-type-options"] == "nosniff"
    if media_type != "text/html":
        return
    assert headers["content-type"] == "text/html; charset=utf-8"
    assert headers["referrer-policy"] == "no-referrer"
    policy = {part.split()[0]: part.split()[1:] for part in headers["content-security-policy"].split("; ")}
    assert policy["default-src"] == ["'none'"]
    for name in ("frame-ancestors", "base-uri", "form-action"):
        assert policy[name] == ["'none'"]
    assert not {"'unsafe-inline'", "'unsafe-eval'", "*", "data:", "https:", "http:"} & {*chain(*policy.values())}
    page = Page()
    page.feed(body.decode())
    assert page.inline == []
    for style in page.styles:
        digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
        assert f"'sha256-{digest}'" in policy["style-src"]


@dataclass
class Site:
    """A running server with a live, an expired and a deleted link, and who made them."""

    server: process.Running
    data_dir: Path
    token: str

    def gateway(self, method: str, path: str, *, token: str = "", **headers: str) -> Answer:
        return ask(self.server.gateway, method, path, token=token, **headers)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    data_dir = tmp_path_factory.mktemp("headers") / "data"
    with process.running(data_dir, LIMITS_MISSES_BURST=40, CLICKS_FLUSH_SECONDS=0.01) as server:
        person = {"email": "ann@example.com", "password": "secret-1", "name": "Ann"}
        token = ask(server.gateway, "POST", "/api/auth/register", person).json["token"]
        for alias, expires_at in (("live", 0), ("expired", 1_600_000_000), ("deleted", 0)):
            link = {"alias": alias, "long_url": "https://example.com/", "expires_at": expires_at}
            assert ask(server.gateway, "POST", "/api/urls/custom", link, token=token).status == 201
        assert ask(server.gateway, "DELETE", "/api/urls/deleted", token=token).status == 204
        yield Site(server, data_dir, token)


def documented(site: Site) -> list[tuple[str, str]]:
    """Method and path of every route in the OpenAPI document, on the live link."""
    document: dict[str, Any] = json.loads(site.gateway("GET", "/openapi.json").body)
    return [
        (method.upper(), re.sub(r"\{\w+\}", "live", path))
        for path, methods in document["paths"].items()
        for method in methods
    ]


def test_every_answer_of_the_gateway_is_locked_down(site: Site) -> None:
    statuses = set()
    routes = documented(site)
    assert len(routes) >= 15
    asked = [(method, path) for path in NOT_IN_THE_DOCUMENT for method in METHODS]
    asked += [
        (method, path) for _, path in routes for method in METHODS if (method, path) != ("DELETE", "/api/urls/live")
    ]
    for method, path in dict.fromkeys(asked):
        for token in ("", site.token if path.startswith("/api/urls") else ""):
            answer = site.gateway(method, path, token=token)
            check_headers(answer.headers, answer.body)
            assert "referrer-policy" in answer.headers
            assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]
            assert not any(name.startswith("access-control-") for name in answer.headers)
            statuses.add(answer.status)
    assert {200, 302, 401, 404, 405, 415} <= statuses
    assert site.gateway("GET", "/docs").headers["content-type"].startswith("text/html")


def test_get_on_the_gateway_changes_nothing(site: Site) -> None:
    settle(site)
    before = dump(site, set())
    for path in [path for _, path in documented(site)] + list(NOT_IN_THE_DOCUMENT):
        for method in ("GET", "HEAD"):
            site.gateway(method, path, token=site.token, Idempotency_Key="key")
    assert dump(site, set()) == before


REDIRECT_PATHS = (
    "/",
    "/robots.txt",
    "/favicon.ico",
    "/live",
    "/expired",
    "/deleted",
    "/unknown",
    "/a",
    "/live/x",
    "/%2e",
)


def test_every_answer_of_the_redirect_server_is_locked_down(site: Site) -> None:
    statuses = set()
    for path in REDIRECT_PATHS:
        for method in METHODS:
            for accept in ("text/html", "application/problem+json"):
                answer = ask(site.server.redirect, method, path, Accept=accept)
                check_headers(answer.headers, answer.body)
                statuses.add(answer.status)
    while (answer := ask(site.server.redirect, "GET", "/unknown", Accept="text/html")).status == 404:
        check_headers(answer.headers, answer.body)
    check_headers(answer.headers, answer.body)
    assert answer.headers["content-type"].startswith("text/html")
    assert statuses | {answer.status} >= {200, 302, 404, 405, 410, 429}


def test_get_on_the_redirect_server_changes_nothing_but_clicks(site: Site) -> None:
    settle(site)
    before = dump(site, CLICK_TABLES)
    assert ask(site.server.redirect, "GET", "/live").status == 302
    for path in REDIRECT_PATHS[:6]:
        ask(site.server.redirect, "HEAD", path)
        ask(site.server.redirect, "GET", path)
    settle(site)
    assert dump(site, CLICK_TABLES) == before


@pytest.mark.parametrize("status", [400, 404, 405, 408, 410, 413, 414, 417, 429, 431, 500, 501, 503, 504])
def test_every_error_page_is_locked_down(status: int) -> None:
    answer = handler.error_response(status, request_id="request-1", accept="text/html")
    assert isinstance(answer.body, bytes)
    check_headers({name.lower(): value for name, value in answer.headers.items()}, answer.body)
    assert answer.content_type == "text/html"


def test_the_warning_before_a_withheld_link_is_locked_down() -> None:
    answer = handler._warning('https://example.com/"><script>alert(1)</script>', "text/html")
    assert isinstance(answer.body, bytes)
    assert answer.status == pages.WITHHELD
    check_headers({name.lower(): value for name, value in answer.headers.items()}, answer.body)


def settle(site: Site) -> None:
    """Wait until every click has reached the database."""
    followed, deadline = -1, time.monotonic() + 20
    while followed != (followed := clicks(site)) and time.monotonic() < deadline:
        time.sleep(0.3)


def clicks(site: Site) -> int:
    with closing(sqlite3.connect(site.data_dir / "shortener.db")) as database:
        return int(database.execute("SELECT COUNT(*) FROM clicks").fetchone()[0])


def dump(site: Site, without: set[str]) -> dict[str, list[tuple[object, ...]]]:
    """Every row of every table but these; without the clicks, links are shown without their counters."""
    with closing(sqlite3.connect(site.data_dir / "shortener.db")) as database:
        names = {name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")} - without
        rows = {name: database.execute(f"SELECT * FROM {name}").fetchall() for name in sorted(names)}
        if without:
            columns = (
                "id, short_code, destination, owner_id, created_at, updated_at, expires_at, deleted_at, increments"
            )
            rows["links"] = database.execute(f"SELECT {columns} FROM links").fetchall()
    return rows
