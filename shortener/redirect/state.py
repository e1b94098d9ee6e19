"""What the redirect server has done so far."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial

from shortener.observe.histogram import Gauge


@dataclass(slots=True)
class Traffic:
    """What the redirect server has done since it started, as plain numbers for the metrics, and whether it is draining.

    `fast` redirects were answered by the lane, `slow` ones by aiohttp. `handed_over` counts requests that the lane
    left to aiohttp. `withheld` ones were answered with a warning. `lost_clicks` are redirects whose click could not be
    recorded.
    """

    fast: int = 0
    slow: int = 0
    handed_over: int = 0
    not_found: int = 0
    gone: int = 0
    withheld: int = 0
    limited: int = 0
    failed: int = 0
    malformed: int = 0
    lost_clicks: int = 0
    draining: bool = field(default=False)

    def gauges(self) -> Iterator[Gauge]:
        """Yield what `/metrics` shows of redirects."""
        total, lane = "shortener_redirects_total", "Redirects, by who answered: the lane or aiohttp."
        yield total, lane, {"lane": "fast"}, lambda: self.fast
        yield total, lane, {"lane": "slow"}, lambda: self.slow
        refusals, meaning = "shortener_redirect_refusals_total", "Requests that were not redirected, by reason."
        for reason in ("not_found", "gone", "withheld", "limited", "failed", "malformed"):
            yield refusals, meaning, {"reason": reason}, partial(getattr, self, reason)
        yield "shortener_redirect_clicks_lost_total", "Redirects not counted.", {}, lambda: self.lost_clicks
