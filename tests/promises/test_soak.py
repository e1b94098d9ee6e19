"""Hours in minutes: mixed traffic, and memory, descriptors and threads stay where they are."""

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import grpc

from tests.promises.load import GrpcCaller, HttpCaller, Tally, get, memory_mib, open_files, threads
from tests.promises.test_drain import create, link, look_up, post
from tests.support import process

Size = Callable[[int, int], int]
Figure = Callable[[str, str], None]
MIB_MORE_MAX = 16
MIB_MORE_MAX_QUICK = 64
"""The quick form sees caches fill and libraries load."""


async def test_ten_minutes(tmp_path: Path, pb: SimpleNamespace, size: Size, figure: Figure) -> None:
    seconds, warm = size(1, 600), size(1, 60)
    limits = {f"LIMITS_{key}_PER_MINUTE": 0 for key in ("LOGINS", "LOGIN_FAILURES", "ADDRESS_LOGIN_FAILURES", "MISSES")}
    # The links made meanwhile would fill the cache of links and the page caches of SQLite, as they should, during half
    # an hour: small ones are full when the warm-up ends.
    caches = {"CACHE_SIZE_MAX": 500, "STORAGE_CACHE_BYTES": 1 << 20}
    server = await asyncio.to_thread(process.start, tmp_path / "data", **caches, **limits)
    pid = server.process.pid
    try:
        code = link(server, pb)
        tally, stop = Tally(), asyncio.Event()
        login = post("/api/auth/login", {"email": "nobody@example.com", "password": "a-wrong-one"})

        def statistics(channel: grpc.Channel) -> object:
            asked = pb.analytics_pb2.GetStatsRequest(short_code=code)
            return pb.analytics_pb2_grpc.AnalyticsServiceStub(channel).GetStats(asked, timeout=30)

        http = [
            *(HttpCaller(server.redirect, get(f"/{code}"), tally, pause=0.005) for _ in range(2)),
            HttpCaller(server.redirect, get(f"/{code}"), tally, keep_alive=False),
            HttpCaller(server.redirect, get("/unknown"), tally, pause=0.02),
            HttpCaller(server.gateway, get("/metrics"), tally, pause=0.5),
            HttpCaller(server.gateway, login, tally, pause=0.3),
        ]
        calls = [look_up(pb, code), lambda channel: create(pb, channel), statistics]
        rpc = [GrpcCaller(server.url, call, tally, pause=0.02) for call in calls]
        for caller in rpc:
            caller.start()
        tasks = [asyncio.create_task(caller.run(stop)) for caller in http]
        await asyncio.sleep(warm)
        before = memory_mib(pid), threads(pid)
        files, highest, began = [open_files(pid)], 0.0, time.monotonic()
        while time.monotonic() - began < seconds:
            tally.seconds.clear()
            await asyncio.sleep(0.5)
            files.append(open_files(pid))
            highest = max(highest, memory_mib(pid))
        after = memory_mib(pid), threads(pid)
        stop.set()
        for caller in rpc:
            caller.stopped.set()
            await asyncio.to_thread(caller.join, 30)
        await asyncio.gather(*tasks)
        assert tally.failed == []
        assert tally.refused == 0
        assert after[1] == before[1]
        assert max(files) - min(files) <= 12  # a click segment, connections that come and go
        assert after[0] - before[0] <= size(MIB_MORE_MAX_QUICK, MIB_MORE_MAX)
        figure(
            "Soak",
            f"{seconds} s, {tally.answered} answers, 0 failed: memory {before[0]:.0f} to {after[0]:.0f} MiB (highest "
            f"{highest:.0f}), descriptors {min(files)} to {max(files)}, threads {before[1]} to {after[1]}",
        )
        assert await asyncio.to_thread(server.stop) == 0
    finally:
        if server.process.poll() is None:
            server.kill()
