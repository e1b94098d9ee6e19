"""Four times the load it can take: most of the goodput stays, refusals are quick, and it is over when the load is."""

import asyncio
import shutil
import subprocess
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import grpc
import pytest

from tests.bench.generators import grpc_frame
from tests.bench.messages import message_class
from tests.promises.load import ask, get, memory_mib
from tests.promises.test_drain import link
from tests.support import process

Size = Callable[[int, int], int]
Figure = Callable[[str, str], None]
TIMES = 4
GOODPUT_MIN = 0.8
GOODPUT_MIN_QUICK = 0.3
"""The quick form runs beside other tests, which take the same cores meanwhile."""
MEMORY_MIB_MAX = 256
NORMAL_SECONDS_MAX = 2.0
CREATE, GET_URL = "/url.URLService/CreateURL", "/url.URLService/GetURL"


class Offer:
    """Calls at a steady rate, whatever becomes of them: outcomes and how long each took."""

    def __init__(self) -> None:
        self.seconds: dict[grpc.StatusCode, list[float]] = {}

    def run(self, call: grpc.UnaryUnaryMultiCallable, request: object, *, rate: float, seconds: float) -> None:
        started = time.monotonic()
        futures = []
        for number in range(int(rate * seconds)):
            time.sleep(max(0.0, started + number / rate - time.monotonic()))
            futures.append(self._begin(call, request))
        for future in futures:
            future.exception(timeout=30)

    def _begin(self, call: grpc.UnaryUnaryMultiCallable, request: object) -> grpc.Future:
        began = time.monotonic()
        future = call.future(request, timeout=10)
        future.add_done_callback(lambda done: self.seconds.setdefault(done.code(), []).append(time.monotonic() - began))
        return future


def test_logins(tmp_path: Path, pb: SimpleNamespace, size: Size, figure: Figure) -> None:
    """A wrong password is as good an answer as a right one: it takes the same hash."""
    seconds = size(1, 20)
    hashed, refused = grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.RESOURCE_EXHAUSTED
    # A second at four times the rate of a busy machine would not fill the usual queue.
    queue = {"AUTH_HASH_QUEUE_MAX": size(8, 64)}
    with process.running(tmp_path / "data", **queue) as server, grpc.insecure_channel(server.user) as channel:
        call = pb.user_pb2_grpc.UserServiceStub(channel).Login
        request = pb.user_pb2.LoginRequest(email="nobody@example.com", password="a-wrong-one")
        warm, peak, load = Offer(), Offer(), Offer()
        warm.run(call, request, rate=10, seconds=1)
        peak.run(call, request, rate=200, seconds=seconds / 2)
        rate = len(peak.seconds[hashed]) / (seconds / 2 + max(peak.seconds[hashed]))
        load.run(call, request, rate=TIMES * rate, seconds=seconds)
        over = time.monotonic()
        with pytest.raises(grpc.RpcError) as caught:
            call(request, timeout=10)
        normal = time.monotonic() - over
        assert caught.value.code() == hashed
        assert set(load.seconds) == {hashed, refused}
        goodput = len(load.seconds[hashed]) / (seconds + 1.5)  # what waits at the end is answered after it
        assert goodput >= rate * (GOODPUT_MIN if seconds > 10 else GOODPUT_MIN_QUICK)
        assert normal < NORMAL_SECONDS_MAX
        quick = sorted(load.seconds[refused])[len(load.seconds[refused]) // 2]
        assert quick < min(load.seconds[hashed])
        memory = memory_mib(server.process.pid, "VmHWM")
        assert memory < MEMORY_MIB_MAX
    figure(
        "Overload: logins",
        f"{TIMES} x {rate:.0f}/s for {seconds} s: {goodput / rate * 100:.0f} % of peak, none failed; refusals median "
        f"{quick * 1000:.1f} ms, waits of the others {max(load.seconds[hashed]):.1f} s at most; {memory:.0f} MiB; "
        f"normal {normal:.2f} s after",
    )


def counts(server: process.Running) -> Counter[str]:
    """Answers so far: of gRPC by method and status, of redirects in all."""
    found: Counter[str] = Counter()
    text = asyncio.run(ask(server.gateway, get("/metrics")))[2].decode()
    for line in text.splitlines():
        if line.startswith("shortener_grpc_call_seconds_count"):
            name, _, value = line.rpartition(" ")
            method, status = name.split('"')[1::2]
            found[f"{method} {status}"] += int(float(value))
        elif line.startswith("shortener_redirects_total"):
            found["redirect OK"] += int(float(line.rpartition(" ")[2]))
    return found


def h2load(url: str, options: list[str], *, seconds: float, connections: int, streams: int, rate: float) -> None:
    calls = max(connections, int((rate or 1000) * seconds))
    command = ["h2load", "-n", str(calls), "-c", str(connections), "-m", str(streams), *options, url]
    if rate:
        command[1:1] = ["--rps", f"{rate / connections:.3f}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=True)
    assert " 0 errored, 0 timeout" in done.stdout, done.stdout


KINDS = (
    "redirect",
    *(pytest.param(kind, marks=pytest.mark.long) for kind in ("GetURL", "CreateURL", "CreateURL with QR")),
)


@pytest.mark.parametrize("kind", KINDS)
def test_calls(tmp_path: Path, pb: SimpleNamespace, size: Size, figure: Figure, kind: str) -> None:
    if shutil.which("h2load") is None:
        pytest.skip("needs h2load")
    seconds = size(1, 10)
    with process.running(tmp_path / "data", LIMITS_MISSES_PER_MINUTE=0) as server:
        code = link(server, pb)
        body = tmp_path / "body"
        if kind == "redirect":
            url, options, key = f"http://{server.redirect}/{code}", ["--h1"], "redirect OK"
        else:
            path = GET_URL if kind == "GetURL" else CREATE
            asked = (
                {"short_code": code} if kind == "GetURL" else {"long_url": "https://example.com/", "user_id": "load"}
            )
            more = {"omit_qr_code": True} if kind == "CreateURL" else {}
            message = message_class(f"url.{path.rpartition('/')[2]}Request")(**asked, **more)
            body.write_bytes(grpc_frame(message.SerializeToString()))
            url, key = f"http://{server.url}{path}", f"{path} OK"
            options = ["-d", str(body), "-H", "content-type: application/grpc", "-H", "te: trailers"]

        def goodput(connections: int, streams: int, rate: float, seconds: float) -> tuple[float, Counter[str]]:
            before, began = counts(server), time.monotonic()
            h2load(url, options, seconds=seconds, connections=connections, streams=streams, rate=rate)
            took = time.monotonic() - began
            seen = counts(server)
            seen.subtract(before)
            return seen[key] / took, seen

        streams = 1 if kind == "redirect" else 8
        first, _ = goodput(16, streams, 0, min(2, seconds))
        peak, _ = goodput(16, streams, first * 2, seconds / 2)
        loaded, seen = goodput(64, 1 if kind == "redirect" else 100, TIMES * peak, seconds)
        over = time.monotonic()
        while True:
            began = time.monotonic()
            status, _, _ = asyncio.run(ask(server.redirect, get(f"/{code}")))
            assert status == 302
            if time.monotonic() - began < 0.1:
                break
        normal = time.monotonic() - over
        memory = memory_mib(server.process.pid, "VmHWM")
        bad = {name: number for name, number in seen.items() if number and not name.endswith((" OK", "_EXHAUSTED"))}
        assert bad == {}
        assert loaded >= peak * (GOODPUT_MIN if seconds >= 10 else GOODPUT_MIN_QUICK)
        assert memory < MEMORY_MIB_MAX
        assert normal < NORMAL_SECONDS_MAX
    refused = sum(number for name, number in seen.items() if name.endswith("_EXHAUSTED"))
    figure(
        f"Overload: {kind}",
        f"{TIMES} x {peak:.0f}/s offered for {seconds} s: {loaded / peak * 100:.0f} % of peak, {refused} refused, none "
        f"failed; {memory:.0f} MiB; normal {normal:.2f} s after",
    )
