import asyncio

import pytest

from tests.redirect.fakes import NOW, World, a_link, get

LOCATION = "https://example.com/a%2fb?c=%7e#d"
CLICK = ("abc1234", "127.0.0.1", "", "")


def hot(*codes: str) -> World:
    world = World()
    world.links.keep(*(a_link(code) for code in codes or ("abc1234",)), cached=True)
    return world


async def test_a_cached_link_is_answered_and_counted_at_once() -> None:
    async with hot().open() as world:
        (answer,) = await world.ask(get("/abc1234", "User-Agent: curl/8", "Referer: https://a.example/b"))
        traffic = world.server.traffic
    assert (answer.status, answer.fields) == (
        302,
        [
            ("Location", LOCATION),
            ("Cache-Control", "private, max-age=0"),
            ("Content-Length", "0"),
            ("Date", "Fri, 15 Jan 2027 08:00:00 GMT"),
            ("Server", "shortener"),
        ],
    )
    assert world.clicks.recorded == [("abc1234", "127.0.0.1", "curl/8", "https://a.example/b")]
    assert (traffic.fast, traffic.slow, traffic.handed_over, world.links.found) == (1, 0, 0, [])


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_lane_and_handler_answer_byte_for_byte_alike(status: int) -> None:
    world = World()
    world.links.keep(a_link("hot1234"), cached=True)
    world.links.keep(a_link("cold123"))
    async with world.open(status=status):
        fast, slow = await world.ask(get("/hot1234"), get("/cold123"))
        assert (world.server.traffic.fast, world.server.traffic.slow) == (1, 1)
        world.server.traffic.draining = True
        (fast_end,) = await world.ask(get("/hot1234"))
        (slow_end,) = await world.ask(get("/cold123"))
    assert fast.status == status
    assert (fast.raw, fast_end.raw) == (slow.raw, slow_end.raw)
    assert fast_end.headers["Connection"] == "close"


async def test_the_click_is_recorded_before_the_answer_leaves() -> None:
    async with hot().open() as world:
        seen: list[int] = []
        answer = world.server._state.batch._answer
        around_destination = answer.around_destination

        def watched(now: int, *, closing: bool) -> tuple[bytes, bytes]:
            seen.append(len(world.clicks.recorded))
            return around_destination(now, closing=closing)

        answer.around_destination = watched  # type: ignore[method-assign] # looks on
        await world.ask(get("/abc1234"))
    assert seen == [1]


async def test_clicks_of_one_turn_of_the_loop_share_one_flush() -> None:
    async with hot().open() as world:
        clients = [await world.connect() for _ in range(20)]
        for client in clients:  # a warm-up, so that all connections are accepted
            await client.ask(get("/abc1234"))
        flushes = world.clicks.flushes
        for client in clients:
            client.writer.write(get("/abc1234"))  # leaves at once, before the loop can turn
        for client in clients:
            assert (await client.answer()).status == 302
            await client.close()
    assert len(world.clicks.recorded) == 40
    assert world.clicks.flushes - flushes < 5


async def test_the_lane_takes_the_connection_back_from_aiohttp() -> None:
    world = hot()
    world.links.keep(a_link("cold123"))
    async with world.open():
        paths = ["/abc1234", "/cold123", "/abc1234", "/nothing", "/abc1234", "/favicon.ico", "/abc1234", "/cold123"]
        answers = await world.ask(*(get(path) for path in paths))
        traffic = world.server.traffic
        assert [answer.status for answer in answers] == [302, 302, 302, 404, 302, 200, 302, 302]
        assert (traffic.fast, traffic.slow, traffic.handed_over) == (4, 2, 4)
        head = await world.connect()
        assert (await head.ask(get("/abc1234", method="HEAD"))).status == 302
        assert (await head.ask(get("/abc1234"))).status == 302
        await head.close()
    assert (traffic.fast, traffic.slow) == (5, 3)
    assert len(world.clicks.recorded) == 7


async def test_the_lane_takes_the_connection_back_after_a_body() -> None:
    async with hot().open() as world:
        client = await world.connect()
        posted = await client.ask(get("/abc1234", "Content-Length: 2", method="POST") + b"{}")
        answers = [await client.ask(get("/abc1234")) for _ in range(2)]
        await client.close()
        assert (posted.status, [answer.status for answer in answers]) == (405, [302, 302])
        assert (world.server.traffic.fast, world.server.traffic.slow) == (2, 0)


async def test_a_head_in_pieces_is_put_together() -> None:
    async with hot().open() as world:
        client = await world.connect()
        request = get("/abc1234", "User-Agent: x")
        for piece in (request[i : i + 7] for i in range(0, len(request), 7)):
            await client.send(piece)
            for _ in range(3):
                await asyncio.sleep(0)
        assert (await client.answer()).headers["Location"] == LOCATION
        assert (await client.ask(request)).status == 302
        await client.close()
        assert (world.server.traffic.fast, world.server.traffic.handed_over) == (2, 0)
    assert world.clicks.recorded == [("abc1234", "127.0.0.1", "x", "")] * 2


async def test_pipelined_requests_are_answered_in_order() -> None:
    codes = [f"code{i:03}" for i in range(30)]
    world = World()
    for i, code in enumerate(codes):
        world.links.keep(a_link(code, destination=f"https://example.com/{i}"), cached=i % 2 == 0)
    async with world.open():
        client = await world.connect()
        await client.send(b"".join(get(f"/{code}") for code in codes))
        got = [(await client.answer()).headers["Location"] for _ in codes]
        await client.close()
    assert got == [f"https://example.com/{i}" for i in range(30)]
    assert len(world.clicks.recorded) == 30


async def test_requests_in_quick_succession_keep_their_order() -> None:
    codes = [f"code{i:03}" for i in range(30)]
    world = World()
    for i, code in enumerate(codes):
        world.links.keep(a_link(code, destination=f"https://example.com/{i}"), cached=i % 3 != 0)
    async with world.open():
        client = await world.connect()
        for code in codes:
            await client.send(get(f"/{code}"))
            await asyncio.sleep(0)
        got = [(await client.answer()).headers["Location"] for _ in codes]
        await client.close()
    assert got == [f"https://example.com/{i}" for i in range(30)]


async def test_expiry_is_looked_at_on_each_hit() -> None:
    world = World()
    world.links.keep(a_link(expires_at=NOW + 2), cached=True)
    async with world.open():
        client = await world.connect()
        statuses = []
        for _ in range(4):
            statuses.append((await client.ask(get("/abc1234"))).status)
            world.clock.tick()
        await client.close()
    assert statuses == [302, 302, 410, 410]
    assert len(world.clicks.recorded) == 2


async def test_a_deleted_or_changed_link_is_never_served_stale() -> None:
    async with hot().open() as world:
        client = await world.connect()
        first = await client.ask(get("/abc1234"))
        world.links.keep(a_link(deleted_at=NOW), cached=True)
        gone = await client.ask(get("/abc1234"))
        world.links.keep(a_link(id=2, destination="https://example.org/"), cached=True)
        other = await client.ask(get("/abc1234"))
        await client.close()
    assert (first.status, gone.status, other.headers["Location"]) == (302, 410, "https://example.org/")


async def test_a_cache_that_answers_another_code_is_not_believed() -> None:
    world = World()
    world.links.cached["ABC1234"] = a_link("abc1234")
    async with world.open():
        (answer,) = await world.ask(get("/ABC1234"))
    assert answer.status == 404


@pytest.mark.parametrize("destination", ["https://example.com/\r\nX: y", "https://example.com/é"])
async def test_a_destination_that_cannot_stand_in_a_header_is_an_error(destination: str) -> None:
    world = World()
    world.links.keep(a_link(destination=destination), cached=True)
    async with world.open():
        (answer,) = await world.ask(get("/abc1234"))
    assert (answer.status, world.clicks.recorded) == (500, [])


async def test_a_click_that_cannot_be_recorded_still_redirects() -> None:
    async with hot().open() as world:
        world.clicks.offer_failure = ValueError("a bug")
        (full,) = await world.ask(get("/abc1234"))
        world.clicks.offer_failure = None
        world.clicks.flush_failure = OSError(28, "No space left on device")
        (failing,) = await world.ask(get("/abc1234"))
        assert (full.status, failing.status, world.server.traffic.lost_clicks) == (302, 302, 2)


async def test_forwarded_addresses_count_from_trusted_proxies_alone() -> None:
    request = get("/abc1234", "X-Forwarded-For: 203.0.113.9")
    for proxies, expected in (((), "127.0.0.1"), (("127.0.0.0/8",), "203.0.113.9"), (("10.0.0.1",), "127.0.0.1")):
        world = hot()
        world.links.keep(a_link("cold123"))
        async with world.open(trusted_proxies=proxies):
            await world.ask(request, request, request.replace(b"abc1234", b"cold123"))
        assert [address for _, address, _, _ in world.clicks.recorded] == [expected] * 3


async def test_a_client_that_stops_writing_still_gets_its_answer() -> None:
    async with hot().open() as world:
        client = await world.connect()
        await client.send(get("/abc1234"))
        client.writer.write_eof()
        assert (await client.rest()).startswith(b"HTTP/1.1 302 Found\r\n")
        await client.close()
    assert world.clicks.recorded == [CLICK]


async def test_a_client_that_vanishes_harms_nobody() -> None:
    async with hot().open() as world:
        for request in (get("/abc1234"), get("/nothing"), b"GET /ab"):
            client = await world.connect()
            client.writer.write(request)
            client.writer.transport.abort()
        (answer,) = await world.ask(get("/abc1234"))
        assert answer.status == 302
