"""Stand-ins for what the redirect server needs, and a client that sends and compares raw bytes."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace

from shortener.config.sections import Redirect
from shortener.links.model import Link, is_plain
from shortener.redirect.ports import LookUp, Misses, RedirectPorts, Settled, Withheld
from shortener.redirect.server import RedirectServer, open_redirect_server
from tests.support.fakes import FakeClock

NOW = 1_800_000_000
A_LINK = Link(
    id=1,
    short_code="abc1234",
    destination="https://example.com/a%2fb?c=%7e#d",
    expires_at=0,
    deleted_at=0,
    is_plain=True,
)

SETTINGS = Redirect(connections_max=100, head_timeout_seconds=5.0, keepalive_seconds=5.0, head_size_max=8190)


def a_link(short_code: str = "abc1234", **changes: object) -> Link:
    link = A_LINK._replace(short_code=short_code, **changes)  # type: ignore[arg-type] # tests name real fields
    return link._replace(is_plain=is_plain(link.destination))


class MemoryLinks:
    """Links in a store, some of which are also at hand in memory."""

    def __init__(self) -> None:
        self.stored: dict[str, Link] = {}
        self.cached: dict[str, Link] = {}
        self.failure: BaseException | None = None
        self.found: list[str] = []
        self.gate: asyncio.Event | None = None
        self.looked_up: list[tuple[str, asyncio.Future[Link | None]]] = []

    def keep(self, *links: Link, cached: bool = False) -> None:
        for link in links:
            self.stored[link.short_code] = link
            if cached:
                self.cached[link.short_code] = link

    def peek(self, short_code: str) -> Link | None:
        return self.cached.get(short_code)

    def look_up(self, short_code: str) -> asyncio.Future[Link | None]:
        """Return a future that the test settles: it is the last of `looked_up`."""
        future: asyncio.Future[Link | None] = asyncio.get_running_loop().create_future()
        self.looked_up.append((short_code, future))
        return future

    async def find(self, short_code: str) -> Link | None:
        self.found.append(short_code)
        if self.gate is not None:
            await self.gate.wait()
        if self.failure is not None:
            raise self.failure
        return self.stored.get(short_code)


Click = tuple[str, str, str, str]


class MemoryClicks:
    """Clicks as (short code, address, user agent, referrer); `recorded` are those that were flushed."""

    def __init__(self) -> None:
        self.offered: list[Click] = []
        self.recorded: list[Click] = []
        self.flushes = 0
        self.offer_failure: Exception | None = None
        self.flush_failure: Exception | None = None

    def offer(self, link: Link, address: str, user_agent: str, referrer: str) -> None:
        if self.offer_failure is not None:
            raise self.offer_failure
        self.offered.append((link.short_code, address, user_agent, referrer))

    def flush(self) -> None:
        if self.flush_failure is not None:
            raise self.flush_failure
        self.flushes += 1
        self.recorded += self.offered
        self.offered = []


class World:
    """A redirect server on a free port with everything around it."""

    def __init__(self) -> None:
        self.clock = FakeClock(NOW)
        self.links = MemoryLinks()
        self.clicks = MemoryClicks()
        self.observed: list[tuple[str, str, float, int]] = []
        self.server: RedirectServer

    @asynccontextmanager
    async def open(
        self,
        *,
        settled: Settled | None = None,
        look_up: LookUp | None = None,
        withheld: Withheld | None = None,
        misses: Misses | None = None,
        trusted_proxies: tuple[str, ...] = (),
        **changes: object,
    ) -> AsyncIterator["World"]:
        settings = replace(SETTINGS, **changes)  # type: ignore[arg-type] # tests name real fields
        ports = RedirectPorts(
            find=self.links.find,
            peek=self.links.peek,
            clicks=self.clicks,
            clock=self.clock,
            new_id=lambda: "request-1",
            look_up=look_up,
            misses=misses,
            settled=settled,
            withheld=withheld,
            observe=lambda *facts: self.observed.append(facts),
        )
        async with open_redirect_server(
            ports, settings, host="127.0.0.1", port=0, trusted_proxies=trusted_proxies
        ) as self.server:
            yield self

    async def connect(self) -> "Client":
        reader, writer = await asyncio.open_connection("127.0.0.1", self.server.listener.port)
        return Client(reader, writer)

    async def ask(self, *requests: bytes) -> list["Answer"]:
        """Send requests one after another on one connection and return their answers."""
        client = await self.connect()
        try:
            return [await client.ask(request) for request in requests]
        finally:
            await client.close()


class Answer:
    """One answer, as bytes and taken apart."""

    def __init__(self, head: bytes, body: bytes) -> None:
        self.raw = head + body
        self.body = body
        lines = head.decode("latin-1").split("\r\n")
        self.status = int(lines[0].split(" ")[1])
        self.fields = [tuple(line.split(": ", 1)) for line in lines[1:] if line]
        self.headers = {name: value for name, value in self.fields}  # noqa: C416 - the pairs are lists of str to mypy


class Client:
    """Speaks raw HTTP/1.1."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def answer(self, *, head_only: bool = False) -> Answer:
        head = await asyncio.wait_for(self.reader.readuntil(b"\r\n\r\n"), 10)
        answer = Answer(head, b"")
        size = int(answer.headers.get("Content-Length", "0"))
        if size and not head_only:
            return Answer(head, await asyncio.wait_for(self.reader.readexactly(size), 10))
        return answer

    async def ask(self, request: bytes) -> Answer:
        await self.send(request)
        return await self.answer(head_only=request.startswith(b"HEAD "))

    async def rest(self) -> bytes:
        """Return all that comes until the server closes the connection."""
        try:
            return await asyncio.wait_for(self.reader.read(), 10)
        except ConnectionResetError:
            return b""

    async def close(self) -> None:
        self.writer.close()
        with suppress(ConnectionError):
            await self.writer.wait_closed()


def get(path: str, *fields: str, method: str = "GET", host: str = "localhost:8081") -> bytes:
    lines = [f"{method} {path} HTTP/1.1", f"Host: {host}", *fields]
    return "".join(line + "\r\n" for line in lines).encode("latin-1") + b"\r\n"
