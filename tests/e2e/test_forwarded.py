"""Whose click it is: X-Forwarded-For counts from configured proxies alone, and then its right-most untrusted hop."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.support import process
from tests.support.clients import ask, stubs_of
from tests.support.waiting import wait_for

CLICKS = (
    "203.0.113.1, 198.51.100.9",  # whatever the client says of itself stands left
    "203.0.113.2, 198.51.100.9",
    "10.0.0.1, 198.51.100.9, 10.1.2.3",  # a proxy before ours is trusted too
    "198.51.100.9, 203.0.113.3",  # another client, who forges the first one's address
    "198.51.100.9",
    ', "203.0.113.1" ,, "[::ffff:198.51.100.9]:4711",',  # quoted, with a port, beside empty elements
)
"""Seen from behind the proxies: two visitors."""


@pytest.mark.parametrize(("proxies", "visitors"), [("127.0.0.1,10.0.0.0/8", 2), ("", 1), ("192.0.2.1", 1)])
def test_the_right_most_untrusted_hop(tmp_path: Path, pb: SimpleNamespace, proxies: str, visitors: int) -> None:
    settings = {"ANALYTICS_TRUSTED_PROXIES": proxies, "CLICKS_FLUSH_SECONDS": "0.01"}
    with process.running(tmp_path / "data", **settings) as server, stubs_of(pb, server) as stubs:
        link = pb.url_pb2.CreateURLRequest(long_url="https://example.com/", user_id="f")
        code = stubs.urls.CreateURL(link).short_code
        for hops in CLICKS:
            # Once as the lane takes it, once as it leaves it to aiohttp.
            for more in ({}, {"Connection": "close"}):
                assert ask(server.redirect, "GET", f"/{code}", X_Forwarded_For=hops, **more).status == 302
        wanted = pb.analytics_pb2.GetStatsRequest(short_code=code)
        found = wait_for(lambda: stubs.analytics.GetStats(wanted), lambda found: found.total_clicks >= 2 * len(CLICKS))
        assert (found.total_clicks, found.unique_visitors) == (2 * len(CLICKS), visitors)
