"""Connections of the gateway: time limits, malformed requests, drain."""

import asyncio
import json
import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace

import pytest
from aiohttp import http_parser

from shortener.net.http import require_c_parser
from shortener.net.places import RESERVED_PLACES
from tests.rest.site import HTTP, Site, running


class Peer:
    """A client that writes what it likes."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def answer(self) -> tuple[bytes, bytes]:
        """Return head and body of one answer."""
        async with asyncio.timeout(5):
            head = await self.reader.readuntil(b"\r\n\r\n")
            length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
            return head, await self.reader.readexactly(length)

    async def ask(self, path: str = "/healthz") -> tuple[bytes, bytes]:
        self.writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        return await self.answer()

    async def closed(self) -> bytes:
        """Return what else comes before the end."""
        async with asyncio.timeout(5):
            return await self.reader.read()


@asynccontextmanager
async def peer(site: Site) -> AsyncIterator[Peer]:
    assert site.server is not None
    reader, writer = await asyncio.open_connection("127.0.0.1", site.server.listener.port)
    try:
        yield Peer(reader, writer)
    finally:
        writer.close()


@pytest.mark.parametrize("start", [b"", b"GET /healthz HTTP/1.1\r\nHo"])
async def test_a_head_that_does_not_come_ends_the_connection(start: bytes) -> None:
    async with running(replace(HTTP, head_timeout_seconds=0.2)) as (site, _), peer(site) as opened:
        opened.writer.write(start)
        if start.count(b"GET") > 1:
            assert (await opened.answer())[0].startswith(b"HTTP/1.1 200")
        assert await opened.closed() == b""


async def test_a_dripping_head_ends_the_connection() -> None:
    async with running(replace(HTTP, head_timeout_seconds=0.2)) as (site, _), peer(site) as opened:
        opened.writer.write(b"GET /healthz HTTP/1.1\r\n")
        closed = asyncio.ensure_future(opened.closed())
        while not closed.done():
            opened.writer.write(b"x")
            await asyncio.wait([closed], timeout=0.05)
        assert closed.exception() is None or isinstance(closed.exception(), ConnectionError)


async def test_an_idle_connection_is_closed_after_its_time() -> None:
    async with running(replace(HTTP, keepalive_seconds=0.2)) as (site, _), peer(site) as opened:
        assert (await opened.ask())[0].startswith(b"HTTP/1.1 200")
        assert await opened.closed() == b""


async def test_a_slow_handler_is_not_mistaken_for_a_slow_head() -> None:
    async with (
        running(replace(HTTP, head_timeout_seconds=0.1, keepalive_seconds=0.1)) as (site, _),
        peer(site) as opened,
    ):
        opened.writer.write(b"GET /api/wait HTTP/1.1\r\nHost: x\r\n\r\n")
        await asyncio.sleep(0.3)
        site.release.set()
        assert (await opened.answer())[0].startswith(b"HTTP/1.1 200")


async def test_a_body_that_does_not_come_is_408_and_the_end() -> None:
    limits = replace(HTTP, head_timeout_seconds=0.2)
    async with running(limits, body_timeout_seconds=0.1) as (site, _), peer(site) as opened:
        head = (
            b"POST /api/urls HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer t0ken\r\nContent-Type: application/json\r\n"
        )
        opened.writer.write(head + b"Content-Length: 100\r\n\r\n{")
        answer, body = await opened.answer()
        assert answer.startswith(b"HTTP/1.1 408")
        assert b"Connection: close" in answer
        assert b"/problems/too_slow" in body
        assert await opened.closed() == b""


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"nonsense\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET / HTTP/1.1\r\nBad Header: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"GET /" + b"x" * 10_000 + b" HTTP/1.1\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    ],
)
async def test_what_is_not_http_is_a_problem_and_the_end(request_bytes: bytes) -> None:
    async with running() as (site, _), peer(site) as opened:
        opened.writer.write(request_bytes)
        head, body = await opened.answer()
        assert re.match(rb"HTTP/1\.[01] 400 ", head)
        assert b"Content-Type: application/problem+json\r\n" in head
        assert b"/problems/invalid" in body
        assert await opened.closed() == b""


async def test_connections_beyond_the_limit_are_refused_and_hear_it() -> None:
    async with running(replace(HTTP, connections_max=1)) as (site, _), peer(site) as first:
        assert (await first.ask())[0].startswith(b"HTTP/1.1 200")
        async with peer(site) as second:
            head, body = await second.ask("/api/urls")
            assert head.startswith(b"HTTP/1.1 503 ")
            assert b"\r\nRetry-After: 1\r\n" in head
            assert json.loads(body)["status"] == 503
            assert await second.closed() == b""
        assert (await first.ask())[0].startswith(b"HTTP/1.1 200")
        assert site.server is not None
        assert site.server.listener.refused == 1


async def test_health_is_answered_beyond_the_limit() -> None:
    async with running(replace(HTTP, connections_max=1)) as (site, _), peer(site) as first:
        await first.ask()
        for path, status in (("/healthz", 200), ("/readyz?x", 503)):
            async with peer(site) as probe:
                head, _body = await probe.ask(path)
                assert head.startswith(b"HTTP/1.1 %d " % status)
                assert b"\r\nConnection: close\r\n" in head
                assert await probe.closed() == b""


async def test_reserved_places_go_round() -> None:
    async with running(replace(HTTP, connections_max=1)) as (site, _), peer(site) as first, AsyncExitStack() as stack:
        await first.ask()
        silent = [await stack.enter_async_context(peer(site)) for _ in range(2 * RESERVED_PLACES)]
        async with peer(site) as probe:
            assert (await probe.ask())[0].startswith(b"HTTP/1.1 200")
        assert await silent[0].closed() == b""
        assert (await first.ask())[0].startswith(b"HTTP/1.1 200")


async def test_a_connection_beyond_the_limit_takes_the_place_of_one_that_idles(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shortener.net.places.SILENT_SECONDS_MIN", 0.05)
    limits = replace(HTTP, connections_max=1, head_timeout_seconds=0.2)  # which the listener looks after four times
    async with running(limits) as (site, _), peer(site) as idle:
        assert (await idle.ask("/api/urls"))[0].startswith(b"HTTP/1.1 401")
        await asyncio.sleep(0.3)
        async with peer(site) as second:
            assert (await second.ask("/api/urls"))[0].startswith(b"HTTP/1.1 401")
            assert await idle.closed() == b""


async def test_others_have_their_turn_between_requests_of_one_connection() -> None:
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    async with running() as (site, _), peer(site) as opened:
        await opened.ask()
        counting = asyncio.create_task(count())
        opened.writer.write(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n" * 100)
        for _ in range(100):
            await opened.answer()
        counting.cancel()
    assert turns > 100


async def test_drain_answers_what_comes_and_loses_nothing() -> None:
    async with running() as (site, _), peer(site) as idle, peer(site) as asking, peer(site) as busy:
        assert site.server is not None
        for opened in (idle, asking):
            assert b"Connection: close" not in (await opened.ask())[0]
        busy.writer.write(b"GET /api/wait HTTP/1.1\r\nHost: x\r\n\r\n")
        await site.started.wait()
        drained = asyncio.ensure_future(site.server.drain(5))
        await asyncio.sleep(0)
        head, _body = await asking.ask()
        assert head.startswith(b"HTTP/1.1 200")
        assert b"Connection: close" in head
        assert await asking.closed() == b""
        assert await idle.closed() == b""
        assert not drained.done()
        site.release.set()
        assert (await busy.answer())[0].startswith(b"HTTP/1.1 200")
        await drained
        assert len(site.server.listener.connections) == 0
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", site.server.listener.port)


async def test_drain_ends_with_its_grace() -> None:
    async with running() as (site, _), peer(site) as busy:
        assert site.server is not None
        busy.writer.write(b"GET /api/wait HTTP/1.1\r\nHost: x\r\n\r\n")
        await site.started.wait()
        await asyncio.wait_for(site.server.drain(0.1), 2)
        assert len(site.server.listener.connections) == 1


async def test_nothing_runs_on_after_the_end() -> None:
    before = asyncio.all_tasks()
    async with running() as (site, _), peer(site) as busy, peer(site) as left, peer(site) as idle:
        for opened in (busy, left):
            site.started.clear()
            opened.writer.write(b"GET /api/wait HTTP/1.1\r\nHost: x\r\n\r\n")
            await site.started.wait()
        await idle.ask()
        left.writer.close()
        assert site.server is not None
        await site.server.close()
        assert await busy.closed() == b""
        assert asyncio.all_tasks() == before


async def test_a_busy_port_is_an_os_error() -> None:
    async with running() as (site, _), running() as (other, _second):
        assert site.server is not None
        assert other.server is not None
        with pytest.raises(OSError, match="in use"):
            await other.server.start("127.0.0.1", site.server.listener.port)


def test_the_python_parser_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    require_c_parser()
    monkeypatch.setattr(http_parser, "HttpRequestParser", http_parser.HttpRequestParserPy)
    with pytest.raises(RuntimeError, match="C extensions"):
        require_c_parser()


async def test_an_expectation_that_is_not_known_is_a_problem_as_well() -> None:
    async with running() as (site, _), peer(site) as opened:
        opened.writer.write(b"GET /healthz HTTP/1.1\r\nHost: x\r\nExpect: tea\r\n\r\n")
        head, body = await opened.answer()
        assert head.startswith(b"HTTP/1.1 417 ")
        assert b"\r\nContent-Type: application/problem+json\r\n" in head
        assert json.loads(body) == {
            "type": "/problems/expectation_failed",
            "title": "Expectation failed",
            "status": 417,
            "detail": "only the expectation 100-continue is known",
        }
        assert (await opened.ask())[0].startswith(b"HTTP/1.1 200")
