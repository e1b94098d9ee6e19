"""Floods, silence and time: what a hostile client may cost, and that an honest one beside it does not notice."""

import asyncio
import struct
import time
from collections.abc import Callable
from dataclasses import replace

import pytest

from shortener.rpc.http2.budget import Budget
from shortener.rpc.http2.errors import ProtocolError
from shortener.rpc.http2.outbound import Held, Outbox
from tests.rpc.h2_peer import LIMITS, Odd, serving, unary
from tests.rpc.h2_wire import WireClient, frame, head, message, wire
from tests.support.waiting import until

CALM = 11


def pings(_client: WireClient) -> bytes:
    return frame(6, 0, 0, bytes(8)) * 3000


def settings(_client: WireClient) -> bytes:
    return frame(4, 0, 0, struct.pack(">HI", 4, 70_000) + struct.pack(">HI", 4, 80_000)) * 3000


def resets(client: WireClient) -> bytes:
    return b"".join(
        client.call(number, "/test.Odd/wait") + frame(3, 0, number, bytes(4)) for number in range(1, 4001, 2)
    )


def priorities(_client: WireClient) -> bytes:
    return frame(2, 0, 1, bytes(5)) * 3000


def empty_data(client: WireClient) -> bytes:
    return client.headers(1, head()) + frame(0, 0, 1) * 3000


def tiny_data(client: WireClient) -> bytes:
    return client.headers(1, head()) + frame(0, 0, 1, b"\0\0\x0f\0\0") + frame(0, 0, 1, b"x") * 3000


def continuations(_client: WireClient) -> bytes:
    return frame(1, 0, 1) + frame(9, 0, 1) * 3000


def window_updates(client: WireClient) -> bytes:
    return client.call(1, "/test.Odd/wait") + frame(8, 0, 1, b"\0\0\0\1") * 3000


def unknown(_client: WireClient) -> bytes:
    return frame(200, 0, 0, b"") * 3000


def malformed(client: WireClient) -> bytes:
    return b"".join(client.headers(number, [(":method", "POST")]) for number in range(1, 4001, 2))


FLOODS = [
    pings, settings, resets, priorities, empty_data, tiny_data, continuations, window_updates, unknown, malformed,
]  # fmt: skip


@pytest.mark.parametrize("flood", FLOODS)
async def test_a_flood_ends_in_enhance_your_calm_and_hurts_nobody(flood: Callable[[WireClient], bytes]) -> None:
    odd = Odd()
    async with serving(odd) as server, wire(server) as honest, wire(server) as hostile:
        hostile.write(flood(hostile))
        longest = 0.0
        for number in range(1, 41, 2):
            start = time.thread_time()  # client and server share a thread; what other programs do is not ours
            honest.write(honest.call(number))
            assert (await honest.ended(number)).status == "0"
            longest = max(longest, time.thread_time() - start)
        await hostile.finish()
        assert [code for _, code in hostile.goaways] == [CALM]
        assert longest < 0.25  # 0.01 on an idle machine
        await until(lambda: server.connections == 1)
        await until(lambda: len(odd.ended) == len(odd.started) - 20)


async def test_calls_pay_for_the_frames_around_them() -> None:
    limits = replace(LIMITS, idle_frames_max=20, idle_frames_refill=0)
    async with serving(Odd(), limits=limits) as server, wire(server) as client:
        for number in range(1, 401, 2):
            client.write(frame(6, 0, 0, bytes(8)), frame(8, 0, 0, b"\0\0\0\x64"), client.call(number))
            assert (await client.ended(number)).status == "0"


def test_the_budget_comes_back_with_time_and_never_exceeds_itself() -> None:
    budget = Budget(most=3, refill=1_000_000)
    for _ in range(100):
        budget.charge(2)
        time.sleep(0.00001)
    poor = Budget(most=3, refill=0)
    poor.refund(100)
    poor.charge(3)
    with pytest.raises(ProtocolError):
        poor.charge()


def stubborn(odd: Odd, release: asyncio.Event) -> None:
    """Give `odd` a method that takes no notice of its cancellation before it is released."""

    async def wait(stream: object) -> None:
        odd.started.append("stubborn")
        try:
            await release.wait()
        except asyncio.CancelledError:
            await release.wait()

    odd.extra = {"/test.Odd/stubborn": unary(wait)}


async def test_resets_do_not_buy_concurrency() -> None:
    odd, release = Odd(), asyncio.Event()
    stubborn(odd, release)
    async with serving(odd, streams_max=3) as server, wire(server) as client:
        for number in range(1, 21, 2):
            client.write(client.call(number, "/test.Odd/stubborn"), frame(3, 0, number, bytes(4)))
        await client.settle()
        assert len(odd.started) == 3
        release.set()


async def test_a_call_after_resets_waits_for_the_handlers_of_those() -> None:
    odd, release = Odd(), asyncio.Event()
    stubborn(odd, release)
    async with serving(odd, streams_max=3) as server, wire(server) as client:
        for number in (1, 3, 5):
            client.write(client.call(number, "/test.Odd/stubborn"), frame(3, 0, number, bytes(4)))
        client.write(client.call(7), client.call(9, grpc_timeout="10m"), client.call(11), client.call(13))
        await client.settle()
        assert (await client.ended(13)).reset == 7  # It opened more than it may.
        assert (await client.ended(9)).status == "4"
        assert odd.started == ["stubborn"] * 3
        release.set()
        assert [(await client.ended(number)).status for number in (7, 11)] == ["0", "0"]


async def test_a_client_that_never_greets_is_dropped() -> None:
    async with (
        serving(Odd(), handshake_seconds=0.05) as server,
        wire(server) as honest,
        wire(server, greet=False) as silent,
        wire(server, greet=False) as slow,
    ):
        slow.write(b"PRI * HTTP/2.0\r\n")
        await honest.settle()
        await silent.finish()
        await slow.finish()
        assert server.connections == 1


async def test_connections_beyond_the_limit_are_dropped() -> None:
    async with serving(Odd(), connections_max=2) as server, wire(server) as first, wire(server) as second:
        await first.settle()
        await second.settle()
        async with wire(server) as third:
            await third.finish()
            assert third.frames == []
        first.write(first.call(1))
        assert (await first.ended(1)).status == "0"


async def test_an_idle_connection_is_told_to_leave_and_a_busy_one_is_not() -> None:
    odd = Odd()
    async with serving(odd, idle_seconds=0.05) as server, wire(server) as idle, wire(server) as busy:
        busy.write(busy.call(1, "/test.Odd/wait"))
        await idle.finish()
        assert idle.goaways == [(0, 0)]
        odd.gate.set()
        assert (await busy.ended(1)).status == "0"


async def test_keepalive_pings_go_out_and_a_dead_client_is_dropped() -> None:
    async with serving(Odd(), keepalive_seconds=0.05, keepalive_timeout_seconds=0.1) as server:
        async with wire(server) as client:
            await client.finish()  # it never acknowledges
        assert [type(f).__name__ for f in client.frames].count("PingFrame") == 1


async def test_a_client_that_acknowledges_pings_stays() -> None:
    async with serving(Odd(), keepalive_seconds=0.03, keepalive_timeout_seconds=0.06) as server, wire(server) as client:
        seen = 0
        while seen < 4:
            found = await client.next_frame()
            assert found is not None
            if type(found).__name__ == "PingFrame":
                seen += 1
                client.write(frame(6, 1, 0, found.opaque_data))  # type: ignore[attr-defined]


async def test_a_request_that_never_ends_runs_into_its_deadline() -> None:
    async with serving(Odd(), default_timeout_seconds=0.05) as server, wire(server) as client:
        client.write(client.headers(1, head()), frame(0, 0, 1, message()[:4]))
        answer = await client.ended(1)
        assert (answer.status, answer.ended) == ("4", True)


async def test_many_connections_with_zero_windows_hold_little() -> None:
    limits = replace(LIMITS, send_max=100_000, held_max=2_000_000)
    async with serving(Odd(), limits=limits) as server:
        clients = []
        for _ in range(10):
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
            client = WireClient(reader, writer)
            client.greet({4: 0})
            client.write(*(client.call(number, "/test.Odd/big", message("300000")) for number in range(1, 200, 2)))
            clients.append(client)
            await client.settle()
        shared = server._shared
        assert shared is not None
        assert 0 < shared.held.size <= 10 * 300_100
        for client in clients:
            client.writer.close()
        await until(lambda: server.connections == 0)
        assert shared.held.size == 0


def test_nothing_is_written_to_a_connection_that_is_lost() -> None:
    class Loop:
        def call_soon(self, callback: Callable[[], None]) -> None:
            due.append(callback)

    class Lost:
        def write(self, data: bytes) -> None:
            raise RuntimeError("the handler is closed")  # as uvloop's transports say

    due: list[Callable[[], None]] = []
    outbox = Outbox(Lost(), Loop(), Held())  # type: ignore[arg-type] # all that the outbox needs of them
    outbox.write(b"on its way when the connection is lost")
    outbox.lose()
    [flush] = due
    flush()
    assert not outbox.writable
