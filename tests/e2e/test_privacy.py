"""What must not be kept is not kept: canaries go in through every door and are looked for in files and log lines."""

import json
import sqlite3
import time
from pathlib import Path
from types import SimpleNamespace

import grpc
import pytest

from tests.e2e import process
from tests.test_metrics import Site

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
}


@pytest.fixture(scope="module")
def token(tmp_path_factory: pytest.TempPathFactory, pb: SimpleNamespace) -> "tuple[str, Path, bytes, dict[str, bytes]]":
    """Send canaries through every door; return a token, the data directory, the log, and the files while it ran."""
    home = tmp_path_factory.mktemp("privacy")
    data_dir = home / "data"
    settings = {
        "ANALYTICS_TRUSTED_PROXIES": "127.0.0.1",
        "GRPC_SERVICE_TOKEN": SERVICE_TOKEN,
        "LOG_LEVEL": "debug",
        "CLICKS_FLUSH_SECONDS": "0.01",
    }
    with process.running(data_dir, **settings) as server:
        token = send_rest(server)
        send_rpc(server, pb)
        follow(server)
        while_running = contents(data_dir)
        deadline = time.monotonic() + 10
        while clicks(data_dir) < 4 and time.monotonic() < deadline:
            time.sleep(0.05)
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
    assert clicks(token[1]) == 4
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
