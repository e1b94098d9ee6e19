"""The access log writes a line a request without holding anyone up; the slow log warns, and not for ever."""

import http.client
import json
import logging
import os
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import grpc
import pytest

from shortener.config.sections import Log
from shortener.observe import request_log as requestlog
from shortener.observe.request_log import PIPE_BYTES, SLOW_LINES_MAX, open_request_log
from tests.support import process
from tests.support.metrics_client import Site, metrics, value


def lines_of(*pieces: bytes) -> list[dict[str, Any]]:
    return [json.loads(line) for line in b"".join(pieces).splitlines()]


def test_a_line_tells_route_status_time_size_and_id() -> None:
    pieces: list[bytes] = []
    with open_request_log(Log(access=True, slow_seconds=0, format="json"), pieces.append) as requests:
        assert requests.least_seconds == 0
        requests.add("rest", "GET /api/urls", 200, 0.0123456, request_id="abc", size=17)
        requests.add("grpc", "/url.URLService/GetURL", "NOT_FOUND", 2.0)
    first, second = lines_of(*pieces)
    assert first.pop("time").endswith("Z")
    assert first == {
        "level": "info",
        "logger": "shortener.access",
        "event": "request",
        "protocol": "rest",
        "route": "GET /api/urls",
        "status": 200,
        "ms": 12.346,
        "request_id": "abc",
        "bytes": 17,
    }
    assert len(second.pop("request_id")) == 32
    assert second["status"] == "NOT_FOUND"
    assert "bytes" not in second


def test_text_lines_are_one_line_each() -> None:
    pieces: list[bytes] = []
    with open_request_log(Log(access=True, slow_seconds=0, format="text"), pieces.append) as requests:
        requests.add("rest", "GET /\n", 200, 0.001, request_id="abc", size=1)
    [line] = b"".join(pieces).decode().splitlines()
    assert line.endswith(
        "shortener.access: request protocol='rest' route='GET /\\n' status=200 ms=1.0 request_id='abc' bytes=1"
    )


def test_pieces_are_what_a_pipe_takes_at_once_and_end_with_a_line() -> None:
    pieces: list[bytes] = []
    with open_request_log(Log(access=True, slow_seconds=0, format="json"), pieces.append) as requests:
        for _ in range(500):
            requests.add("redirect", "GET /{short_code}", 302, 0.001, size=0)
    assert len(lines_of(*pieces)) == 500
    assert {piece[-1:] for piece in pieces} == {b"\n"}
    assert max(map(len, pieces)) <= PIPE_BYTES


def test_a_reader_that_does_not_read_costs_lines_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(requestlog, "WAITING_MAX", 10)
    stuck, go_on = threading.Event(), threading.Event()

    def write(_piece: bytes) -> None:
        stuck.set()
        assert go_on.wait(10)

    with open_request_log(Log(access=True, slow_seconds=0, format="json"), write) as requests:
        requests.add("rest", "GET /api/urls", 200, 0.001)
        assert stuck.wait(10)
        for _ in range(25):
            requests.add("rest", "GET /api/urls", 200, 0.001)
        assert (len(requests.waiting), requests.dropped) == (10, 15)
        go_on.set()
    assert len(requests.waiting) == 0


def test_lines_that_cannot_be_written_are_counted() -> None:
    def write(_piece: bytes) -> None:
        raise OSError(28, "No space left on device")

    with open_request_log(Log(access=True, slow_seconds=0, format="json"), write) as requests:
        requests.add("rest", "GET /api/urls", 200, 0.001)
    assert requests.dropped == 1


def test_slow_requests_are_warned_of_ten_times_a_second_at_most(caplog: pytest.LogCaptureFixture) -> None:
    with open_request_log(Log(access=False, slow_seconds=0.5, format="json")) as requests:
        assert requests.least_seconds == 0.5
        for _ in range(50):
            requests.add("rest", "GET /api/urls", 200, 0.5, request_id="abc")
        requests.add("rest", "GET /api/urls", 200, 0.4999)
        requests.add("grpc", "/grpc.health.v1.Health/Watch", "OK", 600.0, may_be_slow=False)
    assert requests.slow == 50
    assert len(requests.waiting) == 0
    assert 10 <= len(caplog.records) <= 2 * SLOW_LINES_MAX  # when a second ends meanwhile
    first = caplog.records[0]
    assert (first.levelno, first.getMessage()) == (logging.WARNING, "slow request")
    facts = {key: vars(first)[key] for key in ("protocol", "route", "status", "ms", "request_id")}
    assert facts == {"protocol": "rest", "route": "GET /api/urls", "status": 200, "ms": 500.0, "request_id": "abc"}


def test_off_is_off() -> None:
    with open_request_log(Log(access=False, slow_seconds=0, format="json")) as requests:
        assert requests.least_seconds == float("inf")
        requests.add("rest", "GET /api/urls", 200, 1e9)
    assert (requests.slow, len(requests.waiting)) == (0, 0)


def test_the_server_writes_a_line_for_each_request(tmp_path: Path, pb: SimpleNamespace) -> None:
    with process.running(tmp_path / "data", LOG_ACCESS="true", LOG_SLOW_SECONDS="0.000001") as server:
        with grpc.insecure_channel(server.url) as channel:
            stub = pb.url_pb2_grpc.URLServiceStub(channel)
            made = stub.CreateURL(pb.url_pb2.CreateURLRequest(long_url="https://example.com/?canary", user_id="m"))
            with pytest.raises(grpc.RpcError):
                stub.GetURL(pb.url_pb2.GetURLRequest(short_code="canary"))
        redirects, gateway = Site(server.redirect), Site(server.gateway)
        assert redirects.ask("GET", f"/{made.short_code}?canary")[0] == 302
        assert redirects.ask("HEAD", f"/{made.short_code}")[0] == 302
        assert redirects.ask("GET", "/canary")[0] == 404
        assert gateway.ask("GET", "/api/urls/canary?canary", token="canary.canary.canary")[0] == 401
        assert gateway.ask("GET", "/healthz")[0] == 200
        redirects.close()
        gateway.close()
        samples = metrics(server)
    text = server.log.read_text()
    assert "canary" not in text
    assert made.short_code not in text
    lines = [json.loads(line) for line in text.splitlines()]
    access = [line for line in lines if line["logger"] == "shortener.access"]
    assert sorted((line["protocol"], line["route"], line["status"]) for line in access) == [
        ("grpc", "/url.URLService/CreateURL", "OK"),
        ("grpc", "/url.URLService/GetURL", "NOT_FOUND"),
        ("redirect", "GET /{short_code}", 302),
        ("redirect", "GET /{short_code}", 404),
        ("redirect", "HEAD /{short_code}", 302),
        ("rest", "GET /api/urls/{short_code}", 401),
        ("rest", "GET /healthz", 200),
        ("rest", "GET /metrics", 200),
    ]
    assert all(0 < line["ms"] < 10_000 for line in access)
    assert len({line["request_id"] for line in access}) == len(access)
    [create] = [line for line in access if line["route"] == "/url.URLService/CreateURL"]
    assert create["bytes"] == made.ByteSize()
    slow = [line for line in lines if line["event"] == "slow request"]
    assert {line["level"] for line in slow} == {"warning"}
    assert {line["protocol"] for line in slow} == {"grpc", "redirect", "rest"}
    assert value(samples, "shortener_slow_requests_total") >= 7
    assert value(samples, "shortener_access_lines_dropped_total") == 0


def test_a_line_of_an_internal_error_names_the_id_that_the_caller_got(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import asyncio

    from shortener.config.loading import load
    from shortener.links.cache import ReadThrough
    from shortener.server.listeners import open_servers
    from shortener.server.sockets import bind

    pieces: list[bytes] = []
    monkeypatch.setattr(requestlog, "_to_stderr", pieces.append)
    ports = ("GRPC_URL_PORT", "GRPC_USER_PORT", "GRPC_ANALYTICS_PORT", "GATEWAY_PORT", "REDIRECT_PORT")
    environ = {f"SHORTENER_{port}": "0" for port in ports} | {"SHORTENER_LOG_ACCESS": "true"}
    config = load(None, environ | {"SHORTENER_STORAGE_DATA_DIR": str(tmp_path / "data")})

    async def broken(_cache: object, _code: str) -> None:
        raise RuntimeError("broken")

    monkeypatch.setattr(ReadThrough, "find", broken)

    async def ask() -> str:
        with bind(config) as sockets:
            async with open_servers(config, sockets):
                host, _, port = sockets.address("redirect").rpartition(":")
                reader, writer = await asyncio.open_connection(host, int(port))
                writer.write(b"GET /abc1234 HTTP/1.1\r\nHost: x\r\nAccept: application/problem+json\r\n\r\n")
                await writer.drain()
                head = await reader.readuntil(b"\r\n\r\n")
                size = int(http.client.parse_headers(_file(head))["Content-Length"])
                body = json.loads(await reader.readexactly(size))
                writer.close()
                return str(body["request_id"])

    request_id = asyncio.run(ask())
    [line] = lines_of(*pieces)
    assert (line["status"], line["request_id"]) == (500, request_id)


def _file(head: bytes) -> Any:
    import io

    return io.BytesIO(head.partition(b"\r\n")[2])


def test_what_cannot_be_written_at_once_is_written_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with (tmp_path / "log").open("wb") as file:
        monkeypatch.setattr(requestlog.sys, "stderr", file)
        whole = os.write
        monkeypatch.setattr(os, "write", lambda descriptor, data: whole(descriptor, data[:3]))
        requestlog._to_stderr(b"0123456789\n")
    assert (tmp_path / "log").read_bytes() == b"0123456789\n"
