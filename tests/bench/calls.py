"""Rows about gRPC: GetURL beside grpcio and stock grpclib, CreateURL beside single commits, and latency."""

import contextlib
from pathlib import Path

import grpc

from tests.bench.bench import Bench, Must
from tests.bench.generators import CREATE_URL, GET_URL, Load, grpc_frame, h2load
from tests.bench.messages import message_class
from tests.bench.redirects import DESTINATION
from tests.bench.servers import MiscountError, Ours, as_json, nginx, ours, python_figure, python_peer

SHAPES = ((10, 10), (1, 100), (10, 1), (1, 1))
"""Connections, and calls at a time on each. The first is the one that is judged."""
SEGNO = {"8": "segno's defaults, 8 pixels a module", "1": "segno's defaults, 1 pixel a module"}
"""The peers that only draw, by pixels a module."""
OWN, GRPCIO, GRPCLIB = "ours", "grpcio aio", "grpclib"


def get_url(bench: Bench) -> None:
    """GetURL of a link in memory."""
    row = bench.row("GetURL, hot", "calls/s")
    shapes = {shape: bench.row(f"GetURL, hot, {shape[0]} x {shape[1]}", "calls/s") for shape in SHAPES[1:]}
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(bench.folder())
        server = stack.enter_context(ours(folder / "data"))
        code = server.create(DESTINATION)
        link = server.get(code).url
        addresses = {
            OWN: server.running.url,
            GRPCIO: stack.enter_context(python_peer("grpcio_get_url", as_json(link))),
            GRPCLIB: stack.enter_context(python_peer("grpclib_get_url", as_json(link))),
        }
        web = stack.enter_context(nginx(folder, DESTINATION))
        check_same(addresses, code)
        body = folder / "body"
        body.write_bytes(grpc_frame(message_class("url.GetURLRequest")(short_code=code).SerializeToString()))
        reply = len(grpc_frame(server.get(code).SerializeToString()))
        before, sent = server.calls(GET_URL), 0
        speed: dict[str, float] = {}

        def load(who: str, shape: tuple[int, int], calls: int) -> Load:
            nonlocal sent
            done = h2load(addresses[who], GET_URL, body=body, calls=calls, connections=shape[0], streams=shape[1])
            sent += done.answered if who == OWN else 0
            if done.body_bytes != done.answered * reply:
                raise MiscountError(f"{who}: {done.answered} answers have {done.body_bytes} bytes, not {reply} each")
            return done

        for who in addresses:
            load(who, SHAPES[0], 300)
            speed[who] = load(who, SHAPES[0], 1000).rate
        for _ in bench.rounds(row):
            row.add("nginx, HTTP/1.1 302", bench_nginx(web, bench.sizes.seconds))
            for who in addresses:
                speed[who] = load(who, SHAPES[0], int(speed[who] * bench.sizes.seconds)).rate
                row.add(who, speed[who])
        for shape, other in shapes.items():
            share = bench.sizes.seconds / (8 if shape == (1, 1) else 2)
            for _ in bench.rounds(other, rounds=1):
                for who in addresses:
                    other.add(who, load(who, shape, int(speed[who] * share)).rate)
        if server.calls(GET_URL) - before != sent:
            raise MiscountError(f"{sent} calls sent, {server.calls(GET_URL) - before} answered OK")
    row.musts = [
        Must("times grpcio's aio server", row.ratio(OWN, GRPCIO), 5),
        Must("times stock grpclib", row.ratio(OWN, GRPCLIB), 20),
        Must("of nginx (10,000 where it gives 50,000)", row.ratio(OWN, "nginx, HTTP/1.1 302"), 0.2),
    ]


def bench_nginx(address: str, seconds: float) -> float:
    """The machine's own measure: what nginx answers a second."""
    from tests.bench.generators import wrk
    from tests.bench.redirects import CONNECTIONS

    return wrk(f"http://{address}/", seconds=seconds, connections=CONNECTIONS).rate


def check_same(addresses: dict[str, str], code: str) -> None:
    """See that all servers give a grpcio client the same answer, and status OK."""
    answers = {}
    for who, address in addresses.items():
        with grpc.insecure_channel(address) as channel:
            asked = message_class("url.GetURLRequest")(short_code=code).SerializeToString()
            answers[who] = channel.unary_unary(GET_URL)(asked, timeout=10)
    if len(set(answers.values())) != 1:
        raise MiscountError(f"different answers: {answers}")


def create_url(bench: Bench) -> None:
    """CreateURL, on the disk before it answers, by 64 callers."""
    row = bench.row("CreateURL, durable, 64 callers", "creates/s")
    few = bench.row("CreateURL, 64 callers on 8 connections", "creates/s")
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(bench.folder())
        server = stack.enter_context(ours(folder / "data"))
        body = create_body(folder, "body", omit_qr_code=True)
        made = 0

        def load(connections: int, calls: int) -> tuple[float, float]:
            """Rate, and syncs for each create."""
            nonlocal made
            before = server.metrics()["shortener_commits_total"]
            address, streams = server.running.url, 64 // connections
            done = h2load(address, CREATE_URL, body=body, calls=calls, connections=connections, streams=streams)
            made += done.answered
            return done.rate, (server.metrics()["shortener_commits_total"] - before) / done.answered

        speed, _ = load(64, 2000)
        for _ in bench.rounds(row, few):
            row.add("single commits", python_figure("insert_commit", str(folder), str(bench.sizes.seconds)))
            speed, syncs = load(64, int(speed * bench.sizes.seconds))
            row.add("ours", speed)
            row.notes["syncs_per_create"] = max(syncs, row.notes.get("syncs_per_create", 0))
            few.add("ours", load(8, int(speed * bench.sizes.seconds))[0])
        check_links(server, made)
    row.musts = [
        Must("of single commits", row.ratio("ours", "single commits"), 0.4),
        Must("syncs a create", row.notes["syncs_per_create"], 1 / 8, at_least=False),
    ]


def create_with_qr(bench: Bench) -> None:
    """The same with the QR code that CreateURL draws unless told otherwise."""
    row = bench.row("CreateURL with QR, 64 callers", "creates/s")
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(bench.folder())
        server = stack.enter_context(ours(folder / "data"))
        bodies = {"without": create_body(folder, "without", omit_qr_code=True), "ours": create_body(folder, "with")}
        made, speed = 0, dict.fromkeys(bodies, 2000.0)

        def load(who: str, calls: float) -> None:
            nonlocal made
            done = h2load(server.running.url, CREATE_URL, body=bodies[who], calls=int(calls), connections=64, streams=1)
            made, speed[who] = made + done.answered, done.rate

        for who in bodies:
            load(who, speed[who])
        for _ in bench.rounds(row):
            for scale, name in SEGNO.items():
                row.add(name, python_figure("segno_png", scale, str(bench.sizes.seconds)))
            for who in bodies:
                load(who, speed[who] * bench.sizes.seconds)
                row.add(who, speed[who])
        check_links(server, made)
    row.musts = [
        Must("of the rate without", row.ratio("ours", "without"), 0.7),
        *(Must(f"times {name}", row.ratio("ours", name), 8) for name in SEGNO.values()),
    ]


def create_body(folder: Path, name: str, **fields: bool) -> Path:
    """A CreateURL request in a file of this name."""
    body = folder / name
    asked = message_class("url.CreateURLRequest")(long_url=DESTINATION, user_id="callers", **fields)
    body.write_bytes(grpc_frame(asked.SerializeToString()))
    return body


def check_links(server: Ours, made: int) -> None:
    """See that each acknowledged create is one link."""
    if server.count_links("callers") != made or server.calls(CREATE_URL) != made:
        raise MiscountError(f"{made} creates acknowledged, {server.count_links('callers')} links")


def latency(bench: Bench) -> None:
    """p99 of GetURL at half of what h2load gets answered just before."""
    row = bench.row("GetURL: p99 under half load", "ms")
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(bench.folder())
        server = stack.enter_context(ours(folder / "data"))
        code = server.create(DESTINATION)
        body = folder / "body"
        body.write_bytes(grpc_frame(message_class("url.GetURLRequest")(short_code=code).SerializeToString()))
        address, speed = server.running.url, 5000.0
        for _ in range(2):
            speed = h2load(address, GET_URL, body=body, calls=int(speed), connections=10, streams=10).rate
        for _ in bench.rounds(row, rounds=3):
            seconds = bench.sizes.seconds
            speed = h2load(address, GET_URL, body=body, calls=int(speed * seconds), connections=10, streams=10).rate
            calls = int(speed / 2 * seconds)
            half = h2load(address, GET_URL, body=body, calls=calls, connections=10, streams=10, rate=speed / 2)
            row.add("ours", half.p99 * 1000)
            row.notes["rate"] = half.rate
    row.musts = [Must("ms, best of three", min(row.figures["ours"]), 10, at_least=False)]
