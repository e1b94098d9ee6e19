"""Generated conversations, told to our server and to python-hyper's h2: both must judge them alike."""

import asyncio
import struct
from typing import Any

import h2.config
import h2.connection
import h2.errors
import h2.exceptions
import h2.settings
import hpack
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.h2_peer import Odd, serving
from tests.support.h2_wire import PREFACE, frame, head, message, wire

WINDOW = 65_535
ids = st.sampled_from([1, 3, 5, 7])
heads = st.sampled_from([head("/test.Odd/unread"), head("/test.Odd/unread", x="y"), head("/test.Odd/unread", x="z")])
# Handlers that wait keep streams open until the client ends them, as h2 does, which has no handlers.
Step = tuple[Any, ...]
steps = st.one_of(
    st.tuples(st.just("headers"), ids, heads, st.booleans()),
    st.tuples(st.just("headers"), ids, heads, st.booleans()),
    st.tuples(st.just("data"), ids, st.sampled_from([message(), b""]), st.booleans()),
    st.tuples(st.just("data"), ids, st.just(message()), st.just(True)),
    st.tuples(st.just("split"), ids, heads, st.integers(1, 30)),
    st.tuples(st.just("reset"), ids),
    st.tuples(st.just("window"), st.sampled_from([0, 1, 3, 5, 7]), st.sampled_from([0, 1, 2**31 - 1])),
    st.tuples(st.just("settings"), st.sampled_from([(2, 0), (2, 2), (4, 0), (4, 2**31), (5, 1), (5, 16_384), (9, 9)])),
    st.tuples(st.just("raw"), st.sampled_from([2, 6, 7, 9, 77]), st.sampled_from([0, 1]), st.sampled_from([0, 5, 8])),
)


def comparable(conversation: list[Step]) -> list[Step]:
    """Leave out a client's GOAWAY, after which we close, and what h2 wrongly lets pass: RST_STREAM on idle streams."""
    kept, last = [], 0
    for step in conversation:
        if step[0] in ("headers", "split"):
            last = max(last, step[1])
        if step != ("raw", 7, 0, 8) and (step[0] != "reset" or step[1] <= last):
            kept.append(step)
    return kept


def written(conversation: list[Step]) -> list[bytes]:
    """Return each step as bytes; one encoder goes through them all."""
    encoder = hpack.Encoder()
    parts = []
    for kind, *rest in conversation:
        if kind == "headers":
            stream_id, fields, end = rest
            parts.append(frame(1, 4 | end, stream_id, encoder.encode(fields)))
        elif kind == "split":
            stream_id, fields, at = rest
            block = encoder.encode(fields)
            parts.append(frame(1, 1, stream_id, block[:at]) + frame(9, 4, stream_id, block[at:]))
        elif kind == "data":
            stream_id, payload, end = rest
            parts.append(frame(0, end, stream_id, payload))
        elif kind == "reset":
            parts.append(frame(3, 0, rest[0], struct.pack(">I", 8)))
        elif kind == "window":
            parts.append(frame(8, 0, rest[0], struct.pack(">I", rest[1])))
        elif kind == "settings":
            parts.append(frame(4, 0, 0, struct.pack(">HI", *rest[0])))
        else:
            parts.append(frame(rest[0], 0, rest[1], bytes(rest[2])))
    return parts


def resets_in(data: bytes) -> bool:
    """Tell whether there is a RST_STREAM among the frames of `data`."""
    while data:
        if data[3] == 3:
            return True
        data = data[9 + int.from_bytes(data[:3], "big") :]
    return False


def judged(parts: list[bytes]) -> int:
    """Return at which step h2 first takes offence, by ending a stream or the connection."""
    config = h2.config.H2Configuration(client_side=False, header_encoding=None)
    connection = h2.connection.H2Connection(config)
    connection.initiate_connection()
    connection.receive_data(PREFACE + frame(4, 0, 0))
    connection.clear_outbound_data_buffer()
    for number, part in enumerate(parts):
        try:
            connection.receive_data(part)
        except h2.exceptions.ProtocolError:
            return number
        if resets_in(connection.data_to_send()):
            return number
    return len(parts)


async def ours(parts: list[bytes]) -> int:
    """Return the same of our server."""
    async with serving(Odd(), window_size=WINDOW) as server, wire(server) as client:
        for number, part in enumerate(parts):
            client.write(part)
            await client.settle()
            if client.closed or any(answer.reset is not None for answer in client.answers.values()):
                return number
        return len(parts)


# h2 ends the connection for many an offence that RFC 9113 calls a stream's; so what is compared is the first offence.
@settings(max_examples=150, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(st.lists(steps, max_size=10))
def test_both_take_offence_at_the_same_step(conversation: list[Step]) -> None:
    parts = written(comparable(conversation))
    assert asyncio.run(ours(parts)) == judged(parts)
