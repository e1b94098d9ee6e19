"""Sockets held by somebody else (`LISTEN_FDS`): a restart refuses no connection and fails no request."""

import asyncio
import contextlib
import random
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

from shortener.server.sockets import NAMES
from tests.promises import socket_launcher
from tests.promises.load import GrpcCaller, HttpCaller, Tally, get
from tests.promises.test_drain import create, link, look_up
from tests.support import process

Size = Callable[[int, int], int]
Figure = Callable[[str, str], None]


def start(data_dir: Path, sockets: dict[str, socket.socket], *, named: bool) -> process.Running:
    held = dict(random.sample(list(sockets.items()), len(sockets))) if named else sockets
    numbers = tuple(each.fileno() for each in held.values())
    command = [sys.executable, socket_launcher.__file__, ",".join(map(str, numbers))] + [":".join(held)] * named
    server = process.start(data_dir, command=tuple(command), pass_fds=numbers)
    for name, each in sockets.items():
        assert server.ready[name] == f"127.0.0.1:{each.getsockname()[1]}"
    return server


async def test_a_restart_refuses_no_connection(tmp_path: Path, pb: SimpleNamespace, size: Size, figure: Figure) -> None:
    restarts = size(1, 20)
    tally, stop, waits = Tally(), asyncio.Event(), []
    with contextlib.ExitStack() as stack:
        sockets = {name: stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=1024)) for name in NAMES}
        server = await asyncio.to_thread(start, tmp_path / "data", sockets, named=False)
        try:
            code = link(server, pb)
            follow = get(f"/{code}")
            callers = [
                *(HttpCaller(server.redirect, follow, tally, patient=True, pause=0.002) for _ in range(4)),
                *(HttpCaller(server.redirect, follow, tally, patient=True, keep_alive=False) for _ in range(4)),
                HttpCaller(server.gateway, get("/healthz"), tally, patient=True, pause=0.002),
                HttpCaller(server.gateway, get("/healthz"), tally, patient=True, keep_alive=False),
            ]
            calls = [look_up(pb, code), lambda channel: create(pb, channel)]
            rpc = [GrpcCaller(server.url, call, tally, patient=True, pause=0.005) for call in calls]
            tasks = [asyncio.create_task(caller.run(stop)) for caller in callers]
            for caller in rpc:
                caller.start()
            for number in range(restarts):
                await asyncio.sleep(0.3)
                before, started = tally.answered, time.monotonic()
                assert await asyncio.to_thread(server.stop) == 0
                server = await asyncio.to_thread(start, tmp_path / "data", sockets, named=bool(number % 2))
                waits.append(time.monotonic() - started)
                assert tally.answered > before
            await asyncio.sleep(0.3)
            stop.set()
            for caller in rpc:
                caller.stopped.set()
                await asyncio.to_thread(caller.join, 30)
            await asyncio.gather(*tasks)
            assert await asyncio.to_thread(server.stop) == 0
        finally:
            if server.process.poll() is None:
                server.kill()
    assert tally.failed == []
    assert tally.refused == 0
    figure(
        "Socket hand-over",
        f"{restarts} restarts under {len(callers) + 2} callers: {tally.answered} requests, 0 refused, 0 failed; "
        f"longest wait {max(tally.seconds):.1f} s",
    )
