"""What `/metrics` shows of the listeners."""

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Protocol

from shortener.observe.histogram import Gauge
from shortener.redirect.server import RedirectServer
from shortener.rest.server import HttpServer


class RpcListener(Protocol):
    """What is read of a gRPC server."""

    refused_connections: int

    @property
    def connections(self) -> int:
        """How many clients are connected."""


def _connections(server: RpcListener) -> int:
    return server.connections


def _refused_connections(server: RpcListener) -> int:
    return server.refused_connections


def of_listeners(rpc: Mapping[str, RpcListener], gateway: HttpServer, redirect: RedirectServer) -> Iterator[Gauge]:
    """Yield the connections of every listener, by the names of the ready line."""
    name, meaning = "shortener_connections", "Open connections, by listener."
    refused, too_many = "shortener_connections_refused_total", "Connections refused: too many were open."
    for listener, server in rpc.items():
        yield name, meaning, {"listener": listener}, partial(_connections, server)
        yield refused, too_many, {"listener": listener}, partial(_refused_connections, server)
    yield name, meaning, {"listener": "gateway"}, lambda: gateway.connections
    yield name, meaning, {"listener": "redirect"}, lambda: redirect.connections
    yield refused, too_many, {"listener": "redirect"}, lambda: redirect.refused_connections
    yield refused, too_many, {"listener": "gateway"}, lambda: gateway.refusals.count
    evicted, made_room = "shortener_connections_evicted_total", "Idle connections closed to make room for new ones."
    yield evicted, made_room, {"listener": "gateway"}, lambda: gateway.evicted_connections
    yield evicted, made_room, {"listener": "redirect"}, lambda: redirect.traffic.evicted_connections
    slow = "Connections closed because the client was too slow."
    timed_out = "shortener_connections_timed_out_total"
    yield timed_out, slow, {"listener": "redirect"}, lambda: redirect.traffic.timed_out_connections


def of_redirects(server: RedirectServer) -> Iterator[Gauge]:
    """Yield the gauges of the redirect server."""
    traffic = server.traffic
    total, lane = "shortener_redirects_total", "Redirects, by who answered: the lane or aiohttp."
    yield total, lane, {"lane": "fast"}, lambda: traffic.fast
    yield total, lane, {"lane": "slow"}, lambda: traffic.slow
    refusals, meaning = "shortener_redirect_refusals_total", "Requests that were not redirected, by reason."
    yield refusals, meaning, {"reason": "not_found"}, lambda: traffic.not_found
    yield refusals, meaning, {"reason": "gone"}, lambda: traffic.gone
    yield refusals, meaning, {"reason": "withheld"}, lambda: traffic.withheld
    yield refusals, meaning, {"reason": "limited"}, lambda: traffic.limited
    yield refusals, meaning, {"reason": "failed"}, lambda: traffic.failed
    yield refusals, meaning, {"reason": "malformed"}, lambda: traffic.malformed
    yield "shortener_redirect_clicks_lost_total", "Redirects not counted.", {}, lambda: traffic.lost_clicks
