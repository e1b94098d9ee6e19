"""The lane answers only what aiohttp would answer, and with the same bytes."""

import asyncio
import re
from dataclasses import replace

import pytest
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.http_parser import HttpRequestParser
from hypothesis import example, given, settings
from hypothesis import strategies as st

from shortener.net.listener import Listener
from shortener.net.places import ListenerLimits
from shortener.redirect.lane import Lane, LaneState
from tests.redirect.corpus import ODD, PARTIAL, PLAIN
from tests.redirect.fakes import NOW, World, a_link, get

PROBE = get("/nothing")


def stock(world: World) -> World:
    """Keep the links the corpus speaks of."""
    world.links.keep(a_link(), cached=True)
    world.links.keep(a_link("cold123"), a_link("gone123", expires_at=NOW - 1))
    return world


async def exchange(world: World, port: int, data: bytes) -> tuple[bytes, bool]:
    """Send bytes; return what came back by the time that three later requests were answered, and whether it ended."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(data)
    await writer.drain()
    probe = await world.connect()
    for _ in range(3):
        await probe.ask(PROBE)
    await probe.close()
    ended = reader.at_eof()
    writer.close()
    received = b""
    try:
        received = await asyncio.wait_for(reader.read(), 10)
    except ConnectionError:
        ended = True
    return re.sub(rb"Date: [^\r]*", b"Date: now", received), ended


class AlwaysAway(Lane):
    """Leaves everything to aiohttp."""

    def data_received(self, data: bytes) -> None:
        self._hand_over(data)


async def both(world: World, data: bytes) -> tuple[object, object]:
    """Send bytes to the lane and to aiohttp alone, and return what each did: bytes, end, and clicks."""
    state = replace(world.server._state)
    alone = state.listener = Listener("aiohttp", lambda: AlwaysAway(state), ListenerLimits(100, 100))
    await alone.start("127.0.0.1", 0)
    results = []
    for port in (world.server.listener.port, alone.port):
        world.clicks.recorded.clear()
        outcome = await exchange(world, port, data)
        results.append((*outcome, list(world.clicks.recorded)))
    alone.close()
    await alone.wait_closed()
    return results[0], results[1]


@pytest.mark.parametrize("data", PLAIN, ids=range(len(PLAIN)))
async def test_the_lane_answers_plain_requests_as_aiohttp_does(data: bytes) -> None:
    async with stock(World()).open() as world:
        lane, plain = await both(world, data)
        assert (world.server.traffic.fast, world.server.traffic.slow) == (1, 1)
    assert lane == plain


@pytest.mark.parametrize("data", ODD, ids=range(len(ODD)))
async def test_the_lane_leaves_everything_else_to_aiohttp(data: bytes) -> None:
    async with stock(World()).open() as world:
        lane, plain = await both(world, data)
        assert world.server.traffic.fast == 0
    assert lane == plain


@pytest.mark.parametrize("data", PLAIN, ids=range(len(PLAIN)))
async def test_of_links_that_are_withheld_both_warn(data: bytes) -> None:
    async with stock(World()).open(withheld=lambda link: True) as world:
        lane, plain = await both(world, data)
        assert (world.server.traffic.fast, world.server.traffic.slow, world.server.traffic.withheld) == (0, 0, 2)
    assert lane == plain
    assert isinstance(lane, tuple)
    assert lane[0].startswith(b"HTTP/1.1 403 Forbidden\r\n")
    assert lane[2] == []


@pytest.mark.parametrize("data", PARTIAL, ids=range(len(PARTIAL)))
async def test_neither_answers_half_a_request(data: bytes) -> None:
    async with stock(World()).open() as world:
        assert await both(world, data) == ((b"", False, []), (b"", False, []))


class Wire:
    """A transport that keeps what is written."""

    def __init__(self) -> None:
        self.sent = b""

    def get_extra_info(self, name: str) -> object:
        return ("192.0.2.1", 1)

    def write(self, data: bytes) -> None:
        self.sent += data

    def is_closing(self) -> bool:
        return False


class WatchedLane(Lane):
    """Keeps what it hands over instead of handing it over."""

    def __init__(self, state: LaneState) -> None:
        super().__init__(state)
        self.handed = b""

    def _hand_over(self, data: bytes) -> None:
        self._away = True
        self._fallback = self._fallback or object()  # type: ignore[assignment] # only its presence is looked at
        self.handed += data


class NoProtocol:
    """What aiohttp's parser wants to pause, which no request here makes it do."""

    _reading_paused = False


def as_aiohttp_reads(data: bytes, loop: asyncio.AbstractEventLoop) -> list[tuple[object, ...]] | None:
    """Return (method, path, user agent, referrer, forwarded) of the requests without a body; None for a refusal."""
    parser = HttpRequestParser(NoProtocol(), loop, 2**16, max_line_size=8190, max_field_size=8190)
    try:
        messages, upgraded, tail = parser.feed_data(data)
    except HttpProcessingError:
        return None
    if upgraded or tail:
        return None
    found = []
    for message, payload in messages:
        if message.should_close or message.upgrade or message.chunked or message.compression or not payload.is_eof():
            return None
        fields = message.headers
        forwarded = tuple(fields.getall("X-Forwarded-For", ()))
        found.append(
            (message.method, message.url.raw_path, fields.get("User-Agent", ""), fields.get("Referer", ""), forwarded)
        )
    return found


FRAGMENTS = st.sampled_from(
    [
        *(b"\r\n", b"\n", b"\r", b" ", b"\t", b":", b"\x00", b"\x7f", b"\x80", b"\x0b", b"\r\n ", b"\r\n\r\n"),
        *(b"?", b"#", b"%", b"/", b"HTTP/1.0", b"GET /abc1234 HTTP/1.1\r\n", b"5\r\nhello\r\n0\r\n\r\n"),
        *(b"Content-Length: 5\r\n", b"content-length:0\r\n", b"Transfer-Encoding: chunked\r\n", b"Host: b\r\n"),
        *(b"Connection: close\r\n", b"Upgrade: websocket\r\n", b"Expect: 100-continue\r\n", b"User-Agent: b\r\n"),
        *(b"Keep-Alive: 5\r\n", b"X-Forwarded-For: 1.2.3.4\r\n", b"Referer: x\r\n"),
    ]
)
POSITION = st.floats(0, 1, exclude_max=True)
CHANGE = st.tuples(POSITION, st.integers(0, 4), FRAGMENTS | st.binary(max_size=2))


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """Plain requests with a few bytes or lines put in, left out or replaced."""
    data = draw(st.sampled_from(PLAIN))
    for at, left_out, put_in in draw(st.lists(CHANGE, max_size=3)):
        start = int(at * len(data))
        if draw(st.booleans()):  # at the start of a line, where most of the damage can be done
            start = data.rfind(b"\n", 0, start) + 1
        data = data[:start] + put_in + data[start + left_out :]
    return data


async def test_whatever_the_lane_answers_means_the_same_to_aiohttp() -> None:
    async with stock(World()).open() as world:
        state = world.server._state
        loop = asyncio.get_running_loop()

        @settings(max_examples=1500, deadline=None)
        @example(data=PLAIN[1], cuts=[])
        @given(data=mutated(), cuts=st.lists(POSITION, max_size=3))
        def check(data: bytes, cuts: list[float]) -> None:
            world.clicks.offered.clear()
            wire = Wire()
            lane = WatchedLane(state)
            lane.connection_made(wire)  # type: ignore[arg-type] # all the lane needs of a transport
            world.server.listener.lost(lane)
            ends = sorted(int(cut * len(data)) for cut in cuts)
            for start, end in zip([0, *ends], [*ends, len(data)], strict=True):
                if start < end:
                    lane.data_received(data[start:end])
            state.batch.flush()
            answers = wire.sent.count(b"HTTP/1.1 302 Found\r\n")
            if answers == 0:
                assert lane.handed + lane._partial == data
                return
            read = as_aiohttp_reads(data[: len(data) - len(lane.handed) - len(lane._partial)], loop)
            clicks = [("GET", f"/{code}", agent, referrer) for code, _, agent, referrer in world.clicks.offered]
            clicks += [("GET", f"/{code}", agent, referrer) for code, _, agent, referrer in world.clicks.recorded]
            world.clicks.recorded.clear()
            assert read is not None
            assert len(read) == answers
            assert [request[:4] for request in read] == clicks

        check()
