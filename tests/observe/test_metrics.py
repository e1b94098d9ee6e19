"""`/metrics` is Prometheus text, and its counters are exact."""

import math
import re
import time
from pathlib import Path
from types import SimpleNamespace

import grpc
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import generate_latest

from shortener import __version__
from shortener.observe.histogram import SECONDS, Calls, Histogram
from shortener.observe.metrics import Metrics
from tests.support.metrics_client import HTTP, RPC, Site, metrics, parse, value
from tests.support.process import Running


def test_counters_are_exact_after_known_traffic(server: Running, pb: SimpleNamespace) -> None:
    before = metrics(server)
    with grpc.insecure_channel(server.url) as channel:
        stub = pb.url_pb2_grpc.URLServiceStub(channel)
        made = [
            stub.CreateURL(pb.url_pb2.CreateURLRequest(long_url="https://example.com/", user_id="m")).short_code
            for _ in range(3)
        ]
        for _ in range(2):
            with pytest.raises(grpc.RpcError):
                stub.CreateURL(pb.url_pb2.CreateURLRequest())
    redirects, gateway = Site(server.redirect), Site(server.gateway)
    assert [redirects.ask("GET", f"/{made[0]}")[0] for _ in range(7)] == [302] * 7
    assert redirects.ask("HEAD", f"/{made[0]}")[0] == 302
    assert [redirects.ask("GET", "/nothere")[0] for _ in range(2)] == [404] * 2
    assert [gateway.ask("GET", "/api/urls")[0] for _ in range(4)] == [401] * 4
    assert gateway.ask("GET", "/nothere")[0] == 404
    redirects.close()
    gateway.close()

    deadline = time.monotonic() + 10
    after = metrics(server)
    while value(after, "shortener_clicks_stored_total") < 7 and time.monotonic() < deadline:
        after = metrics(server)

    def grown(name: str, **labels: str) -> float:
        return value(after, name, **labels) - value(before, name, **labels)

    create = "/url.URLService/CreateURL"
    assert grown(f"{RPC}_count", method=create, status="OK") == 3
    assert grown(f"{RPC}_bucket", method=create, status="OK", le="+Inf") == 3
    assert grown(f"{RPC}_count", method=create, status="INVALID_ARGUMENT") == 2
    assert 0 < grown(f"{RPC}_sum", method=create, status="OK") < 30
    assert grown("shortener_redirects_total", lane="fast") + grown("shortener_redirects_total", lane="slow") == 8
    assert grown("shortener_redirect_refusals_total", reason="not_found") == 2
    redirect = "shortener_redirect_seconds"
    fast = grown(f"{redirect}_count", lane="fast", status="302")
    assert fast == grown("shortener_redirects_total", lane="fast") >= 6
    assert fast + grown(f"{redirect}_count", lane="slow", status="302") == 8
    assert grown(f"{redirect}_count", lane="slow", status="404") == 2
    assert 0 < grown(f"{redirect}_sum", lane="fast", status="302") < 10
    assert value(after, "shortener_commit_seconds_count") >= value(after, "shortener_commits_total") > 0
    assert 0 < value(after, "shortener_commit_seconds_sum") < 30
    assert grown("shortener_clicks_journaled_total") == 7
    assert grown("shortener_clicks_stored_total") == 7
    assert grown("shortener_clicks_dropped_total") == 0
    assert grown(f"{HTTP}_count", route="GET /api/urls", status="401") == 4
    assert grown(f"{HTTP}_count", route="GET unknown", status="404") == 1
    assert grown("shortener_writes_total") >= 3 + 1
    assert grown("shortener_commit_units_sum") >= 3 + 1
    assert value(after, "shortener_info", version=__version__) == 1
    assert value(after, "process_resident_memory_bytes") > 0


def test_no_label_holds_what_callers_choose(server: Running, pb: SimpleNamespace) -> None:
    """Labels made of paths or codes would grow without bound, and tell who was asked for."""
    gateway, redirects = Site(server.gateway), Site(server.redirect)
    for number in range(5):
        gateway.ask("GET", f"/api/urls/canary{number}")
        gateway.ask("GET", f"/canary{number}")
        gateway.ask("PURGE", f"/canary{number}")
        redirects.ask("GET", f"/canary{number}")
    gateway.close()
    redirects.close()
    with grpc.insecure_channel(server.url) as channel, pytest.raises(grpc.RpcError):
        channel.unary_unary("/canary.Service/Method")(b"", timeout=5)
    values = {text for _, labels in metrics(server) for _, text in labels}
    assert [text for text in values if "canary" in text or "PURGE" in text] == []


def test_open_connections_are_told_by_listener(server: Running) -> None:
    listeners = ("url", "user", "analytics", "gateway", "redirect")

    def connections() -> dict[str, float]:
        samples = metrics(server)
        return {name: value(samples, "shortener_connections", listener=name) for name in listeners}

    before = connections()
    opened = [Site(getattr(server, name)) for name in ("gateway", "redirect", "redirect")]
    for site in opened:
        site.ask("GET", "/healthz")
    with grpc.insecure_channel(server.user) as channel:
        grpc.channel_ready_future(channel).result(timeout=10)
        after = connections()
    for site in opened:
        site.close()
    grown = {name: after[name] - before[name] for name in listeners}
    assert grown == {"url": 0, "user": 1, "analytics": 0, "gateway": 1, "redirect": 2}


def test_the_manual_names_every_metric(server: Running) -> None:
    manual = (Path(__file__).parents[2] / "docs" / "operating.md").read_text()
    table = {name for row in re.findall(r"^\| (`.*?) \|", manual, re.MULTILINE) for name in re.findall(r"`(\w+)`", row)}
    named = {name for name in table if name.startswith(("shortener_", "process_"))}
    site = Site(server.gateway)
    _, text = site.ask("GET", "/metrics")
    site.close()
    told = set(re.findall(r"^# TYPE (\S+)", text.decode(), re.MULTILINE))
    assert named - told <= {"shortener_list_entries", "shortener_list_failures_total"}  # with lists alone
    assert {name for name in told if name.startswith("shortener_")} - named == set()


@given(st.lists(st.tuples(st.floats(0, 20), st.integers(1, 5)), max_size=50))
def test_a_histogram_counts_what_is_not_above_each_bound(observed: list[tuple[float, int]]) -> None:
    histogram = Histogram(SECONDS)
    for seconds, times in observed:
        histogram.observe(seconds, times)
    every = [seconds for seconds, times in observed for _ in range(times)]
    expected = [(str(bound), sum(seconds <= bound for seconds in every)) for bound in SECONDS]
    assert histogram.buckets() == [*expected, ("+Inf", len(every))]
    assert histogram.count == len(every)
    assert math.isclose(histogram.total, sum(every), abs_tol=1e-9)


@given(
    st.lists(
        st.tuples(st.sampled_from(["/a.B/C", "/a.B/D"]), st.sampled_from(["OK", "INTERNAL"]), st.floats(0, 20)),
        max_size=50,
    )
)
def test_histograms_add_up(calls: list[tuple[str, str, float]]) -> None:
    counted = Metrics()
    for method, status, seconds in calls:
        counted.rpc.observe(method, status, seconds)
    samples = parse(generate_latest(counted.registry).decode())
    for key in {(method, status) for method, status, _ in calls}:
        labels = dict(zip(("method", "status"), key, strict=True))
        durations = [seconds for method, status, seconds in calls if (method, status) == key]
        assert value(samples, f"{RPC}_count", **labels) == len(durations)
        assert math.isclose(value(samples, f"{RPC}_sum", **labels), sum(durations), abs_tol=1e-9)
        for bound in SECONDS:
            below = sum(seconds <= bound for seconds in durations)
            assert value(samples, f"{RPC}_bucket", le=str(bound), **labels) == below


def test_names_keep_to_the_conventions_of_prometheus() -> None:
    counted = Metrics()
    counted.watch([("shortener_x_total", "X.", {"kind": "a"}, lambda: 1), ("shortener_y", "Y.", {}, lambda: 2)])
    counted.watch([("shortener_x_total", "X.", {"kind": "b"}, lambda: 3)])
    samples = parse(generate_latest(counted.registry).decode())
    assert value(samples, "shortener_x_total", kind="a") == 1
    assert value(samples, "shortener_x_total", kind="b") == 3
    assert value(samples, "shortener_y") == 2


def test_odd_label_texts_are_escaped() -> None:
    counted = Metrics()
    odd = 'quote " backslash \\ newline \n'
    counted.http = Calls("x_seconds", "X.", ("route", "status"))
    counted.http.observe(odd, "200", 0.5)
    samples = parse(generate_latest(counted.registry).decode())
    assert value(samples, "x_seconds_count", route=odd, status="200") == 1
