"""Clients that leave in the middle of their calls, beside honest ones: these notice nothing, and nothing is left."""

import asyncio
import random
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

import shortener
from shortener.config.sections import Limits
from shortener.links import LinkDraft
from shortener.rpc.http2 import RpcServer
from shortener.server.listeners import Servers, open_servers
from shortener.server.sockets import bind
from tests.promises.async_clients import aio_stubs_of
from tests.promises.cancelling_callers import CancellingCallers, honest
from tests.promises.recount import assert_counts_match_recount
from tests.promises.test_cancel_steps import assert_at_rest, tasks_of_calls
from tests.support.waiting import until

AT_ONCE = 32
HONEST = 4
PROMISE = "a cancelled call leaves nothing half done"


def config(data_dir: Path) -> shortener.Config:
    return shortener.Config(
        grpc=shortener.Grpc(url_port=0, user_port=0, analytics_port=0),
        gateway=shortener.Gateway(port=0),
        redirect=shortener.Redirect(port=0),
        storage=shortener.Storage(data_dir=str(data_dir)),
        limits=Limits(misses_per_minute=0, registrations_per_minute=0),
    )


async def assert_nobody_is_served(servers: Servers) -> None:
    """See that no connection, stream, handler or byte of a client is left once all have gone."""
    for server in servers.rpc.values():
        own = cast(RpcServer, server)
        await until(lambda: not own.connections)  # noqa: B023 - called at once
        assert own._shared is not None
        assert (own._shared.unsent.size, own._shared.received.size, own._shared.runner.tasks) == (0, 0, set())


async def storm(callers: CancellingCallers, numbers: Any) -> None:
    for number in numbers:
        await callers.ways[number % len(callers.ways)](number)


@pytest.mark.timeout(3600)
async def test_honest_callers_notice_nothing_of_those_who_leave(
    tmp_path: Path, pb: SimpleNamespace, size: Callable[[int, int], int], figure: Callable[[str, str], None]
) -> None:
    cancels, chosen = size(120, 5_000), config(tmp_path / "data")
    with bind(chosen) as sockets:
        async with open_servers(chosen, sockets) as servers:
            app, tasks = servers.app, tasks_of_calls()
            link = await app.links.create(LinkDraft("https://example.com/", "storm"))
            callers = CancellingCallers(app.addresses, link.link.short_code, random.Random())
            numbers, over = iter(range(cancels)), asyncio.Event()
            async with callers.grpc_channel(), aio_stubs_of(pb, SimpleNamespace(url=app.addresses["url"])) as stubs:  # type: ignore[arg-type] # only its address is wanted
                good = [asyncio.create_task(honest(pb, stubs, f"honest{name}", over)) for name in range(HONEST)]
                await asyncio.gather(*(storm(callers, numbers) for _ in range(AT_ONCE)))
                over.set()
                calls = sum(await asyncio.gather(*good))
            await assert_nobody_is_served(servers)
            await assert_at_rest(app, tasks)
    assert calls >= HONEST
    assert_counts_match_recount(tmp_path / "data")
    figure(
        PROMISE, f"{cancels:,} calls left in {len(callers.ways)} ways, {calls:,} honest calls beside them: all right"
    )
