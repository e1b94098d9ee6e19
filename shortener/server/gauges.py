"""What `/metrics` shows of the listeners."""

from collections.abc import Iterator, Mapping
from functools import partial

from shortener.net.listener import Listener
from shortener.observe.histogram import Gauge
from shortener.redirect.server import RedirectServer

_COUNTS = {
    "refused": "Connections refused: too many were open.",
    "evicted": "Connections closed to make room, for others or for what waits to be sent to others.",
    "timed_out": "Connections closed because the client was too slow.",
}


def of_listeners(listeners: Mapping[str, Listener]) -> Iterator[Gauge]:
    """Yield the connections of every listener, by the names of the ready line."""
    for name, listener in listeners.items():
        labels = {"listener": name}
        yield "shortener_connections", "Open connections, by listener.", labels, partial(_connections, listener)
        for count, meaning in _COUNTS.items():
            yield f"shortener_connections_{count}_total", meaning, labels, partial(getattr, listener, count)


def _connections(listener: Listener) -> int:
    return len(listener.connections)


def of_redirects(server: RedirectServer) -> Iterator[Gauge]:
    """Yield the gauges of the redirect server."""
    traffic = server.traffic
    total, lane = "shortener_redirects_total", "Redirects, by who answered: the lane or aiohttp."
    yield total, lane, {"lane": "fast"}, lambda: traffic.fast
    yield total, lane, {"lane": "slow"}, lambda: traffic.slow
    refusals, meaning = "shortener_redirect_refusals_total", "Requests that were not redirected, by reason."
    for reason in ("not_found", "gone", "withheld", "limited", "failed", "malformed"):
        yield refusals, meaning, {"reason": reason}, partial(getattr, traffic, reason)
    yield "shortener_redirect_clicks_lost_total", "Redirects not counted.", {}, lambda: traffic.lost_clicks
