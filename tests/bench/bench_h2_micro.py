"""Calls a second of a trivial GetURL: our HTTP/2 server beside grpcio's aio server and stock grpclib.

    python -m tests.bench.bench_h2_micro [--rounds 3] [--calls 20000] [--json]

Each server runs on core 0, h2load (nghttp2) on core 1, in turn, several rounds; medians are printed. The handler does
no work, so this measures transport and codec alone.
"""

import argparse
import asyncio
import contextlib
import json
import os
import re
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

SERVERS = ("own, uvloop", "own, asyncio", "grpcio aio", "grpclib")
SHAPES = ((1, 1), (1, 100), (10, 1), (10, 10))
"""(connections, concurrent calls on each)."""
PATH = "/url.URLService/GetURL"
FIELDS: dict[str, Any] = {
    "short_code": "abc123",
    "long_url": "https://example.com/path",
    "clicks": 42,
    "created_at": 1_704_153_600,
    "updated_at": 1_704_153_600,
    "is_active": True,
    "short_url": "http://localhost:8081/abc123",
}


def _service() -> Any:
    from shortener.gen.url import GetUrlRequest, GetUrlResponse, UrlServiceBase
    from shortener.rpc.codec import builder

    make_reply = builder(GetUrlResponse)

    class Service(UrlServiceBase):
        async def get_url(self, get_url_request: GetUrlRequest) -> GetUrlResponse:
            return make_reply(url=FIELDS, found=True)

    return Service()


async def _serve_own(port: int) -> None:
    from shortener.config.sections import Grpc
    from shortener.rpc.http2 import RpcServer

    server = RpcServer([_service()], Grpc(streams_max=1000))
    await server.start("127.0.0.1", port)
    await asyncio.Event().wait()


async def _serve_grpclib(port: int) -> None:
    from grpclib.server import Server

    server = Server([_service()])
    await server.start("127.0.0.1", port)
    await server.wait_closed()


async def _serve_aio(port: int) -> None:
    import grpc.aio
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

    pool = descriptor_pool.DescriptorPool()
    described = Path(__file__).parents[2] / "shortener" / "gen" / "protos.desc"
    for file in descriptor_pb2.FileDescriptorSet.FromString(described.read_bytes()).file:
        pool.Add(file)
    request, reply, url = (
        message_factory.GetMessageClass(pool.FindMessageTypeByName(f"url.{name}"))
        for name in ("GetURLRequest", "GetURLResponse", "URL")
    )

    async def get_url(_request: Any, _context: Any) -> Any:
        return reply(url=url(**FIELDS), found=True)

    server = grpc.aio.server()
    handler = grpc.unary_unary_rpc_method_handler(
        get_url, request_deserializer=request.FromString, response_serializer=reply.SerializeToString
    )
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("url.URLService", {"GetURL": handler}),))
    server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    await server.wait_for_termination()


def serve(kind: str, port: int) -> None:
    """Run one server until it is told to stop."""
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    if kind == "own, uvloop":
        import uvloop

        uvloop.run(_serve_own(port))
    else:
        asyncio.run({"own, asyncio": _serve_own, "grpcio aio": _serve_aio, "grpclib": _serve_grpclib}[kind](port))


def _pinned(core: int) -> list[str]:
    taskset = shutil.which("taskset")
    return [taskset, "-c", str(core)] if taskset and (os.cpu_count() or 1) > 1 else []


@contextlib.contextmanager
def running(kind: str) -> Any:
    """Start a server in a process of its own, and yield its port once it accepts."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [*_pinned(0), sys.executable, "-m", "tests.bench.bench_h2_micro", "--serve", kind, str(port)]
    process = subprocess.Popen(command)
    try:
        for _ in range(200):
            time.sleep(0.05)
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
        yield port
    finally:
        process.terminate()
        process.wait()


def load(port: int, body: Path, connections: int, streams: int, calls: int) -> float:
    """Return calls a second by h2load; every call must have been answered."""
    command = [
        *_pinned(1), "h2load", "-n", str(calls), "-c", str(connections), "-m", str(streams), "-d", str(body),
        "-H", "content-type: application/grpc", "-H", "te: trailers", f"http://127.0.0.1:{port}{PATH}",
    ]  # fmt: skip
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    done = re.search(r"(\d+) succeeded", said)
    rate = re.search(r"([\d.]+) req/s", said)
    if done is None or rate is None or int(done[1]) != calls:
        raise RuntimeError(said)
    return float(rate[1])


def measure(rounds: int, calls: int) -> dict[str, list[float]]:
    """Return the median of each shape by server."""
    found: dict[str, list[list[float]]] = {kind: [[] for _ in SHAPES] for kind in SERVERS}
    with tempfile.TemporaryDirectory() as folder:
        body = Path(folder) / "body"
        body.write_bytes(b"\0\0\0\0\x08\n\x06abc123")
        for _ in range(rounds):
            for kind in SERVERS:
                share = calls if kind.startswith("own") else calls // 10
                with running(kind) as port:
                    load(port, body, 1, 10, share // 4)  # warm
                    for number, (connections, streams) in enumerate(SHAPES):
                        found[kind][number].append(load(port, body, connections, streams, share))
    return {kind: [statistics.median(rates) for rates in shapes] for kind, shapes in found.items()}


def main() -> None:
    """Measure and print, or serve."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--calls", type=int, default=20_000)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--serve", nargs=2, metavar=("KIND", "PORT"))
    options = parser.parse_args()
    if options.serve:
        serve(options.serve[0], int(options.serve[1]))
        return
    results = measure(options.rounds, options.calls)
    if options.json:
        print(json.dumps(results))  # noqa: T201 - its output
        return
    print("calls/s".ljust(16), *(f"{c}x{m}".rjust(10) for c, m in SHAPES))  # noqa: T201 - its output
    for kind, rates in results.items():
        print(kind.ljust(16), *(f"{rate:10.0f}" for rate in rates))  # noqa: T201 - its output


if __name__ == "__main__":
    main()
