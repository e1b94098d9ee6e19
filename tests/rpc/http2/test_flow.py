"""Flow control both ways, and what waits for slow clients."""

import asyncio
import struct
from contextlib import AsyncExitStack
from typing import Any

import pytest
from grpclib.const import Cardinality, Handler

from shortener.gen.url import GetUrlRequest, GetUrlResponse, Url
from shortener.rpc.http2 import RpcServer, outbound
from tests.support.h2_peer import Odd, serving
from tests.support.h2_wire import Answer, WireClient, frame, head, message, wire
from tests.support.waiting import until

WINDOW = 4
FLOW, CALM = 3, 11


def size_of(data: bytes) -> int:
    return struct.unpack(">I", data[1:5])[0] + 5


async def test_an_answer_waits_for_the_streams_window() -> None:
    async with serving(Odd()) as server, wire(server, settings={WINDOW: 10}) as client:
        client.write(client.call(1, "/test.Odd/big", message("100")))
        await client.settle()
        answer = client.answers[1]
        assert (len(answer.data), answer.ended) == (10, False)
        client.grow(1, 7)
        await client.settle()
        assert len(answer.data) == 17
        client.grow(1, 1000)
        assert (await client.ended(1)).status == "0"
        assert len(GetUrlResponse().parse(answer.data[5:]).url.long_url) == 100


async def test_the_initial_window_may_shrink_below_what_was_sent_and_grow_again() -> None:
    async with serving(Odd()) as server, wire(server, settings={WINDOW: 50}) as client:
        client.write(client.call(1, "/test.Odd/big", message("200")))
        await client.settle()
        client.write(frame(4, 0, 0, struct.pack(">HI", WINDOW, 10)))  # the stream's window is -40 now
        client.grow(1, 40)
        await client.settle()
        assert len(client.answers[1].data) == 50
        client.write(frame(4, 0, 0, struct.pack(">HI", WINDOW, 20)))
        await client.settle()
        assert len(client.answers[1].data) == 60
        client.write(frame(4, 0, 0, struct.pack(">HI", WINDOW, 100_000)))
        assert (await client.ended(1)).status == "0"


async def test_a_settings_change_that_overflows_a_stream_ends_the_connection() -> None:
    async with serving(Odd()) as server, wire(server, settings={WINDOW: 10}) as client:
        client.write(client.call(1, "/test.Odd/big", message("100")))
        client.grow(1, 2**31 - 11)
        client.write(client.call(3, "/test.Odd/wait"))
        client.grow(3, 2**31 - 11)
        client.write(frame(4, 0, 0, struct.pack(">HI", WINDOW, 1000)))
        await client.settle()
        assert [code for _, code in client.goaways] == [FLOW]


async def test_answers_share_the_connections_window() -> None:
    async with serving(Odd()) as server, wire(server, settings={WINDOW: 1_000_000}) as client:
        client.write(*(client.call(number, "/test.Odd/big", message("50000")) for number in (1, 3, 5)))
        await client.settle()
        assert sum(len(answer.data) for answer in client.answers.values()) == 65_535
        client.grow(0, 1_000_000)
        assert [(await client.ended(number)).status for number in (1, 3, 5)] == ["0", "0", "0"]
        assert [size_of(client.answers[number].data) for number in (1, 3, 5)] == [
            len(client.answers[number].data) for number in (1, 3, 5)
        ]


async def test_a_big_request_gets_its_windows_back() -> None:
    async with serving(Odd()) as server, wire(server) as client:
        body = message("x" * 900_000)
        client.write(client.headers(1, head()))
        sent = connection = stream = 0
        while sent < len(body):
            allowed = min(262_144 + connection, 262_144 + stream) - sent
            part = body[sent : sent + min(16_384, allowed)]
            sent += len(part)
            client.write(frame(0, sent == len(body), 1, part))
            if allowed <= 16_384:
                await client.settle()
                updates = [f for f in client.frames if type(f).__name__ == "WindowUpdateFrame"]
                connection = sum(f.window_increment for f in updates if not f.stream_id) - 262_144 + 65_535
                stream = sum(f.window_increment for f in updates if f.stream_id == 1)
        client.grow(0, 1_000_000)
        client.grow(1, 1_000_000)
        assert (await client.ended(1)).status == "0"


async def test_a_client_beyond_its_streams_window_is_reset() -> None:
    async with serving(Odd(), window_size=65_535) as server, wire(server) as client:
        client.write(client.headers(1, head("/test.Odd/unread")))
        part = message("x" * 16_000)
        client.write(*(frame(0, 0, 1, part) for _ in range(4)))
        await client.settle()
        assert client.answers.get(1) is None  # 64,068 bytes fit
        client.write(frame(0, 0, 1, part))
        assert (await client.ended(1)).reset == FLOW
        assert not client.goaways


async def test_too_much_in_unfinished_requests_is_refused_and_let_go() -> None:
    async with serving(Odd(), receive_max=40_000) as server, wire(server) as client:
        part = struct.pack(">BI", 0, 900_000) + bytes(15_000)
        for number in (1, 3, 5):
            client.write(client.headers(number, head()), frame(0, 0, number, part))
        await client.settle()
        assert (client.answers[5].status, client.answers[5].reset) == ("8", 0)
        client.write(frame(3, 0, 1, bytes(4)), frame(3, 0, 3, bytes(4)), client.call(7))
        assert (await client.ended(7)).status == "0"
        shared = server._shared
        assert shared is not None
        await until(lambda: shared.received.size == 0)


async def test_calls_wait_while_answers_do_and_all_are_answered_in_the_end() -> None:
    odd = Odd()
    async with serving(odd, unsent_max=10_000) as server, wire(server, settings={WINDOW: 0}) as client:
        client.write(*(client.call(number, "/test.Odd/big", message("9000")) for number in range(1, 21, 2)))
        client.write(client.call(21))
        await client.settle()
        assert odd.started == []  # two answers fill the room, and all others wait for their turn
        for number in range(1, 23, 2):
            client.grow(number, 100_000)
        client.grow(0, 1_000_000)
        assert {(await client.ended(number)).status for number in range(1, 23, 2)} == {"0"}


async def test_a_request_cut_short_may_end_while_others_wait_for_their_turn() -> None:
    async with serving(Odd(), unsent_max=10_000) as server, wire(server, settings={WINDOW: 0}) as client:
        client.write(client.headers(1, head()))
        client.write(*(client.call(number, "/test.Odd/big", message("9000")) for number in range(3, 11, 2)))
        client.write(frame(3, 0, 1, bytes(4)))
        await client.settle()
        assert not client.closed
        for number in range(3, 11, 2):
            client.grow(number, 100_000)
        assert {(await client.ended(number)).status for number in range(3, 11, 2)} == {"0"}


@pytest.mark.parametrize("at_once", [True, False])
async def test_a_streaming_call_that_waited_for_its_turn_runs_once(at_once: bool) -> None:
    runs = []

    async def once(stream: Any) -> None:
        runs.append(stream)
        await asyncio.sleep(0)
        await stream.send_message(GetUrlResponse(url=Url(clicks=len([request async for request in stream]))))

    odd = Odd()
    odd.extra = {"/test.Odd/once": Handler(once, Cardinality.STREAM_UNARY, GetUrlRequest, GetUrlResponse)}
    async with serving(odd, unsent_max=10_000) as server, wire(server, settings={WINDOW: 0}) as client:
        client.write(client.call(1, "/test.Odd/big", message("20000")), client.headers(3, head("/test.Odd/once")))
        client.grow(3, 1000)
        await client.settle()
        end = frame(0, 1, 3, message() * 2)
        if at_once:  # the end of the request arrives with the room
            client.grow(1, 100_000)
        client.write(end)
        await client.settle()
        client.grow(1, 100_000)
        answer = await client.ended(3)
        assert (answer.status, GetUrlResponse().parse(answer.data[5:]).url.clicks) == ("0", 2)
        assert len(runs) == 1
        assert (await client.ended(1)).status == "0"


async def test_what_waits_on_the_whole_server_is_bounded() -> None:
    odd = Odd()
    async with (
        serving(odd, unsent_max=1_000, unsent_total_max=30_000) as server,
        wire(server, settings={WINDOW: 0}) as client,
    ):
        odd.extra = {}
        client.write(*(client.call(number, "/test.Odd/wait") for number in range(1, 9, 2)))
        client.write(client.call(21, "/test.Odd/big", message("29990")))
        await client.settle()
        odd.gate.set()
        await client.settle()
        assert {(await client.ended(number)).status for number in range(1, 9, 2)} == {"8"}


async def silent(server: RpcServer, stack: AsyncExitStack, size: int) -> WireClient:
    """A client with an answer of `size` bytes that it does not take."""
    client = await stack.enter_async_context(wire(server, settings={WINDOW: 0}))
    client.write(client.call(1, "/test.Odd/big", message(str(size))))
    await client.settle()
    return client


def unsent(server: RpcServer) -> int:
    """The bytes of answers that wait on the server."""
    assert server._shared is not None
    return server._shared.unsent.size


async def test_answers_that_nobody_takes_make_room_for_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbound, "_PATIENCE_SECONDS", 0.05)
    async with serving(Odd(), unsent_total_max=25_000) as server, AsyncExitStack() as stack:
        first, second = [await silent(server, stack, 10_000) for _ in range(2)]
        await asyncio.sleep(0.06)
        first.grow(1, 100)
        await first.settle()
        third = await silent(server, stack, 10_000)
        assert (await second.ended(1)).reset == CALM
        for client in (first, third):
            client.grow(1, 20_000)
            assert (await client.ended(1)).status == "0"
        await until(lambda: unsent(server) == 0)


async def test_an_answer_is_refused_while_all_others_are_being_taken() -> None:
    async with serving(Odd(), unsent_total_max=25_000) as server, AsyncExitStack() as stack:
        clients = [await silent(server, stack, 10_000) for _ in range(3)]
        assert clients[2].answers[1].status == "8"
        assert unsent(server) < 25_000
        clients[2].write(clients[2].call(3), frame(8, 0, 3, b"\0\0\x01\0"))  # an answer that fits the window goes out
        assert (await clients[2].ended(3)).status == "0"


async def test_one_answer_may_wait_whatever_its_size() -> None:
    async with serving(Odd(), unsent_total_max=25_000) as server, AsyncExitStack() as stack:
        client = await silent(server, stack, 60_000)
        assert unsent(server) > 60_000
        client.grow(1, 100_000)
        assert (await client.ended(1)).status == "0"


async def test_messages_of_streams_are_bounded_together_too() -> None:
    async with serving(Odd(), unsent_total_max=25) as server, wire(server, settings={WINDOW: 0}) as client:
        client.write(*(client.call(number, "/test.Odd/count", message("1")) for number in range(1, 21, 2)))
        await client.settle()
        refused = [number for number in range(1, 21, 2) if client.answers.get(number, Answer()).status == "8"]
        assert 0 < len(refused) < 10
        assert 0 < unsent(server) <= 25


async def test_an_answer_that_clients_do_not_take_is_our_fault(caplog: pytest.LogCaptureFixture) -> None:
    async with serving(Odd()) as server, wire(server, settings={WINDOW: 2**31 - 1}) as client:
        client.grow(0, 2**30)
        client.write(client.call(1, "/test.Odd/big", message(str(4_194_304 - 20))))
        assert (await client.ended(1)).status == "0"
        client.write(client.call(3, "/test.Odd/big", message("4194304")))
        assert (await client.ended(3)).status == "8"
    assert [(record.levelname, record.getMessage()) for record in caplog.records if "large" in record.msg] == [
        ("ERROR", "answer too large")
    ]


async def test_an_answer_that_nobody_takes_is_dropped_in_time() -> None:
    async with serving(Odd(), write_timeout_seconds=0.05) as server, wire(server, settings={WINDOW: 0}) as client:
        client.write(client.call(1, "/test.Odd/big", message("100")))
        assert (await client.ended(1)).reset == CALM
        client.write(frame(4, 0, 0, struct.pack(">HI", WINDOW, 1000)), client.call(3))
        assert (await client.ended(3)).status == "0"


async def test_a_deadline_holds_for_an_answer_that_the_client_does_not_take() -> None:
    async with serving(Odd(), timeout_seconds=0.05) as server, wire(server, settings={WINDOW: 7}) as client:
        client.write(client.call(1, "/test.Odd/big", message("100")))
        answer = await client.ended(1)
        assert len(answer.data) == 7
        assert answer.trailers == {"grpc-status": "4", "grpc-message": "deadline exceeded"}
        assert server._shared is not None
        assert server._shared.unsent.size == 0


async def test_a_client_that_reads_nothing_at_all_loses_its_connection() -> None:
    async with (
        serving(Odd(), write_timeout_seconds=0.05) as server,
        wire(server, settings={WINDOW: 2**31 - 1}) as client,
    ):
        client.grow(0, 2**30)
        client.write(*(client.call(number, "/test.Odd/big", message("1000000")) for number in range(1, 41, 2)))
        await until(lambda: server.connections == 1)
        await until(lambda: server.connections == 0)


async def test_what_clients_leave_in_the_transports_is_bounded_together() -> None:
    async with serving(Odd(), unsent_total_max=150_000) as server, AsyncExitStack() as stack:
        for _ in range(4):
            client = await stack.enter_async_context(wire(server, settings={WINDOW: 2**31 - 1}))
            client.grow(0, 2**30)
            client.write(*(client.call(number, "/test.Odd/big", message("1000000")) for number in range(1, 41, 2)))
        await until(lambda: server.listener.evicted > 0)
        async with wire(server) as other:
            other.write(other.call(1))
            assert (await other.ended(1)).status == "0"
