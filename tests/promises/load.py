"""Load generators that count refused connections apart from failed requests, and readings of a process."""

import asyncio
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import grpc

REFUSED = ("connection refused", "failed to connect")
Call = Callable[[grpc.Channel], object]


@dataclass
class Tally:
    """The results of calls. `refused` connections were refused by the system, `failed` requests got no answer."""

    statuses: Counter[int] = field(default_factory=Counter)
    refused: int = 0
    failed: list[str] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)

    @property
    def answered(self) -> int:
        return sum(self.statuses.values())

    def p99(self) -> float:
        return sorted(self.seconds)[int(len(self.seconds) * 0.99)]


def get(path: str, *lines: str) -> bytes:
    return "\r\n".join([f"GET {path} HTTP/1.1", "Host: test", *lines, "", ""]).encode()


class HttpCaller:
    """Repeats one HTTP request until `stop` is set or, unless `patient`, until a connection is refused."""

    def __init__(
        self,
        address: str,
        request: bytes,
        tally: Tally,
        *,
        keep_alive: bool = True,
        patient: bool = False,
        pause: float = 0.0,
    ) -> None:
        self.host, _, port = address.rpartition(":")
        self.port = int(port)
        self.request, self.tally = request, tally
        self.keep_alive, self.patient, self.pause = keep_alive, patient, pause

    async def run(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            try:
                reader, writer = await asyncio.open_connection(self.host, self.port)
            except ConnectionError:
                self.tally.refused += 1
                if not self.patient:
                    return
                await asyncio.sleep(0.02)
                continue
            try:
                await self._ask(reader, writer, stop)
            except (OSError, EOFError, ValueError, TimeoutError) as error:
                self.tally.failed.append(f"{self.request[:30]!r}: {error!r}")
                await asyncio.sleep(0.02)
            finally:
                writer.close()

    async def _ask(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, stop: asyncio.Event) -> None:
        while not stop.is_set():
            started = time.perf_counter()
            writer.write(self.request)
            async with asyncio.timeout(30):
                head, _ = await read_answer(reader)
            self.tally.statuses[int(head[9:12])] += 1
            self.tally.seconds.append(time.perf_counter() - started)
            if not self.keep_alive or b"\r\nconnection: close" in head.lower():
                return
            if self.pause:
                await asyncio.sleep(self.pause)


async def read_answer(reader: asyncio.StreamReader) -> tuple[bytes, bytes]:
    head = await reader.readuntil(b"\r\n\r\n")
    length = head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]
    return head, await reader.readexactly(int(length)) if length else b""


async def ask(address: str, request: bytes, seconds: float = 10.0) -> tuple[int, bytes, bytes]:
    """Ask once, on a connection of its own; return status, head and body."""
    host, _, port = address.rpartition(":")
    async with asyncio.timeout(seconds):
        reader, writer = await asyncio.open_connection(host, int(port))
        try:
            writer.write(request)
            head, body = await read_answer(reader)
            return int(head[9:12]), head, body
        finally:
            writer.close()


class GrpcCaller(threading.Thread):
    """Repeats one gRPC call without retries until `stopped` is set or, unless `patient`, until a call fails."""

    def __init__(self, address: str, call: Call, tally: Tally, *, patient: bool = False, pause: float = 0.0) -> None:
        super().__init__(daemon=True)
        self.address, self.call, self.tally, self.patient, self.pause = address, call, tally, patient, pause
        self.stopped = threading.Event()

    def run(self) -> None:
        with grpc.insecure_channel(self.address, options=[("grpc.enable_retries", 0)]) as channel:
            while not self.stopped.is_set():
                started = time.perf_counter()
                try:
                    self.call(channel)
                except grpc.RpcError as error:
                    details = str(error.details())  # type: ignore[attr-defined] # every error of a call has them
                    if not any(words in details.lower() for words in REFUSED):
                        self.tally.failed.append(f"{error.code()} {details}")  # type: ignore[attr-defined] # as above
                    else:
                        self.tally.refused += 1
                    if not self.patient:
                        return
                    continue
                self.tally.statuses[0] += 1
                self.tally.seconds.append(time.perf_counter() - started)
                if self.pause:
                    self.stopped.wait(self.pause)


def memory_mib(pid: int, key: str = "VmRSS") -> float:
    """What a process holds in memory, or with VmHWM the most it has held."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(key + ":"):
            return int(line.split()[1]) / 1024
    raise AssertionError(f"no {key}")


def open_files(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


def threads(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/task").iterdir()))
