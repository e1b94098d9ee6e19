"""Floods, silence and time: what a hostile client may cost, and that an honest one beside it does not notice."""

import asyncio
import gzip
import struct
import time
from collections.abc import Callable
from typing import Any

import pytest
from grpclib import GRPCError
from grpclib.const import Cardinality, Handler, Status

from shortener.gen.url import GetUrlRequest, GetUrlResponse
from shortener.net import places
from shortener.rpc.http2 import RpcServer, connection, inbound, messages
from shortener.rpc.http2.connection import Connection
from shortener.rpc.http2.errors import ProtocolError
from shortener.rpc.http2.inbound import Budget
from shortener.rpc.http2.outbound import Outbound, Pool
from tests.support.h2_peer import Odd, serving, unary
from tests.support.h2_wire import WireClient, frame, head, message, wire
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


def many_fields(client: WireClient) -> bytes:
    return b"".join(block_of(number, b"\x82" * 700) for number in range(1, 60, 2))


def huffman_strings(client: WireClient) -> bytes:
    value = b"\0\x01x\xff\xbe\x16" + b"\0" * 3005  # 3,005 bytes that stand for 4,808
    return b"".join(block_of(number, value) for number in range(1, 40, 2))


def insertions(client: WireClient) -> bytes:
    return b"".join(block_of(number, b"\x40\x01x\x01y" * 600) for number in range(1, 60, 2))


def trailers(client: WireClient) -> bytes:
    return b"".join(client.headers(number, head()) + block_of(number, b"\x82" * 700) for number in range(1, 60, 2))


def abandoned(client: WireClient) -> bytes:
    """Calls with large heads of their own, given up at once."""
    return b"".join(
        client.call(number, "/test.Odd/wait", x_new=f"{number}" * 2000) + frame(3, 0, number, bytes(4))
        for number in range(1, 60, 2)
    )


def inflating(client: WireClient) -> bytes:
    body = packed(GetUrlRequest(short_code="x" * 500_000))
    return b"".join(client.call(number, body=body, grpc_encoding="gzip") for number in range(1, 60, 2))


def inflating_streams(client: WireClient) -> bytes:
    body = packed(GetUrlRequest(short_code="x" * 500_000)) * 20
    return b"".join(client.call(number, "/test.Odd/collect", body, grpc_encoding="gzip") for number in range(1, 20, 2))


def bombs(client: WireClient) -> bytes:
    body = packed(GetUrlRequest(short_code="x" * 2_000_000))
    return b"".join(client.call(number, body=body, grpc_encoding="gzip") for number in range(1, 60, 2))


def too_large(client: WireClient) -> bytes:
    return b"".join(
        client.headers(number, head()) + frame(0, 0, number, b"\0\x7f\0\0\0") for number in range(1, 200, 2)
    )


def cut_short(client: WireClient) -> bytes:
    return b"".join(client.call(number, body=b"\0\0\0\0\x09half") for number in range(1, 200, 2))


def block_of(number: int, block: bytes) -> bytes:
    """A header block in as many frames as it needs."""
    parts = [block[start : start + 16_384] for start in range(0, len(block), 16_384)]
    kinds = [1, *[9] * (len(parts) - 1)]
    flags = [*[0] * (len(parts) - 1), 4]
    return b"".join(
        frame(kind, flag | (kind == 1), number, part) for kind, flag, part in zip(kinds, flags, parts, strict=True)
    )


def packed(request: GetUrlRequest) -> bytes:
    data = gzip.compress(bytes(request))
    return struct.pack(">BI", 1, len(data)) + data


def malformed(client: WireClient) -> bytes:
    return b"".join(client.headers(number, [(":method", "POST")]) for number in range(1, 4001, 2))


FLOODS = [
    pings, settings, resets, priorities, empty_data, tiny_data, continuations, window_updates, unknown, malformed,
]  # fmt: skip
WORK = [
    many_fields, huffman_strings, insertions, trailers, abandoned, inflating, inflating_streams, bombs, too_large,
    cut_short,
]  # fmt: skip
"""What costs more than its number of frames says: a budget of 100 units does not suffice for a few dozen of each."""
POOR = {"idle_frames_max": 100, "idle_frames_per_second": 1}


@pytest.mark.parametrize(("flood", "budget"), [*((flood, {}) for flood in FLOODS), *((flood, POOR) for flood in WORK)])
async def test_a_flood_ends_in_enhance_your_calm_and_hurts_nobody(
    flood: Callable[[WireClient], bytes], budget: dict[str, int]
) -> None:
    odd = Odd()
    async with serving(odd, **budget) as server, wire(server) as honest, wire(server) as hostile:
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
    async with serving(Odd(), idle_frames_max=20, idle_frames_per_second=0) as server, wire(server) as client:
        for number in range(1, 401, 2):
            client.write(frame(6, 0, 0, bytes(8)), frame(8, 0, 0, b"\0\0\0\x64"), client.call(number))
            assert (await client.ended(number)).status == "0"


@pytest.mark.parametrize("path", ["/test.Odd/echo", "/test.Odd/missing"])
async def test_calls_that_are_answered_pay_for_their_heads(path: str) -> None:
    async with serving(Odd(), idle_frames_max=100, idle_frames_per_second=0) as server, wire(server) as client:
        for number in range(1, 401, 2):
            client.write(client.call(number, path, x_new=f"{number:04}" * 500))
            assert (await client.ended(number)).status in ("0", "5")


async def test_a_unary_call_inflates_one_message(monkeypatch: pytest.MonkeyPatch) -> None:
    inflated = []

    def inflate(data: bytes, size_max: int) -> bytes:
        inflated.append(len(data))
        return messages.inflate(data, size_max)

    monkeypatch.setattr(inbound, "inflate", inflate)
    one = packed(GetUrlRequest(short_code="x" * 250_000))
    async with serving(Odd()) as server, wire(server) as client:
        client.write(client.call(1, body=one * (16_384 // len(one)), grpc_encoding="gzip"))
        assert (await client.ended(1)).status == "12"
        assert inflated == [len(one) - 5]


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


HEALTH = "/grpc.health.v1.Health/Check"


async def test_connections_beyond_the_limit_are_answered_about_health_alone() -> None:
    odd = Odd()
    odd.extra = {HEALTH: unary(odd.echo)}
    async with serving(odd, connections_max=2) as server, wire(server) as first, wire(server) as second:
        await first.settle()
        await second.settle()
        async with wire(server) as third:
            third.write(third.call(1), third.call(3, HEALTH))
            refused, healthy = await third.ended(1), await third.ended(3)
        assert (refused.status, refused.headers["grpc-message"]) == ("14", "too many connections")
        assert healthy.status == "0"
        first.write(first.call(1))
        assert (await first.ended(1)).status == "0"
    assert odd.started == ["abc", "abc"]


async def test_connections_in_reserved_places_end_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(places, "PARTING_SECONDS", 0.05)
    async with serving(Odd(), connections_max=1) as server, wire(server) as first, wire(server) as second:
        await second.finish()
        assert second.goaways == [(0, 0)]
        first.write(first.call(1))
        assert (await first.ended(1)).status == "0"


async def test_idle_connections_make_room(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those with a call under way stay, and so does the one that asked last."""
    monkeypatch.setattr(places, "SILENT_SECONDS_MIN", 0.1)
    odd = Odd()
    async with (
        serving(odd, connections_max=3) as server,
        wire(server) as busy,
        wire(server) as idle,
        wire(server) as last,
    ):
        busy.write(busy.call(1, "/test.Odd/wait"))
        idle.write(idle.call(1))
        await idle.ended(1)
        await asyncio.sleep(0.1)
        last.write(last.call(1))
        await last.ended(1)
        await asyncio.sleep(0.15)
        async with wire(server) as new:
            new.write(new.call(1))
            assert (await new.ended(1)).status == "0"
            await idle.finish()
            assert idle.goaways == [(1, 0)]
            odd.gate.set()
            assert (await busy.ended(1)).status == "0"
            last.write(last.call(3))
            assert (await last.ended(3)).status == "0"
        assert server.listener.evicted == 1


async def test_a_connection_that_only_watches_makes_room_when_it_is_old(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(places, "SILENT_SECONDS_MIN", 0.05)
    monkeypatch.setattr(connection, "_BUSY_SECONDS_MAX", 0.3)
    async with serving(Odd(), connections_max=1) as server, wire(server) as watching:
        watching.write(watching.call(1, "/test.Odd/forever"))
        await asyncio.sleep(0.15)
        async with wire(server) as early:
            early.write(early.call(1))
            assert (await early.ended(1)).status == "14"
        await asyncio.sleep(0.3)
        async with wire(server) as late:
            late.write(late.call(1))
            assert (await late.ended(1)).status == "0"
        assert (await watching.ended(1)).status == "14"


async def test_after_a_fault_nothing_is_read_or_kept() -> None:
    async with serving(Odd()) as server, wire(server) as client:
        await client.settle()
        [connection] = server.listener.connections
        assert isinstance(connection, Connection)
        client.write(frame(0, 0, 0, bytes(16_000)) + bytes(200_000))
        await client.finish()
        assert [code for _, code in client.goaways] == [1]
        assert len(connection._reader._data) == 0


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


NEVER = "99999999H"
PART = message()[:4]


@pytest.mark.parametrize(
    ("path", "parts"),
    [
        pytest.param("echo", [], id="nothing"),
        pytest.param("echo", [PART], id="a part"),
        pytest.param("echo", [PART, message()[4:]], id="all but the end"),
        pytest.param("collect", [PART], id="a part of a stream's first message"),
        pytest.param("collect", [message(), PART], id="a part of its second"),
        pytest.param("mirror", [message() + PART], id="a part behind a whole one"),
    ],
)
async def test_a_message_must_arrive_in_time(path: str, parts: list[bytes]) -> None:
    async with serving(Odd(), message_timeout_seconds=0.05) as server, wire(server) as client:
        client.write(client.headers(1, head(f"/test.Odd/{path}", grpc_timeout=NEVER)))
        client.write(*(frame(0, 0, 1, part) for part in parts))
        answer = await client.ended(1)
        assert (answer.status, answer.ended) == ("4", True)
        assert received(server) == 0


@pytest.mark.parametrize(
    "parts",
    [
        pytest.param([frame(0, 0, 1, bytes(100))[:50]], id="a frame"),
        pytest.param([frame(6, 0, 0, bytes(8))[:3]], id="the head of a frame"),
        pytest.param([frame(1, 0, 1, b"\x82")], id="a header block"),
        pytest.param([frame(1, 0, 1, b"\x82"), *[frame(9, 0, 1, b"\x82")] * 9], id="a header block, bit by bit"),
    ],
)
async def test_the_rest_of_a_frame_or_header_block_must_arrive_in_time(parts: list[bytes]) -> None:
    async with serving(Odd(), message_timeout_seconds=0.1) as server, wire(server) as client:
        for part in parts:
            client.write(part)
            await asyncio.sleep(0.04)
        await client.finish()
        assert server.connections == 0


async def test_a_client_that_sends_part_after_part_stays() -> None:
    async with serving(Odd(), message_timeout_seconds=0.1) as server, wire(server) as client:
        calls = b"".join(client.call(number) for number in range(1, 19, 2))
        step = len(calls) // 10 + 1
        for start in range(0, len(calls), step):
            client.write(calls[start : start + step])
            await asyncio.sleep(0.03)
        assert [(await client.ended(number)).status for number in range(1, 19, 2)] == ["0"] * 9


@pytest.mark.parametrize("parts", [[], [message()], [PART, message()[4:]]])
async def test_a_stream_may_wait_between_messages(parts: list[bytes]) -> None:
    async with serving(Odd(), message_timeout_seconds=0.05) as server, wire(server) as client:
        client.write(client.headers(1, head("/test.Odd/collect")), *(frame(0, 0, 1, part) for part in parts))
        await asyncio.sleep(0.2)
        client.write(frame(0, 1, 1, message("last")))
        assert (await client.ended(1)).status == "0"


def received(server: RpcServer) -> int:
    """The bytes of unfinished requests that the server holds."""
    shared = server._shared
    assert shared is not None
    assert shared.received.size == sum(each.held for each in shared.received.holders)
    return shared.received.size


BIG = struct.pack(">BI", 0, 900_000)


async def test_of_too_much_on_the_server_the_connection_that_holds_most_is_refused() -> None:
    """A connection that holds little goes on, although it comes last."""
    async with (
        serving(Odd(), receive_max=40_000, held_max=50_000) as server,
        wire(server) as much,
        wire(server) as little,
    ):
        for number, size in ((1, 12_000), (3, 14_000), (5, 10_000)):
            much.write(much.headers(number, head()), frame(0, 0, number, BIG + bytes(size)))
        await much.settle()
        body = message("x" * 20_000)
        little.write(little.headers(1, head()), frame(0, 0, 1, body[:16_000]))
        await little.settle()
        assert (await much.ended(3)).status == "8"
        assert received(server) == 22_010 + 16_000
        little.write(frame(0, 1, 1, body[16_000:]))
        assert (await little.ended(1)).status == "0"
        assert received(server) == 22_010


async def test_a_connection_has_its_share_and_no_more() -> None:
    async with serving(Odd(), receive_max=20_000) as server, wire(server) as client, wire(server) as other:
        for number in (1, 3):
            client.write(client.headers(number, head()), frame(0, 0, number, BIG + bytes(12_000)))
        assert (await client.ended(3)).status == "8"
        other.write(other.headers(1, head()), frame(0, 0, 1, BIG + bytes(12_000)))
        await other.settle()
        assert received(server) == 2 * 12_005


async def test_messages_that_a_stream_has_not_read_count_too() -> None:
    async with serving(Odd(), receive_max=20_000) as server, wire(server) as client:
        client.write(client.headers(1, head("/test.Odd/unread")), frame(0, 0, 1, message("x" * 9_000)))
        await client.settle()
        assert received(server) > 9_000
        client.write(frame(0, 0, 1, message("x" * 12_000)))
        assert (await client.ended(1)).status == "8"
        assert received(server) == 0


def admits(path: str, authorization: str | bytes | None) -> bool:
    """What a server lets in that asks for a token, but for one method."""
    return path == "/test.Odd/echo" or authorization == "Bearer token"


class Asking(Odd):
    """Refuses as the guard does."""

    async def wait(self, stream: Any) -> None:
        if stream.metadata.get("authorization") != "Bearer token":
            raise GRPCError(Status.UNAUTHENTICATED, "a valid service token is required")
        await super().wait(stream)


@pytest.mark.parametrize("shown", [None, "Bearer other"])
async def test_of_callers_who_do_not_show_the_token_only_the_head_is_kept(shown: str | None) -> None:
    async with serving(Asking(), admits=admits) as server, wire(server) as client:
        client.write(client.headers(1, head("/test.Odd/wait", authorization=shown)))
        assert (await client.ended(1)).status == "16"
        client.write(*(frame(0, 0, 1, BIG + bytes(9_000)) for _ in range(10)))
        client.write(client.headers(3, head("/test.Odd/wait", authorization="Bearer token")))
        client.write(frame(0, 0, 3, BIG))
        await client.settle()
        assert received(server) == len(BIG)


async def test_a_call_without_the_token_keeps_nothing_while_it_waits_for_its_turn() -> None:
    odd = Asking()
    async with serving(odd, admits=admits, streams_max=2) as server, wire(server) as client:
        shown = {"authorization": "Bearer token"}
        client.write(*(client.call(number, "/test.Odd/wait", **shown) for number in (1, 3)))
        client.write(*(frame(3, 0, number, bytes(4)) for number in (1, 3)))  # their handlers take a turn to end
        client.write(client.headers(5, head("/test.Odd/wait")), frame(0, 0, 5, BIG + bytes(9_000)))
        assert (await client.ended(5)).status == "16"
        assert received(server) == 0


async def test_calls_that_need_no_token_may_hold_little() -> None:
    async with serving(Odd(), admits=admits) as server, wire(server) as client:
        client.write(client.headers(1, head()), frame(0, 0, 1, message()), frame(0, 1, 1))
        assert (await client.ended(1)).status == "0"
        for number in (3, 5):
            client.write(client.headers(number, head()), frame(0, 0, number, BIG + bytes(3_000)))
        assert (await client.ended(5)).status == "8"
        assert received(server) == 3_005


async def test_a_stream_of_many_messages_lets_others_have_their_turn() -> None:
    odd, begun = Odd(), asyncio.Event()

    async def note(stream: Any) -> None:
        async for _ in stream:
            odd.started.append("one of many")
            begun.set()

    odd.extra = {"/test.Odd/note": Handler(note, Cardinality.STREAM_STREAM, GetUrlRequest, GetUrlResponse)}
    async with serving(odd) as server, wire(server) as client, wire(server) as other:
        client.write(client.call(1, "/test.Odd/note", message() * 1000))
        await begun.wait()
        other.write(other.call(1))
        assert (await other.ended(1)).status == "0"
        assert (await client.ended(1)).status == "0"
    assert 0 < odd.started.index("abc") < 1000


async def test_a_request_that_never_ends_runs_into_its_deadline() -> None:
    async with serving(Odd(), timeout_seconds=0.05) as server, wire(server) as client:
        client.write(client.headers(1, head()), frame(0, 0, 1, message()[:4]))
        answer = await client.ended(1)
        assert (answer.status, answer.ended) == ("4", True)


async def test_many_connections_with_zero_windows_hold_little() -> None:
    async with serving(Odd(), unsent_max=100_000, unsent_total_max=2_000_000) as server:
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
        assert 0 < shared.unsent.size <= 10 * 300_100
        for client in clients:
            client.writer.close()
        await until(lambda: server.connections == 0)
        assert shared.unsent.size == 0


def test_nothing_is_written_to_a_connection_that_is_lost() -> None:
    class Loop:
        def call_soon(self, callback: Callable[[], None]) -> None:
            due.append(callback)

    class Lost:
        def write(self, data: bytes) -> None:
            raise RuntimeError("the handler is closed")  # as uvloop's transports say

    due: list[Callable[[], None]] = []
    outbound = Outbound(Lost(), Loop(), Pool(0), unsent_max=0)  # type: ignore[arg-type] # all that it needs of them
    outbound.write(b"on its way when the connection is lost")
    outbound.lose()
    [flush] = due
    flush()
    assert not outbound.writable
