"""RFC 9113 frame by frame: docs/conformance-http2.md names the section of each test."""

import asyncio
import gzip
import struct
from typing import Any

import pytest

from shortener.gen.url import GetUrlResponse, Url
from tests.support.h2_peer import Odd, serving
from tests.support.h2_wire import WireClient, frame, head, message, wire
from tests.support.waiting import until

NO_ERROR, PROTOCOL, FLOW, CLOSED, SIZE, REFUSED, CANCEL, COMPRESSION, CALM = 0, 1, 3, 5, 6, 7, 8, 9, 11
ECHO = bytes(GetUrlResponse(url=Url(short_code="abc"), found=True))
REPLY = struct.pack(">BI", 0, len(ECHO)) + ECHO


async def talk(*parts: bytes, odd: Odd | None = None, **changes: Any) -> WireClient:
    """Greet, send `parts`, and return the client with all that came back at once."""
    async with serving(odd or Odd(), **changes) as server, wire(server) as client:
        client.write(*parts)
        await client.settle()
        return client


def opened(stream_id: int = 1, *, path: str = "/test.Odd/echo", end: bool = False, **changes: Any) -> bytes:
    """Return HEADERS as a fresh client would send them."""
    return WireClient.headers(_fresh(), stream_id, head(path, **changes), end=end)


def _fresh() -> WireClient:
    return WireClient(None, None)  # type: ignore[arg-type]  # only its encoder is used


CALL = opened() + frame(0, 1, 1, message())


async def test_a_call_is_answered_by_headers_data_and_trailers() -> None:
    client = await talk(CALL)
    answer = client.answers[1]
    assert answer.headers == {
        ":status": "200",
        "content-type": "application/grpc",
        "grpc-accept-encoding": "identity,gzip",
    }
    assert (answer.data, answer.trailers, answer.ended, answer.reset) == (REPLY, {"grpc-status": "0"}, True, None)


@pytest.mark.parametrize(
    ("parts", "code"),
    [
        pytest.param([frame(0, 1, 0, message())], PROTOCOL, id="6.1 DATA on stream 0"),
        pytest.param([frame(0, 0, 1, b"x")], PROTOCOL, id="5.1 DATA on an idle stream"),
        pytest.param([frame(0, 9, 1, b"\x05abc")], PROTOCOL, id="6.1 padding longer than DATA"),
        pytest.param([frame(0, 9, 1)], SIZE, id="6.1 no room for the pad length"),
        pytest.param([frame(1, 5, 0)], PROTOCOL, id="6.2 HEADERS on stream 0"),
        pytest.param([frame(1, 13, 1, b"\x09abc")], PROTOCOL, id="6.2 padding longer than HEADERS"),
        pytest.param([frame(1, 0x25, 1, b"\0\0")], SIZE, id="6.2 HEADERS too short for priority"),
        pytest.param([frame(2, 0, 0, bytes(5))], PROTOCOL, id="6.3 PRIORITY on stream 0"),
        pytest.param([frame(2, 0, 9, bytes(4))], SIZE, id="6.4 PRIORITY of 4 bytes on an idle stream"),
        pytest.param([frame(3, 0, 0, bytes(4))], PROTOCOL, id="6.4 RST_STREAM on stream 0"),
        pytest.param([frame(3, 0, 1, bytes(4))], PROTOCOL, id="6.4 RST_STREAM on an idle stream"),
        pytest.param([frame(3, 0, 1, bytes(3))], SIZE, id="6.4 RST_STREAM of 3 bytes"),
        pytest.param([frame(4, 0, 1)], PROTOCOL, id="6.5 SETTINGS on a stream"),
        pytest.param([frame(4, 0, 0, bytes(5))], SIZE, id="6.5 SETTINGS of 5 bytes"),
        pytest.param([frame(4, 1, 0, bytes(6))], SIZE, id="6.5 SETTINGS ACK with a payload"),
        pytest.param([frame(4, 0, 0, struct.pack(">HI", 2, 2))], PROTOCOL, id="6.5.2 ENABLE_PUSH 2"),
        pytest.param([frame(4, 0, 0, struct.pack(">HI", 4, 2**31))], FLOW, id="6.5.2 window 2^31"),
        pytest.param([frame(4, 0, 0, struct.pack(">HI", 5, 16383))], PROTOCOL, id="6.5.2 frame size too small"),
        pytest.param([frame(4, 0, 0, struct.pack(">HI", 5, 2**24))], PROTOCOL, id="6.5.2 frame size too large"),
        pytest.param([frame(5, 4, 1, bytes(4))], PROTOCOL, id="6.6 PUSH_PROMISE from a client"),
        pytest.param([frame(6, 0, 1, bytes(8))], PROTOCOL, id="6.7 PING on a stream"),
        pytest.param([frame(6, 0, 0, bytes(7))], SIZE, id="6.7 PING of 7 bytes"),
        pytest.param([frame(7, 0, 1, bytes(8))], PROTOCOL, id="6.8 GOAWAY on a stream"),
        pytest.param([frame(7, 0, 0, bytes(7))], SIZE, id="6.8 GOAWAY of 7 bytes"),
        pytest.param([frame(8, 0, 0, bytes(3))], SIZE, id="6.9 WINDOW_UPDATE of 3 bytes"),
        pytest.param([frame(8, 0, 0, bytes(4))], PROTOCOL, id="6.9 WINDOW_UPDATE by 0"),
        pytest.param([frame(8, 0, 1, b"\0\0\0\1")], PROTOCOL, id="6.9 WINDOW_UPDATE on an idle stream"),
        pytest.param([frame(8, 0, 0, b"\x7f\xff\xff\xff")], FLOW, id="6.9.1 connection window overflows"),
        pytest.param([frame(9, 4, 1)], PROTOCOL, id="6.10 CONTINUATION alone"),
        pytest.param([frame(1, 1, 1, b"\x83"), frame(0, 0, 1)], PROTOCOL, id="6.10 block interrupted by DATA"),
        pytest.param([frame(1, 1, 1, b"\x83"), frame(9, 4, 3)], PROTOCOL, id="6.10 CONTINUATION on another stream"),
        pytest.param([frame(1, 1, 1, b"\x83"), frame(99, 0, 1)], PROTOCOL, id="6.10 block interrupted by unknown"),
        pytest.param([frame(6, 0, 0, bytes(16385))], SIZE, id="4.2 frame above the limit"),
        pytest.param([frame(1, 5, 1, b"\xff\xff\xff\xff\xff\xff")], COMPRESSION, id="4.3 block that does not decode"),
        pytest.param([frame(1, 5, 1, b"\x80")], COMPRESSION, id="4.3 index 0"),
        pytest.param([opened(2)], PROTOCOL, id="5.1.1 even stream id"),
        pytest.param([opened(5, end=True), opened(3, end=True)], PROTOCOL, id="5.1.1 stream ids descend"),
        pytest.param([CALL, opened(1)], CLOSED, id="5.1 HEADERS on a closed stream"),
    ],
)
async def test_a_connection_error_is_named_by_goaway(parts: list[bytes], code: int) -> None:
    client = await talk(*parts)
    assert [got for _, got in client.goaways] == [code]
    assert client.closed


async def test_a_client_that_speaks_another_protocol_is_dropped_at_its_first_byte() -> None:
    async with serving(Odd()) as server, wire(server, greet=False) as client:
        client.write(b"GET / HTTP/1.1\r\n")
        await client.finish()
        assert [code for _, code in client.goaways] == [PROTOCOL]


async def test_the_first_frame_must_be_settings() -> None:
    async with serving(Odd()) as server, wire(server, greet=False) as client:
        client.write(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", frame(6, 0, 0, bytes(8)))
        await client.finish()
        assert [code for _, code in client.goaways] == [PROTOCOL]


async def test_the_preface_may_come_byte_by_byte() -> None:
    async with serving(Odd()) as server, wire(server, greet=False) as client:
        for byte in b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(4, 0, 0) + CALL:
            client.write(bytes((byte,)))
            await asyncio.sleep(0)
        assert (await client.ended(1)).data == REPLY


@pytest.mark.parametrize(
    ("parts", "code"),
    [
        pytest.param([opened(), frame(2, 0, 1, bytes(4))], SIZE, id="6.3 PRIORITY of 4 bytes"),
        pytest.param([CALL, frame(0, 0, 1, b"x")], CLOSED, id="5.1 DATA on a closed stream"),
        pytest.param([opened(), frame(8, 0, 1, bytes(4))], PROTOCOL, id="6.9 WINDOW_UPDATE by 0"),
        pytest.param([opened(), frame(8, 0, 1, b"\x7f\xff\xff\xff")], FLOW, id="6.9.1 stream window overflows"),
        pytest.param([opened(), opened()], PROTOCOL, id="8.1 trailers without END_STREAM"),
        pytest.param([opened(), frame(1, 5, 1, b"\x83")], PROTOCOL, id="8.1 pseudo-header in trailers"),
        pytest.param([opened(__method=None)], PROTOCOL, id="8.3.1 no :method"),
        pytest.param([opened(__path=None)], PROTOCOL, id="8.3.1 no :path"),
        pytest.param([opened(__path="")], PROTOCOL, id="8.3.1 empty :path"),
        pytest.param([opened(__scheme=None)], PROTOCOL, id="8.3.1 no :scheme"),
        pytest.param([opened(__protocol="x")], PROTOCOL, id="8.3 unknown pseudo-header"),
        pytest.param([opened(__status="200")], PROTOCOL, id="8.3 response pseudo-header"),
        pytest.param([opened(connection="close")], PROTOCOL, id="8.2.2 connection"),
        pytest.param([opened(transfer_encoding="chunked")], PROTOCOL, id="8.2.2 transfer-encoding"),
        pytest.param([opened(te="gzip")], PROTOCOL, id="8.2.2 te"),
        pytest.param([opened(x="a\r\nb: c")], PROTOCOL, id="8.2.1 CR LF in a value"),
        pytest.param([opened(x="a\0b")], PROTOCOL, id="8.2.1 NUL in a value"),
        pytest.param([opened(x=" a")], PROTOCOL, id="8.2.1 blank before a value"),
        pytest.param([opened(content_length="x")], PROTOCOL, id="8.1.1 content-length is no number"),
        pytest.param(
            [opened(content_length="3"), frame(0, 1, 1, message())], PROTOCOL, id="8.1.1 more than content-length"
        ),
        pytest.param(
            [opened(content_length="99"), frame(0, 1, 1, message())], PROTOCOL, id="8.1.1 less than content-length"
        ),
        pytest.param([opened(content_length="9", end=True)], PROTOCOL, id="8.1.1 none of content-length"),
    ],
)
async def test_a_stream_error_leaves_the_connection_usable(parts: list[bytes], code: int) -> None:
    async with serving(Odd()) as server, wire(server) as client:
        client.write(*parts)
        await client.settle()
        assert client.answers[1].reset == code
        client.write(client.call(3))
        assert (await client.ended(3)).data == REPLY
        assert not client.goaways


@pytest.mark.parametrize("fields", [[("X-Upper", "1")], [("a b", "1")], [("é", "1")], [(":path", "/b")], [("", "1")]])
async def test_a_bad_field_name_makes_the_request_malformed(fields: list[Any]) -> None:
    client = _fresh()
    answer = (await talk(client.headers(1, head() + fields))).answers[1]
    assert (answer.headers[":status"], answer.status, answer.reset) == ("400", "13", PROTOCOL)


async def test_data_after_end_stream_while_the_call_runs_is_a_stream_error() -> None:
    odd = Odd()
    client = await talk(opened(path="/test.Odd/wait"), frame(0, 1, 1, message()), frame(0, 0, 1, b"x"), odd=odd)
    assert client.answers[1].reset == CLOSED
    await until(lambda: odd.ended == ["CancelledError"])


async def test_frames_on_a_stream_that_we_reset_are_ignored() -> None:
    client = await talk(opened(te="gzip"), frame(0, 0, 1, b"x"), frame(0, 1, 1, b"y"), frame(3, 0, 1, bytes(4)))
    assert client.answers[1].reset == PROTOCOL
    assert not client.goaways


@pytest.mark.parametrize(
    "parts",
    [
        pytest.param([frame(99, 0xFF, 1, b"?"), frame(98, 0, 0, bytes(99)), CALL], id="4.1 unknown frames"),
        pytest.param([frame(4, 0, 0, struct.pack(">HI", 0xFFF, 7)), CALL], id="6.5.2 unknown setting"),
        pytest.param([frame(2, 0, 1, bytes(5)), frame(2, 0, 9, bytes(5)), CALL], id="5.3 PRIORITY"),
        pytest.param([frame(6, 0xFE, 0, bytes(8)), CALL], id="4.1 undefined flags"),
        pytest.param([CALL, frame(8, 0, 1, b"\0\0\0\1"), frame(3, 0, 1, bytes(4))], id="5.1 late WINDOW_UPDATE, RST"),
        pytest.param([opened(), frame(0, 9, 1, b"\x03" + message() + bytes(3))], id="6.1 padded DATA"),
        pytest.param([opened(), frame(0, 0, 1, message()), frame(0, 1, 1)], id="6.1 empty last DATA"),
        pytest.param([opened(), frame(0, 0, 1, message()[:3]), frame(0, 1, 1, message()[3:])], id="split prefix"),
        pytest.param([opened(), frame(0, 0, 1, message()), frame(1, 5, 1)], id="8.1 trailers"),
        pytest.param([opened(content_length="10"), frame(0, 1, 1, message())], id="8.1.1 right content-length"),
        pytest.param([opened(content_type="application/grpc+proto"), frame(0, 1, 1, message())], id="+proto"),
    ],
)
async def test_what_is_allowed_is_answered(parts: list[bytes]) -> None:
    client = await talk(*parts)
    assert client.answers[1].data == REPLY
    assert client.answers[1].status == "0"
    assert not client.goaways


async def test_a_header_block_in_pieces_with_padding_and_priority_is_read() -> None:
    block = _fresh().encoder.encode(head())
    start = b"\x02" + bytes(5) + block[:7] + bytes(2)
    client = await talk(
        frame(1, 0x28, 1, start), frame(9, 0, 1, block[7:20]), frame(9, 4, 1, block[20:]), frame(0, 1, 1, message())
    )
    assert client.answers[1].data == REPLY


async def test_blocks_with_and_without_table_changes_mean_what_they_say() -> None:
    async with serving(Odd()) as server, wire(server) as client:
        for number in range(40):
            stream_id = 2 * number + 1
            if number % 7 == 3:
                client.encoder.header_table_size = 4096 if number % 2 else 100
            extra = {} if number % 3 else {"x_number": str(number)}
            client.write(client.call(stream_id, body=message(str(number)), **extra))
        answers = [await client.ended(2 * number + 1) for number in range(40)]
    assert [GetUrlResponse().parse(answer.data[5:]).url.short_code for answer in answers] == [
        str(number) for number in range(40)
    ]


@pytest.mark.parametrize("size", [0, 100, 4095])
async def test_a_client_with_a_small_header_table_can_read_the_answers(size: int) -> None:
    async with serving(Odd()) as server, wire(server) as client:
        client.write(client.call(1))
        await client.ended(1)
        client.decoder.max_allowed_table_size = size
        client.write(frame(4, 0, 0, struct.pack(">HI", 1, size)), client.call(3), client.call(5, "/test.Odd/none"))
        assert ((await client.ended(3)).status, (await client.ended(5)).status) == ("0", "12")


async def test_settings_and_pings_are_acknowledged() -> None:
    client = await talk(frame(6, 0, 0, b"12345678"))
    acks = [(type(f).__name__, getattr(f, "opaque_data", b"")) for f in client.frames if "ACK" in f.flags]
    assert acks[:2] == [("SettingsFrame", b""), ("PingFrame", b"12345678")]


async def test_the_streams_beyond_the_limit_are_refused() -> None:
    odd = Odd()
    async with serving(odd, streams_max=2) as server, wire(server) as client:
        client.write(*(client.call(number, "/test.Odd/wait") for number in (1, 3, 5)))
        await client.settle()
        assert client.answers[5].reset == REFUSED
        odd.gate.set()
        assert [(await client.ended(number)).status for number in (1, 3)] == ["0", "0"]
        client.write(client.call(7))
        assert (await client.ended(7)).status == "0"


@pytest.mark.parametrize(
    ("changes", "http_status", "status"),
    [
        ({"__method": "GET"}, "405", "13"),
        ({"content_type": None}, "415", "2"),
        ({"content_type": "application/json"}, "415", "2"),
        ({"content_type": "application/grpc+json"}, "415", "2"),
        ({"te": None}, "400", "13"),
        ({"__path": "/test.Odd/none"}, "200", "12"),
        ({"grpc_timeout": "5"}, "200", "3"),
        ({"grpc_timeout": "123456789S"}, "200", "3"),
        ({"grpc_timeout": "-1S"}, "200", "3"),
        ({"grpc_timeout": "0n"}, "200", "4"),
        ({"grpc_encoding": "snappy"}, "200", "12"),
        ({"x-bin": "!!!"}, "200", "3"),
    ],
)
async def test_what_is_not_grpc_is_answered_by_status(changes: Any, http_status: str, status: str) -> None:
    answer = (await talk(opened(**changes), frame(0, 1, 1, message()))).answers[1]
    assert (answer.headers[":status"], answer.status, answer.ended) == (http_status, status, True)


async def test_unknown_encodings_hear_which_are_known() -> None:
    answer = (await talk(opened(grpc_encoding="br", end=True))).answers[1]
    assert answer.headers["grpc-accept-encoding"] == "identity,gzip"


@pytest.mark.parametrize("text", ["1H", "9M", "60S", "5000m", "5000000u", "99999999n", "99999999H"])
async def test_every_unit_of_timeouts_is_understood(text: str) -> None:
    assert (await talk(opened(grpc_timeout=text), frame(0, 1, 1, message()))).answers[1].status == "0"


async def test_an_answer_before_the_end_of_the_request_ends_the_stream_for_both() -> None:
    answer = (await talk(opened(path="/test.Odd/none"))).answers[1]
    assert (answer.status, answer.ended, answer.reset) == ("12", True, NO_ERROR)


@pytest.mark.parametrize(
    ("body", "status"),
    [
        pytest.param(b"", "3", id="no message"),
        pytest.param(message() + message(), "12", id="two messages"),
        pytest.param(message()[:-1], "3", id="cut short"),
        pytest.param(b"\0\0\0\0\2\x0a\x05", "3", id="no protobuf"),
        pytest.param(b"\1" + message()[1:], "13", id="compressed without an encoding"),
        pytest.param(b"\7" + message()[1:], "3", id="unknown flag"),
        pytest.param(b"\0\xff\xff\xff\xff", "8", id="4 GiB announced"),
        pytest.param(b"\0\0\x10\0\1", "8", id="one byte above the limit announced"),
        pytest.param(b"\0\0\0\0\0", "0", id="an empty message"),
    ],
)
async def test_bodies_are_judged(body: bytes, status: str) -> None:
    assert (await talk(opened(), frame(0, 1, 1, body))).answers[1].status == status


@pytest.mark.parametrize(
    ("packed", "status"),
    [
        pytest.param(gzip.compress(message("zip")[5:]), "0", id="gzip"),
        pytest.param(gzip.compress(bytes(1_048_577)), "8", id="a bomb"),
        pytest.param(gzip.compress(message()[5:])[:-4], "3", id="cut short"),
        pytest.param(b"not gzip", "3", id="not gzip"),
        pytest.param(gzip.compress(message()[5:]) * 2, "3", id="two members"),
    ],
)
async def test_gzip_is_inflated_within_the_limit(packed: bytes, status: str) -> None:
    body = struct.pack(">BI", 1, len(packed)) + packed
    assert (await talk(opened(grpc_encoding="gzip"), frame(0, 1, 1, body))).answers[1].status == status


async def test_a_header_list_above_the_limit_is_answered_and_the_table_stays_right() -> None:
    async with serving(Odd(), header_list_size_max=4096) as server, wire(server) as client:
        big = client.headers(1, [*head(), ("x-new", "fresh"), ("x-big", "b" * 4096)], end=True)
        client.write(big, client.headers(3, [*head(), ("x-new", "fresh")]), frame(0, 1, 3, message()))
        assert [(await client.ended(number)).status for number in (1, 3)] == ["8", "0"]


async def test_an_endless_header_block_ends_the_connection() -> None:
    parts = [frame(1, 1, 1, b"")] + [frame(9, 0, 1, bytes(8192))] * 8
    assert [code for _, code in (await talk(*parts)).goaways] == [CALM]
