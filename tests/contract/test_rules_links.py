"""The contract's rules about a link's life, over gRPC, REST and the redirects of the running service."""

import time
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from tests.support.clients import Answer, ask, status, stubs_of
from tests.support.process import Running
from tests.support.waiting import wait_for


@pytest.fixture(scope="module")
def stubs(pb: SimpleNamespace, server: Running) -> Iterator[SimpleNamespace]:
    with stubs_of(pb, server) as made:
        yield made


@pytest.fixture(scope="module")
def tokens(server: Running) -> list[str]:
    """Two people's tokens."""
    people = [{"email": f"{name}@example.com", "password": "secret-1", "name": name} for name in ("ann", "bob")]
    return [ask(server.gateway, "POST", "/api/auth/register", person).json["token"] for person in people]


@pytest.fixture
def take(pb: SimpleNamespace, stubs: SimpleNamespace) -> Any:
    def call(alias: str, *, user_id: str = "me", long_url: str = "https://example.com/") -> str:
        request = pb.url_pb2.CreateCustomURLRequest(alias=alias, long_url=long_url, user_id=user_id)
        return status(stubs.urls.CreateCustomURL, request)

    return call


def test_a_deleted_alias_is_gone_everywhere_and_begins_anew_for_its_owner_alone(
    pb: SimpleNamespace, stubs: SimpleNamespace, server: Running, take: Any
) -> None:
    url, analytics = pb.url_pb2, pb.analytics_pb2
    assert take("again", user_id="owner") == "OK"
    created_at = stubs.urls.GetURL(url.GetURLRequest(short_code="again")).url.created_at
    stubs.urls.IncrementClicks(url.IncrementClicksRequest(short_code="again"))
    stubs.analytics.TrackClick(analytics.TrackClickRequest(short_code="again", ip_address="192.0.2.1"))
    for _ in range(3):  # these may still be in the journal when the alias begins its next life
        assert ask(server.redirect, "GET", "/again").status == 302
    stubs.urls.DeleteURL(url.DeleteURLRequest(short_code="again"))
    for method, request in (
        (stubs.urls.GetURL, url.GetURLRequest(short_code="again")),
        (stubs.urls.DeleteURL, url.DeleteURLRequest(short_code="again")),
        (stubs.urls.IncrementClicks, url.IncrementClicksRequest(short_code="again")),
        (stubs.analytics.TrackClick, analytics.TrackClickRequest(short_code="again")),
        (stubs.analytics.GetStats, analytics.GetStatsRequest(short_code="again")),
        (stubs.analytics.GetTimeSeries, analytics.GetTimeSeriesRequest(short_code="again")),
        (stubs.analytics.GetGeoStats, analytics.GetGeoStatsRequest(short_code="again")),
    ):
        assert status(method, request) == "NOT_FOUND"
    assert ask(server.redirect, "GET", "/again").status == 410
    assert stubs.urls.ListURLs(url.ListURLsRequest(user_id="owner")) == url.ListURLsResponse()
    assert take("again", user_id="stranger") == "ALREADY_EXISTS"
    while time.time() < created_at + 1:
        time.sleep(0.05)
    assert take("again", user_id="owner", long_url="https://example.com/new") == "OK"
    assert ask(server.redirect, "GET", "/again").headers["location"] == "https://example.com/new"
    wanted = url.GetURLRequest(short_code="again")
    found = wait_for(lambda: stubs.urls.GetURL(wanted).url, lambda link: link.clicks > 0, seconds=5)
    assert found.clicks == 1
    assert found.created_at > created_at
    stats = stubs.analytics.GetStats(analytics.GetStatsRequest(short_code="again"))
    assert (stats.total_clicks, stats.unique_visitors) == (1, 1)


def test_a_link_ends_at_its_second_although_it_is_cached(
    pb: SimpleNamespace, stubs: SimpleNamespace, server: Running
) -> None:
    end = int(time.time()) + 2
    request = pb.url_pb2.CreateURLRequest(long_url="https://example.com/", user_id="me", expires_at=end)
    code = stubs.urls.CreateURL(request).short_code
    seen = set()
    while len(seen) < 2 and time.time() < end + 5:
        before = int(time.time())
        redirect = ask(server.redirect, "GET", f"/{code}").status
        is_active = stubs.urls.GetURL(pb.url_pb2.GetURLRequest(short_code=code)).url.is_active
        if int(time.time()) == before:  # all of it within one second
            seen.add((before < end, redirect, is_active))
        time.sleep(0.02)
    assert seen == {(True, 302, True), (False, 410, False)}


def test_every_door_sees_a_new_link_and_its_end_at_once(
    pb: SimpleNamespace, stubs: SimpleNamespace, server: Running, take: Any
) -> None:
    for number in range(10):
        alias = f"alias-{number}"
        assert ask(server.redirect, "GET", f"/{alias}").status == 404  # remembered as unknown from here on
        assert take(alias) == "OK"
        assert ask(server.redirect, "GET", f"/{alias}").status == 302
        stubs.urls.DeleteURL(pb.url_pb2.DeleteURLRequest(short_code=alias))
        assert [ask(server.redirect, method, f"/{alias}").status for method in ("GET", "HEAD")] == [410, 410]


ODD_URLS = [
    "https://example.com/%2f%7e/../a/./b?",
    "http://example.com:80/",
    "HTTPS://EXAMPLE.com:443",
    "http://example.com?",
    "http://example.com/#",
    "http://example.com//a//;p=1,2!$'()*?b=%20+%22&&#frag?x",
    "http://example.com/%00%0d%0aX:%20y",
    "http://[2001:db8::1]:8080/",
    "http://example.com:/",
]


@pytest.mark.parametrize("long_url", ODD_URLS)
def test_odd_urls_come_back_byte_for_byte(
    pb: SimpleNamespace, stubs: SimpleNamespace, server: Running, long_url: str
) -> None:
    code = stubs.urls.CreateURL(pb.url_pb2.CreateURLRequest(long_url=long_url, user_id="odd")).short_code
    answers = [
        ask(server.redirect, method, f"/{code}{query}") for query in ("", "?utm=1") for method in ("GET", "HEAD", "GET")
    ]
    assert {(answer.status, answer.headers["location"], answer.body) for answer in answers} == {(302, long_url, b"")}
    assert {answer.headers["cache-control"] for answer in answers} == {"private, max-age=0"}


def test_heads_are_not_counted_and_forwarded_addresses_are_not_believed(
    pb: SimpleNamespace, stubs: SimpleNamespace, server: Running
) -> None:
    code = stubs.urls.CreateURL(pb.url_pb2.CreateURLRequest(long_url="https://example.com/", user_id="n")).short_code
    for number in range(4):
        ask(server.redirect, "HEAD", f"/{code}")
        ask(server.redirect, "GET", f"/{code}", X_Forwarded_For=f"8.8.8.{number}")
    request = pb.analytics_pb2.GetStatsRequest(short_code=code)
    stats = wait_for(lambda: stubs.analytics.GetStats(request), lambda stats: stats.total_clicks >= 4, seconds=5)
    assert (stats.total_clicks, stats.unique_visitors, stats.countries[0].country_code) == (4, 1, "ZZ")
    assert stubs.urls.GetURL(pb.url_pb2.GetURLRequest(short_code=code)).url.clicks == 4


def is_problem(answer: Answer, code: int) -> bool:
    """Tell whether this is one problem document (RFC 9457) of that status."""
    members = answer.json
    return (
        (answer.status, answer.headers["content-type"], members["status"]) == (code, "application/problem+json", code)
        and {"type", "title", "detail"} <= members.keys()
        and (code != 401 or answer.headers["www-authenticate"].startswith("Bearer"))
        and (code != 405 or bool(answer.headers["allow"]))
    )


def test_someone_elses_links_are_not_there(server: Running, tokens: list[str]) -> None:
    ann, bob = tokens
    made = ask(server.gateway, "POST", "/api/urls", {"long_url": "https://example.com/", "user_id": "x"}, token=ann)
    path = f"/api/urls/{made.json['short_code']}"
    assert (made.status, made.headers["location"]) == (201, path)
    paths = ["", "/qr", "/qr?format=svg", "/stats", "/timeseries", "/geo"]
    for suffix in paths:
        assert ask(server.gateway, "GET", path + suffix, token=ann).status == 200
        assert is_problem(ask(server.gateway, "GET", path + suffix, token=bob), 404)
        assert is_problem(ask(server.gateway, "GET", path + suffix), 401)
    assert is_problem(ask(server.gateway, "DELETE", path, token=bob), 404)
    assert ask(server.gateway, "GET", "/api/urls", token=bob).json == {"urls": [], "total": 0, "has_more": False}
    gone = ask(server.gateway, "DELETE", path, token=ann)
    assert (gone.status, gone.body) == (204, b"")
    assert is_problem(ask(server.gateway, "DELETE", path, token=ann), 404)


BAD_REQUESTS = [
    (400, "GET", "/api/urls?limit=-1", None),
    (400, "GET", "/api/urls?limit=1.5", None),
    (400, "GET", "/api/urls?offset=%ff", None),
    (400, "GET", "/api/urls?limit=1&limit=2", None),
    (400, "POST", "/api/urls", {}),
    (400, "POST", "/api/urls", {"long_url": 5}),
    (400, "POST", "/api/urls", {"long_url": "https://example.com/", "expires_at": "0"}),
    (400, "POST", "/api/urls", {"long_url": "https://example.com/", "expires_at": 2**63}),
    (400, "POST", "/api/urls/custom", {"alias": "api", "long_url": "https://example.com/"}),
    (404, "GET", "/api/urls/nothere/geo?limit=5", None),
    (404, "GET", "/api/nothing", None),
    (405, "PUT", "/api/urls", None),
    (405, "POST", "/healthz", None),
    (413, "POST", "/api/urls", {"long_url": "x" * 70_000}),
    (415, "POST", "/api/urls", b'{"long_url": "https://example.com/"}'),
]


@pytest.mark.parametrize(("code", "method", "path", "body"), BAD_REQUESTS)
def test_every_error_of_the_gateway_is_a_problem(
    server: Running, tokens: list[str], code: int, method: str, path: str, body: object
) -> None:
    assert is_problem(ask(server.gateway, method, path, body, token=tokens[0]), code)


@pytest.mark.parametrize("accept", ["application/problem+json", "application/json", "text/html,*/*;q=0.8", ""])
def test_errors_of_the_redirects_are_what_was_asked_for(
    pb: SimpleNamespace, stubs: SimpleNamespace, server: Running, accept: str
) -> None:
    request = pb.url_pb2.CreateURLRequest(long_url="https://example.com/", user_id="n", expires_at=1_600_000_000)
    expired = stubs.urls.CreateURL(request).short_code
    for code, method, path in ((404, "GET", "/nothere"), (410, "GET", f"/{expired}"), (405, "POST", "/nothere")):
        answer = ask(server.redirect, method, path, Accept=accept)
        if "json" in accept:
            assert is_problem(answer, code)
        else:
            assert (answer.status, answer.headers["content-type"]) == (code, "text/html; charset=utf-8")
            assert b"<h1>" in answer.body


def test_a_list_of_long_links_comes_in_pages_that_stock_clients_take(
    pb: SimpleNamespace, stubs: SimpleNamespace, server: Running
) -> None:
    person = {"email": "long@example.com", "password": "secret-1", "name": "long"}
    answer = ask(server.gateway, "POST", "/api/auth/register", person).json
    owner_id, token = answer["user_id"], answer["token"]
    long_url = "https://example.com/".ljust(7_910, "a")
    request = pb.url_pb2.CreateURLRequest(long_url=long_url, user_id=owner_id)
    made: list[str] = []
    while len(made) < 600:
        made += [call.result().short_code for call in [stubs.urls.CreateURL.future(request) for _ in range(50)]]
    over_grpc: list[str] = []
    while len(over_grpc) < 600:
        page = stubs.urls.ListURLs(pb.url_pb2.ListURLsRequest(user_id=owner_id, limit=1_000, offset=len(over_grpc)))
        assert page.ByteSize() < 4 << 20
        over_grpc += [url.short_code for url in page.urls]
        assert (page.total, page.has_more) == (600, len(over_grpc) < 600)
    over_rest: list[str] = []
    while len(over_rest) < 600:
        path = f"/api/urls?limit=1000&offset={len(over_rest)}"
        listed = ask(server.gateway, "GET", path, token=token)
        assert len(listed.body) < 4 << 20
        over_rest += [url["short_code"] for url in listed.json["urls"]]
        assert (listed.json["total"], listed.json["has_more"]) == (600, len(over_rest) < 600)
    assert sorted(made) == sorted(over_grpc)
    assert over_grpc == over_rest
