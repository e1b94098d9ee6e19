"""Canaries sent over every interface are found neither in files nor in log lines, where they must not be kept."""

import contextlib
import json
import socket
import sqlite3
from pathlib import Path
from types import SimpleNamespace

import grpc
import pytest

from tests.support import process
from tests.support.metrics_client import Site
from tests.support.waiting import wait_for

ADDRESS = "203.0.113.77"
ADDRESS_V6 = "2001:db8:77::abcd"
PASSWORD = "canary-password-6f1d"
WRONG_PASSWORD = "canary-password-wrong-77"
DESTINATION_QUERY = "canary-destination-query"
REFERRER_PATH = "canary-referrer-path"
REFERRER_QUERY = "canary-referrer-query"
AGENT = "CanaryAgent/77 (canary-user-agent)"
BAD_TOKEN = "canary.bad.token"
SERVICE_TOKEN = "canary-service-token-of-some-length"
SHORT_URL_QUERY = "canary-short-url-query"
IDEMPOTENCY_KEY = "canary-idempotency-key"
MALFORMED = "canary-malformed-request"
HEADER = "canary-of-a-header"
BODY = "canary-of-a-refused-body"
FORWARDED = "198.51.100.77"
PATH = "canary-path-of-nothing"
EMAIL = "canary@example.com"
CLICKS = 5
"""Four that are meant, and one by a request that names a whole URL (RFC 9112, 3.2.2)."""

NEVER_KEPT = {
    ADDRESS,
    ADDRESS_V6,
    PASSWORD,
    WRONG_PASSWORD,
    REFERRER_PATH,
    REFERRER_QUERY,
    BAD_TOKEN,
    SERVICE_TOKEN,
    SHORT_URL_QUERY,
    IDEMPOTENCY_KEY,
    MALFORMED,
    HEADER,
    BODY,
    FORWARDED,
    PATH,
}


@pytest.fixture(scope="module")
def token(tmp_path_factory: pytest.TempPathFactory, pb: SimpleNamespace) -> "tuple[str, Path, bytes, dict[str, bytes]]":
    """Send canaries over every interface; return a token, the data directory, the log, and the files while it ran."""
    home = tmp_path_factory.mktemp("privacy")
    data_dir = home / "data"
    settings = {
        "ANALYTICS_TRUSTED_PROXIES": "127.0.0.1",
        "GRPC_SERVICE_TOKEN": SERVICE_TOKEN,
        "LOG_LEVEL": "debug",
        "LOG_ACCESS": "true",
        "LOG_SLOW_SECONDS": "0.0001",
        "CLICKS_FLUSH_SECONDS": "0.01",
    }
    with process.running(data_dir, **settings) as server:
        token = send_rest(server)
        send_rpc(server, pb)
        follow(server)
        send_refused(server, pb, token)
        send_malformed(server)
        while_running = contents(data_dir)
        wait_for(lambda: clicks(data_dir) >= CLICKS)
    return token, data_dir, server.log.read_bytes(), while_running


def send_rest(server: process.Running) -> str:
    """Register, log in rightly and wrongly, create, be refused; return a token."""
    gateway = Site(server.gateway)
    person = {"email": "canary@example.com", "password": PASSWORD, "name": "Canary"}
    assert gateway.ask("POST", "/api/auth/register", person)[0] == 201
    status, answer = gateway.ask("POST", "/api/auth/login", person)
    token = str(json.loads(answer)["token"])
    assert status == 200
    assert gateway.ask("POST", "/api/auth/login", person | {"password": WRONG_PASSWORD})[0] == 401
    assert gateway.ask("GET", "/api/urls", token=BAD_TOKEN)[0] == 401
    link = {"alias": "canary", "long_url": f"https://example.com/?secret={DESTINATION_QUERY}"}
    assert gateway.ask("POST", "/api/urls/custom", link, token=token)[0] == 201
    assert gateway.ask("POST", "/api/urls/custom", link, token=token)[0] == 409
    assert gateway.ask("POST", "/api/urls", {"long_url": f"nothing?{DESTINATION_QUERY}"}, token=token)[0] == 400
    assert gateway.ask("GET", f"/api/urls/canary/stats?x={SHORT_URL_QUERY}", token=token)[0] == 200
    assert gateway.ask("GET", f"/{SHORT_URL_QUERY}?{SHORT_URL_QUERY}")[0] == 404
    gateway.close()
    return token


def send_rpc(server: process.Running, pb: SimpleNamespace) -> None:
    metadata = (("authorization", f"Bearer {SERVICE_TOKEN}"),)
    with grpc.insecure_channel(server.url) as channel:
        users = pb.user_pb2_grpc.UserServiceStub(channel)
        users.ValidateToken(pb.user_pb2.ValidateTokenRequest(token=BAD_TOKEN), metadata=metadata)
        with pytest.raises(grpc.RpcError):
            users.GetProfile(pb.user_pb2.GetProfileRequest(token=BAD_TOKEN), metadata=metadata)
        with pytest.raises(grpc.RpcError):
            users.GetProfile(
                pb.user_pb2.GetProfileRequest(token=BAD_TOKEN), metadata=(("authorization", f"Bearer {BAD_TOKEN}"),)
            )
        analytics = pb.analytics_pb2_grpc.AnalyticsServiceStub(channel)
        analytics.TrackClick(
            pb.analytics_pb2.TrackClickRequest(
                short_code="canary",
                ip_address=ADDRESS,
                user_agent=AGENT,
                referer=f"https://news.example/{REFERRER_PATH}?q={REFERRER_QUERY}",
            ),
            metadata=(*metadata, ("idempotency-key", IDEMPOTENCY_KEY)),
        )
        with pytest.raises(grpc.RpcError):
            analytics.TrackClick(
                pb.analytics_pb2.TrackClickRequest(short_code="canary", ip_address=ADDRESS + ".1"), metadata=metadata
            )


def follow(server: process.Running) -> None:
    """Click over the fast lane, over aiohttp (a head that the lane leaves to it), and from an IPv6 address."""
    import http.client

    host, _, port = server.redirect.rpartition(":")
    for address, more in ((ADDRESS, {}), (ADDRESS, {"Transfer-Encoding": "chunked"}), (ADDRESS_V6, {})):
        connection = http.client.HTTPConnection(host, int(port), timeout=10)
        headers = {
            "X-Forwarded-For": address,
            "User-Agent": AGENT,
            "Referer": f"https://news.example/{REFERRER_PATH}?q={REFERRER_QUERY}",
        }
        connection.request("GET", f"/canary?{SHORT_URL_QUERY}", b"0\r\n\r\n" if more else None, headers | more)
        assert connection.getresponse().status == 302
        connection.close()


def send_refused(server: process.Running, pb: SimpleNamespace, token: str) -> None:
    """What is well-formed and refused: every refusal has an error path of its own."""
    gateway, redirects = Site(server.gateway), Site(server.redirect)
    person = {"email": EMAIL, "password": PASSWORD, "name": "Canary"}
    refused = [
        (gateway.ask("POST", "/api/auth/register", person), 409),
        (gateway.ask("POST", "/api/auth/register", {**person, "email": BODY}), 400),
        (gateway.ask("POST", "/api/auth/login", {"email": f"{BODY}@example.com", "password": WRONG_PASSWORD}), 401),
        (gateway.ask("POST", "/api/auth/login", {"email": EMAIL, "password": [PASSWORD]}), 400),
        (gateway.ask("POST", "/api/urls", {"long_url": f"https://u:{BODY}@example.com/"}, token=token), 400),
        (gateway.ask("POST", "/api/urls/custom", {"alias": f"{BODY}!", "long_url": BODY}, token=token), 400),
        (gateway.ask("PATCH", "/api/auth/profile", {"email": f"{BODY}@"}, token=token), 400),
        (gateway.ask("GET", f"/api/urls?limit={SHORT_URL_QUERY}", token=token), 400),
        (gateway.ask("GET", f"/api/urls?token={token}&access_token={BAD_TOKEN}"), 401),
        (gateway.ask("GET", f"/api/urls/canary/geo?limit={SHORT_URL_QUERY}", token=token), 400),
        (gateway.ask("GET", f"/api/urls/{PATH}?{SHORT_URL_QUERY}", token=token), 404),
        (gateway.ask("DELETE", f"/{PATH}/{PATH}?{SHORT_URL_QUERY}", token=token), 404),
        (gateway.ask("PUT", f"/api/urls?{SHORT_URL_QUERY}", person, token=token), 405),
        (redirects.ask("GET", f"/{PATH}?{SHORT_URL_QUERY}"), 404),
        (redirects.ask("GET", f"/{PATH}/{PATH}?{SHORT_URL_QUERY}"), 404),
        (redirects.ask("POST", f"/canary?{SHORT_URL_QUERY}", person), 405),
    ]
    assert [answer[0] for answer, _ in refused] == [status for _, status in refused]
    gateway.close()
    redirects.close()
    metadata = (("authorization", f"Bearer {SERVICE_TOKEN}"), ("x-canary", HEADER), ("cookie", HEADER))
    with grpc.insecure_channel(server.url) as channel:
        for path, message in (
            ("/user.UserService/Login", pb.user_pb2.LoginRequest(email=EMAIL, password=WRONG_PASSWORD)),
            ("/user.UserService/Register", pb.user_pb2.RegisterRequest(email=BODY, password=PASSWORD, name="C")),
            ("/user.UserService/UpdateProfile", pb.user_pb2.UpdateProfileRequest(token=BAD_TOKEN, name=BODY)),
            ("/url.URLService/CreateURL", pb.url_pb2.CreateURLRequest(long_url=f"x:{BODY}", user_id="canary")),
            ("/url.URLService/GetURL", pb.url_pb2.GetURLRequest(short_code=PATH)),
            (f"/{PATH}/{PATH}", pb.url_pb2.GetURLRequest(short_code=PATH)),
        ):
            for sent in (metadata, (("authorization", f"Bearer {BAD_TOKEN}"),)):
                with pytest.raises(grpc.RpcError):
                    channel.unary_unary(path)(message.SerializeToString(), metadata=sent, timeout=10)
        with pytest.raises(grpc.RpcError):
            channel.unary_unary("/url.URLService/GetURL")(b"\xff" + MALFORMED.encode(), metadata=metadata, timeout=10)


def send_malformed(server: process.Running) -> None:
    """What is no request at all, to every port."""
    secrets = f"Authorization: Bearer {BAD_TOKEN}\r\nX-Forwarded-For: {FORWARDED}\r\nCookie: {HEADER}\r\n"
    for address in (server.gateway, server.redirect, server.url, server.user, server.analytics):
        for text in (
            f"{MALFORMED}\r\n\r\n",
            f"GET /{MALFORMED}?{SHORT_URL_QUERY} HTTP/9.9\r\n{secrets}\r\n",
            f"GET /canary HTTP/1.1\r\nHost: a\r\n{MALFORMED}: \x00{MALFORMED}\r\n{secrets}\r\n",
            f"GET /canary HTTP/1.1\r\nHost: a\r\n {MALFORMED}\r\n\r\n",
            f"GET /canary HTTP/1.1\r\nHost: a\r\nX: {MALFORMED * 2000}\r\n{secrets}\r\n",
            f"POST /api/urls HTTP/1.1\r\nHost: a\r\nContent-Length: {MALFORMED}\r\n{secrets}\r\n{BODY}",
            f"POST /api/auth/login HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n{secrets}\r\n{BODY}\r\n",
            f"POST /api/auth/login HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 99\r\n\r\n"
            f'{{"password": "{BODY}"' + " " * 99,
            f"GET http://{MALFORMED}@a/canary?{SHORT_URL_QUERY} HTTP/1.1\r\nHost: {MALFORMED}\r\n{secrets}\r\n",
            f"CONNECT {MALFORMED}:80 HTTP/1.1\r\nHost: a\r\n\r\n",
            f"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n{MALFORMED}",
            f"\x16\x03\x01{MALFORMED}",
        ):
            host, _, port = address.rpartition(":")
            with socket.create_connection((host, int(port)), timeout=10) as peer, contextlib.suppress(ConnectionError):
                peer.sendall(text.encode("latin-1"))
                peer.shutdown(socket.SHUT_WR)
                while peer.recv(65_536):
                    pass


def clicks(data_dir: Path) -> int:
    database = sqlite3.connect(data_dir / "shortener.db")
    try:
        return int(database.execute("SELECT COUNT(*) FROM clicks").fetchone()[0])
    finally:
        database.close()


def contents(data_dir: Path) -> dict[str, bytes]:
    """Every file below the data directory."""
    return {str(path.relative_to(data_dir)): path.read_bytes() for path in data_dir.rglob("*") if path.is_file()}


Sent = tuple[str, Path, bytes, dict[str, bytes]]


def found(text: str, files: dict[str, bytes]) -> set[str]:
    """The files that hold a text: as it is, case apart, or as hexadecimal digits."""
    wanted = {text.encode().lower(), text.encode().hex().encode()}
    return {name for name, content in files.items() if any(each in content.lower() for each in wanted)}


def test_the_clicks_did_arrive(token: Sent) -> None:
    assert clicks(token[1]) == CLICKS
    assert "shortener.db" in found("https://news.example", contents(token[1]))


@pytest.mark.parametrize("canary", sorted(NEVER_KEPT))
def test_it_is_in_no_file_and_no_log_line(token: Sent, canary: str) -> None:
    _, data_dir, log, while_running = token
    for files in (contents(data_dir), while_running, {"log": log}):
        assert found(canary, files) == set()


def test_no_packed_address_is_in_any_file(token: Sent) -> None:
    import ipaddress

    _, data_dir, log, while_running = token
    packed = ipaddress.ip_address(ADDRESS_V6).packed
    for files in (contents(data_dir), while_running, {"log": log}):
        assert [name for name, content in files.items() if packed in content] == []


def test_who_is_registered_is_in_no_log_line(token: Sent) -> None:
    assert found(EMAIL, {"log": token[2]}) == set()
    assert found("canary-", {"log": token[2]}) == set()


def test_the_log_did_hear_of_it(token: Sent) -> None:
    """Else nothing could have been in it: access lines, slow ones and refusals are there."""
    lines = [json.loads(line) for line in token[2].decode().splitlines()]
    assert len(lines) > 40
    assert {"ready", "request refused", "call refused"} <= {line["event"] for line in lines}


def test_tokens_are_in_no_file_and_no_log_line(token: Sent) -> None:
    issued, data_dir, log, while_running = token
    signature = issued.rpartition(".")[2]
    for files in (contents(data_dir), while_running, {"log": log}):
        assert found(signature, files) == set()


def test_the_destinations_query_is_in_the_database_alone(token: Sent) -> None:
    _, data_dir, log, while_running = token
    assert found(DESTINATION_QUERY, {"log": log}) == set()
    assert found(DESTINATION_QUERY, contents(data_dir)) == {"shortener.db"}
    assert found(DESTINATION_QUERY, while_running) <= {"shortener.db", "shortener.db-wal"}
    database = sqlite3.connect(data_dir / "shortener.db")
    try:
        tables = [name for (name,) in database.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")]
        holding = {
            table
            for table in tables
            for row in database.execute(f'SELECT * FROM "{table}"')
            if any(DESTINATION_QUERY in str(value) for value in row)
        }
    finally:
        database.close()
    assert holding == {"links"}


def test_user_agents_are_in_no_log_line_and_not_in_the_database(token: Sent) -> None:
    _, data_dir, log, _ = token
    assert found(AGENT, {"log": log}) == set()
    assert found(AGENT, {"db": (data_dir / "shortener.db").read_bytes()}) == set()


def test_every_log_line_is_json(token: Sent) -> None:
    for line in token[2].decode().splitlines():
        assert {"time", "level", "logger", "event"} <= json.loads(line).keys()
