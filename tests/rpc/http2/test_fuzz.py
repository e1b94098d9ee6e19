"""Conversations of nobody: whatever arrives, nothing breaks, nothing is held, and the next client is served."""

import asyncio
import struct
from typing import Any

import hpack
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.h2_peer import Odd, serving
from tests.support.h2_wire import frame, head, message, wire
from tests.support.waiting import until

PATHS = [f"/test.Odd/{name}" for name in ("echo", "wait", "big", "collect", "mirror", "count", "unread", "none")]
ids = st.sampled_from([1, 3, 5, 7, 9, 11])
bodies = st.one_of(
    st.sampled_from([message("5"), message("70000"), message()[:4], b"", b"\0\0\0\xff\xff", message("x" * 9000)]),
    st.binary(max_size=30),
)
blocks = st.one_of(
    st.builds(
        lambda path, extra: hpack.Encoder().encode([*head(path), *extra]),
        st.sampled_from(PATHS),
        st.lists(st.sampled_from([("grpc-timeout", "1m"), ("x-bin", "?"), ("grpc-encoding", "gzip")]), max_size=2),
    ),
    st.binary(max_size=20),
)
frames_ = st.one_of(
    st.builds(frame, st.just(1), st.sampled_from([4, 5, 0, 1]), ids, blocks),
    st.builds(frame, st.just(1), st.sampled_from([4, 5]), ids, blocks),
    st.builds(frame, st.just(0), st.sampled_from([0, 1]), ids, bodies),
    st.builds(frame, st.just(9), st.sampled_from([0, 4]), ids, blocks),
    st.builds(frame, st.just(3), st.just(0), ids, st.just(bytes(4))),
    st.builds(
        frame, st.just(8), st.just(0), st.sampled_from([0, 1, 3, 5]),
        st.sampled_from([1, 9, 100_000, 2**31 - 1]).map(lambda n: struct.pack(">I", n)),
    ),
    st.builds(
        lambda pair: frame(4, 0, 0, struct.pack(">HI", *pair)),
        st.sampled_from([(4, 0), (4, 7), (4, 10**6), (1, 0), (5, 2**20)]),
    ),
    st.builds(frame, st.integers(0, 12), st.integers(0, 255), st.sampled_from([0, 1]), st.binary(max_size=12)),
)  # fmt: skip


async def converse(parts: list[bytes]) -> None:
    broken: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: broken.append(context))
    odd = Odd()
    async with serving(
        odd,
        unsent_max=20_000,
        receive_max=30_000,
        held_max=100_000,
        window_size=65_535,
        timeout_seconds=0.5,
        header_list_size_max=2000,
    ) as server:
        async with wire(server) as hostile:
            for part in parts:
                hostile.write(part)
                await asyncio.sleep(0)
            await hostile.settle()
            odd.gate.set()
        async with wire(server) as honest:
            honest.write(honest.call(1))
            assert (await honest.ended(1)).status == "0"
        await until(lambda: server.connections == 0)
        shared = server._shared
        assert shared is not None
        await until(lambda: not shared.runner.tasks)
        assert (shared.received.size, shared.unsent.size) == (0, 0)
    assert not broken
    assert len(asyncio.all_tasks()) == 1


@settings(max_examples=100, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(st.lists(frames_, max_size=25))
def test_no_conversation_breaks_the_server(parts: list[bytes]) -> None:
    asyncio.run(converse(parts))
