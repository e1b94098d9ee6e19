"""Headers that visitors choose decide neither the cost of others' clicks nor the size of an answer."""

import socket
import time
from collections.abc import Iterable
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.support import process
from tests.support.clients import ask, stubs_of
from tests.support.scheduling import cpu_seconds
from tests.support.waiting import wait_for

ANSWER_MAX = 4 * 1024 * 1024
AT_ONCE = 500
BROWSER = "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0"


def follow(address: str, code: str, headers: Iterable[tuple[str, str]]) -> None:
    """Follow a short link once for each referrer and user agent, on one connection."""
    host, _, port = address.rpartition(":")
    requests = [
        f"GET /{code} HTTP/1.1\r\nHost: x\r\nReferer: {referrer}\r\nUser-Agent: {agent}\r\n\r\n".encode()
        for referrer, agent in headers
    ]
    with socket.create_connection((host, int(port)), timeout=30) as peer:
        for start in range(0, len(requests), AT_ONCE):
            part = requests[start : start + AT_ONCE]
            peer.sendall(b"".join(part))
            heard = b""
            while heard.count(b"\r\n\r\n") < len(part):
                piece = peer.recv(1 << 20)
                assert piece
                heard += piece
            assert heard.count(b"HTTP/1.1 302 ") == len(part)


@pytest.mark.parametrize(("chosen", "redirects"), [("referrer", 24_000), ("user agent", 10_000)])
def test_many_distinct_visitors_of_one_link_keep_statistics_small_and_other_links_current(
    tmp_path: Path, pb: SimpleNamespace, chosen: str, redirects: int
) -> None:
    headers = {
        "referrer": ((f"https://{number:05}.{'x' * 60}.{'y' * 60}.example/", BROWSER) for number in range(redirects)),
        "user agent": (("https://a.example/", f"{BROWSER} {number} {';a;' * 100}") for number in range(redirects)),
    }
    with process.running(tmp_path / "data") as server, stubs_of(pb, server) as stubs:
        crowded, other = (
            stubs.urls.CreateURL(pb.url_pb2.CreateURLRequest(long_url="https://example.com/", user_id="c")).short_code
            for _ in range(2)
        )
        follow(server.redirect, crowded, headers[chosen])
        assert ask(server.redirect, "GET", f"/{other}").status == 302
        started, worked = time.monotonic(), cpu_seconds(server.process.pid)
        wanted = pb.analytics_pb2.GetStatsRequest(short_code=other)
        wait_for(lambda: stubs.analytics.GetStats(wanted), lambda stats: stats.total_clicks == 1)
        # On a busy machine others take part of the time; what counts is what the server itself had to do.
        waited = min(time.monotonic() - started, cpu_seconds(server.process.pid) - worked)

        stats = stubs.analytics.GetStats(pb.analytics_pb2.GetStatsRequest(short_code=crowded))

    assert stats.ByteSize() < ANSWER_MAX
    assert stats.total_clicks == sum(row.click_count for row in stats.referrers) == redirects
    assert sum(row.percentage for row in stats.referrers) == pytest.approx(100, abs=0.01)
    if chosen == "referrer":
        assert (len(stats.referrers), stats.referrers[-1].referer) == (1_001, "other")
        assert stats.referrers[-1].click_count >= redirects - 3_000  # 1,000 an hour; the test may run over two
    assert waited < 2, f"a click on another link was visible after {waited:.1f} s"
