"""Clients that are slow, idle or gone, and descriptors that run out: bounded, and over when they are over."""

import asyncio
import contextlib
import resource
import sys
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from types import SimpleNamespace

import grpc
import pytest

from shortener.tasks import cancel
from tests.promises.load import HttpCaller, Tally, ask, get, memory_mib, open_files
from tests.promises.test_drain import UPLOAD, create, link
from tests.support import process

Size = Callable[[int, int], int]
Figure = Callable[[str, str], None]
MEMORY_MIB_MAX = 256
MAKE_ROOM_SECONDS = 5.0  # an idle connection may stay for one second, and is looked for once a second
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\x00\x00\x00\x04\x00\x00\x00\x00\x00"


class Hostile:
    """Connections that never do what is expected of them."""

    def __init__(self) -> None:
        self.writers: list[asyncio.StreamWriter] = []

    async def open(self, address: str, count: int, start: bytes = b"", *, deaf: bool = False) -> None:
        host, _, port = address.rpartition(":")
        for _ in range(count):
            _, writer = await asyncio.open_connection(host, int(port))
            if deaf:
                writer.transport.pause_reading()  # type: ignore[attr-defined] # a connection's transport has it
            if start:
                writer.write(start)
            self.writers.append(writer)

    def close(self) -> None:
        for writer in self.writers:
            writer.transport.abort()
        self.writers.clear()


@contextlib.asynccontextmanager
async def hostile() -> AsyncIterator[Hostile]:
    clients = Hostile()
    try:
        yield clients
    finally:
        clients.close()
        await asyncio.sleep(0)


async def honest(server: process.Running, code: str, requests: int) -> Tally:
    """Ask both HTTP listeners, each time on a new connection."""
    tally = Tally()
    for _ in range(requests):
        for address, path in ((server.redirect, f"/{code}"), (server.gateway, "/healthz")):
            started = time.perf_counter()
            status, _, _ = await ask(address, get(path))
            tally.statuses[status] += 1
            tally.seconds.append(time.perf_counter() - started)
    return tally


async def is_answered(server: process.Running, code: str) -> bool:
    try:
        return (await ask(server.redirect, get(f"/{code}")))[0] == 302
    except (OSError, EOFError):
        return False


@contextlib.asynccontextmanager
async def watched(server: process.Running) -> AsyncIterator[list[int]]:
    """Look all the time how many files the server has open: on a busy machine the first go while others come."""
    seen: list[int] = []

    async def watch() -> None:
        while True:
            seen.append(open_files(server.process.pid))
            await asyncio.sleep(0.02)

    task = asyncio.create_task(watch())
    try:
        yield seen
    finally:
        await cancel(task)


async def until_few(server: process.Running, most: int, seconds: float) -> float:
    """Wait until the server has no more than `most` files open; return how long that took."""
    started = time.monotonic()
    while open_files(server.process.pid) > most:
        assert time.monotonic() - started < seconds, open_files(server.process.pid)
        await asyncio.sleep(0.05)
    return time.monotonic() - started


async def test_slow_idle_and_silent_clients_leave_others_alone(
    tmp_path: Path, pb: SimpleNamespace, size: Size, figure: Figure
) -> None:
    idle, few = size(100, 2000), size(10, 200)
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < 10_000:
        pytest.skip(f"needs 10,000 open files, the hard limit is {hard}")
    resource.setrlimit(resource.RLIMIT_NOFILE, (10_000, hard))
    settings = {f"{name}_{key}": 2 for name in ("GATEWAY", "REDIRECT") for key in ("HEAD_TIMEOUT_SECONDS",)}
    settings |= {"GATEWAY_BODY_TIMEOUT_SECONDS": 2, "GATEWAY_KEEPALIVE_SECONDS": 4, "REDIRECT_KEEPALIVE_SECONDS": 4}
    settings |= {"GRPC_HANDSHAKE_SECONDS": 2, "GRPC_KEEPALIVE_SECONDS": 1, "GRPC_KEEPALIVE_TIMEOUT_SECONDS": 1}
    server = await asyncio.to_thread(process.start, tmp_path / "data", **settings)
    try:
        code = link(server, pb)
        await honest(server, code, 2)
        files = open_files(server.process.pid)
        async with hostile() as clients, watched(server) as peak:
            for address in (server.redirect, server.gateway, server.url):
                await clients.open(address, idle)
            for address in (server.redirect, server.gateway):
                await clients.open(address, few, b"GET /half-a-head HTTP/1.1\r\nHost: te")
            await clients.open(server.gateway, few, UPLOAD)
            await clients.open(server.redirect, few, get(f"/{code}") * 500, deaf=True)
            await clients.open(server.url, few, PREFACE, deaf=True)  # and never answers a ping
            tally = await honest(server, code, size(20, 200))
            await asyncio.to_thread(link, server, pb)
            memory = memory_mib(server.process.pid, "VmHWM")
            seconds = await until_few(server, files + 5, 30)
        most = max(peak) - files
        assert set(tally.statuses) == {302, 200}
        assert memory < MEMORY_MIB_MAX
        assert most >= idle
        assert await asyncio.to_thread(server.stop) == 0
        figure(
            "Slow, idle and half-open clients",
            f"{3 * idle} idle and {5 * few} slow or silent connections ({most} open at once): {tally.answered} "
            f"requests of others all answered, p99 {tally.p99() * 1000:.1f} ms, memory {memory:.0f} MiB, all closed "
            f"by the server {seconds:.1f} s later",
        )
    finally:
        if server.process.poll() is None:
            server.kill()


async def test_connections_cannot_use_up_the_descriptors(
    tmp_path: Path, pb: SimpleNamespace, size: Size, figure: Figure
) -> None:
    """With a hard limit of 400 files: one line at the start, refusals that say so, writes that go on."""
    rounds = size(1, 5)
    limited = ("prlimit", "--nofile=400:400", sys.executable, "-m", "shortener", "serve")
    server = await asyncio.to_thread(process.start, tmp_path / "data", command=limited)
    try:
        code = link(server, pb)
        tally, started = Tally(), time.monotonic()
        for _ in range(rounds):
            async with hostile() as clients:
                await clients.open(server.redirect, 300)
                await clients.open(server.gateway, 300)
                assert open_files(server.process.pid) < 400
                for address, path in ((server.redirect, f"/{code}"), (server.gateway, "/healthz")) * 10:
                    began = time.perf_counter()
                    status, head, _ = await ask(address, get(path))
                    assert status in (302, 200) or (status == 503 and b"\r\nRetry-After: 1\r\n" in head)
                    tally.statuses[status] += 1
                    tally.seconds.append(time.perf_counter() - began)
                await asyncio.to_thread(link, server, pb)  # journal, database and gRPC have descriptors left
                async with asyncio.timeout(MAKE_ROOM_SECONDS):  # those that idle make room
                    while (await ask(server.redirect, get(f"/{code}")))[0] != 302:  # noqa: ASYNC110 - another process
                        await asyncio.sleep(0.1)
            assert (await ask(server.gateway, get("/healthz")))[0] == 200
        lines = server.log.read_text().count('"too many connections"')
        assert (
            "the limit of open files (RLIMIT_NOFILE) allows fewer connections than configured" in server.log.read_text()
        )
        assert 1 <= lines <= 2 * (time.monotonic() - started + 1)
        assert await asyncio.to_thread(server.stop) == 0
        figure(
            "Too many connections for the descriptors",
            f"{rounds} x 600 connections with 400 files allowed: answers {dict(tally.statuses)}, p99 "
            f"{tally.p99() * 1000:.1f} ms, {lines} log lines; creates went on",
        )
    finally:
        if server.process.poll() is None:
            server.kill()


@pytest.mark.parametrize("uvloop", [True, False])
async def test_descriptors_exhausted_and_freed(
    tmp_path: Path, pb: SimpleNamespace, size: Size, figure: Figure, uvloop: bool
) -> None:
    """The limit is lowered under the running server, so that not one more can be had; then it is raised again."""
    seconds = size(1, 10)
    server = await asyncio.to_thread(process.start, tmp_path / "data", SERVER_UVLOOP=uvloop)
    pid = server.process.pid
    try:
        code = link(server, pb)
        tally, stop = Tally(), asyncio.Event()
        before = resource.prlimit(pid, resource.RLIMIT_NOFILE)
        kept = asyncio.create_task(HttpCaller(server.redirect, get(f"/{code}"), tally, pause=0.01).run(stop))
        await asyncio.sleep(0.3)
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (open_files(pid), before[1]))
        size_before = len(server.log.read_bytes().splitlines())
        async with hostile() as clients:
            end = time.monotonic() + seconds
            while time.monotonic() < end:
                with contextlib.suppress(TimeoutError):  # the kernel's queue is full: under asyncio nobody empties it
                    await asyncio.wait_for(clients.open(server.redirect, 5), 0.5)
                await asyncio.sleep(0.02)
            lines = len(server.log.read_bytes().splitlines()) - size_before
            during = tally.answered
            resource.prlimit(pid, resource.RLIMIT_NOFILE, before)
            freed = time.monotonic()
            while not await is_answered(server, code):
                assert time.monotonic() - freed < 5
            again = time.monotonic() - freed
        stop.set()
        await kept
        assert during > 0
        assert tally.failed == []
        assert lines <= 2 * seconds + 3
        with grpc.insecure_channel(server.url) as channel:
            create(pb, channel)
        assert await asyncio.to_thread(server.stop) == 0
        figure(
            f"Descriptors exhausted ({'uvloop' if uvloop else 'asyncio'})",
            f"{seconds} s with none left: {during} requests answered on the connection that was open, 0 failed, "
            f"{lines} log lines; new connections answered {again:.2f} s after descriptors were free",
        )
    finally:
        if server.process.poll() is None:
            server.kill()
