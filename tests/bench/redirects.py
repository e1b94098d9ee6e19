"""Rows about redirects: hot beside nginx and aiohttp, cold over many links, and latency under half load."""

import contextlib
from pathlib import Path

from tests.bench.bench import Bench, Must
from tests.bench.dataset import short_code
from tests.bench.generators import Load, steady_gets, wrk
from tests.bench.servers import MiscountError, Ours, nginx, ours, python_peer

HERE = Path(__file__).parent
CONNECTIONS = 32
DESTINATION = "https://www.example.com/some/page?with=a&query=string"
BROWSER = (
    "User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0",
    "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
    "Accept-Language: en-US,en;q=0.5",
    "Accept-Encoding: gzip, deflate, br, zstd",
    "Referer: https://news.example.com/item?id=1",
    "Upgrade-Insecure-Requests: 1",
)


def hot(bench: Bench) -> None:
    """One link, in memory, every click recorded."""
    row = bench.row("redirect, hot", "requests/s")
    extra = bench.row("redirect, hot, a browser's headers", "requests/s")
    tail = bench.row("redirect, hot: p99 at full load", "ms")
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(bench.folder())
        server = stack.enter_context(ours(folder / "data"))
        code = server.create(DESTINATION)
        addresses = {
            "ours": server.running.redirect,
            "nginx": stack.enter_context(nginx(folder, DESTINATION)),
            "aiohttp": stack.enter_context(python_peer("aiohttp_302", DESTINATION)),
            "aiohttp on uvloop": stack.enter_context(python_peer("aiohttp_302", DESTINATION, "uvloop")),
        }
        seen: list[Load] = []

        def load(who: str, headers: tuple[str, ...] = (), seconds: float = bench.sizes.seconds) -> Load:
            done = wrk(f"http://{addresses[who]}/{code}", seconds=seconds, connections=CONNECTIONS, headers=headers)
            if who == "ours":
                seen.append(done)
                row.notes["settle_seconds"] = max(row.notes.get("settle_seconds", 0), server.settle())
            return done

        for who in addresses:
            load(who, seconds=1)
        for _ in bench.rounds(row, tail):
            for who in addresses:
                done = load(who)
                row.add(who, done.rate)
                if who != "aiohttp on uvloop":
                    tail.add(who, done.p99 * 1000)
        for _ in bench.rounds(extra, rounds=1):
            for who in addresses:
                extra.add(who, load(who, BROWSER).rate)
        check_clicks(server, seen, code)
    row.musts = [
        Must("of nginx", row.ratio("ours", "nginx"), 0.33),
        Must("times aiohttp's constant 302", row.ratio("ours", "aiohttp"), 2.2),
    ]


def check_clicks(server: Ours, seen: list[Load], code: str = "") -> None:
    """See that each redirect that was answered is one click, and each that the generator saw was answered."""
    server.settle()
    answered, acknowledged = server.redirected(), sum(load.answered for load in seen)
    metrics = server.metrics()
    recorded = int(metrics["shortener_clicks_journaled_total"])
    stored = int(metrics["shortener_clicks_stored_total"])
    counts = {"answered": answered, "recorded": recorded, "stored": stored}
    if code:
        counts |= {"clicks": server.get(code).url.clicks, "statistics": server.stats(code).total_clicks}
    # wrk leaves each connection with one request at most whose answer it does not wait for.
    if len(set(counts.values())) > 1 or not acknowledged <= answered <= acknowledged + CONNECTIONS * len(seen):
        raise MiscountError(f"acknowledged {acknowledged}, {counts}")


def cold(bench: Bench) -> None:
    """Each link as likely as any other, most of them not in memory; beside one hot link of the same server."""
    sizes = bench.sizes
    row = bench.row("redirect, cold, uniform", "requests/s")
    tail = bench.row("redirect, cold: p99 at full load", "ms")
    common = bench.row("redirect, Zipf over all links", "requests/s")
    with contextlib.ExitStack() as stack:
        data_dir = stack.enter_context(bench.copy(bench.data_set(sizes.links, 0, "one")))
        server = stack.enter_context(ours(data_dir, CACHE_SIZE_MAX=sizes.cached))
        codes = codes_file(data_dir.parent, sizes.links)
        url = f"http://{server.running.redirect}/{short_code(0)}"
        seen: list[Load] = []

        def load(script: str | None) -> Load:
            file = HERE / script if script else None
            done = wrk(url, seconds=sizes.seconds, connections=CONNECTIONS, script=file, codes=codes if file else None)
            seen.append(done)
            server.settle()
            return done

        load("uniform.lua")
        for _ in bench.rounds(row, tail):
            row.add("hot", load(None).rate)
            done = load("uniform.lua")
            row.add("ours", done.rate)
            tail.add("ours", done.p99 * 1000)
        for _ in bench.rounds(common, rounds=1):
            common.add("ours", load("zipf.lua").rate)
        check_clicks(server, seen)
    row.musts = [Must("of the hot rate", row.ratio("ours", "hot"), 0.1)]
    tail.musts = [Must("ms", tail.median("ours"), 25, at_least=False)]


def codes_file(folder: Path, links: int) -> Path:
    """Write the codes of a data set into a file, one a line."""
    path = folder / "codes"
    path.write_text("".join(f"{short_code(number)}\n" for number in range(links)))
    return path


def latency(bench: Bench) -> None:
    """p99 of redirects at half of what wrk gets answered just before; nginx's at the same rate shows the machine's."""
    row = bench.row("redirect: p99 under half load", "ms")
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(bench.folder())
        server = stack.enter_context(ours(folder / "data"))
        web = stack.enter_context(nginx(folder, DESTINATION))
        code = server.create(DESTINATION)
        url = f"http://{server.running.redirect}/{code}"
        seen = [wrk(url, seconds=1, connections=CONNECTIONS)]
        for _ in bench.rounds(row, rounds=3):
            most = wrk(url, seconds=bench.sizes.seconds, connections=CONNECTIONS)
            server.settle()
            rate = most.rate / 2
            calls = int(rate * bench.sizes.seconds)
            half = steady_gets(url, calls=calls, connections=CONNECTIONS, rate=rate)
            server.settle()
            seen += [most, half]
            row.add("ours", half.p99 * 1000)
            same = steady_gets(f"http://{web}/", calls=calls, connections=CONNECTIONS, rate=rate)
            row.add("nginx at the same rate", same.p99 * 1000)
            row.notes["rate"] = half.rate
        check_clicks(server, seen, code)
    row.musts = [Must("ms, best of three", min(row.figures["ours"]), 5, at_least=False)]
