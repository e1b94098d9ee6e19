"""Limits and times of the RPC listeners, as the servers of this package take them."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RpcSettings:
    """What one gRPC listener allows. Nothing is defaulted here: configuration decides.

    `message_size_max` bounds one request message in bytes, after decompression too: RESOURCE_EXHAUSTED beyond.
    `streams_max` is the number of concurrent calls of one connection, `connections_max` of connections, of which
    one address may have `connections_per_address_max`.
    `header_list_size_max` bounds the request's metadata in bytes, uncompressed as RFC 9113 counts it.
    A ping goes out after `keepalive_seconds` of silence; without an answer within `keepalive_timeout_seconds` the
    connection is closed. `handshake_seconds` bounds TLS and the client's preface; a connection without a call is
    told to go away after `idle_seconds` (0 = never).
    A call without a deadline gets `default_timeout_seconds`, or `slow_timeout_seconds` when its path
    ("/analytics.AnalyticsService/GetStats") is in `slow_methods`.
    """

    message_size_max: int
    streams_max: int
    connections_max: int
    connections_per_address_max: int
    header_list_size_max: int
    keepalive_seconds: float
    keepalive_timeout_seconds: float
    handshake_seconds: float
    idle_seconds: float
    default_timeout_seconds: float
    slow_timeout_seconds: float
    slow_methods: frozenset[str]

    def timeout_seconds(self, path: str) -> float:
        """Return the deadline of a call to `path` that brings none."""
        return self.slow_timeout_seconds if path in self.slow_methods else self.default_timeout_seconds


SLOW_METHODS: frozenset[str] = frozenset(
    f"/analytics.AnalyticsService/{name}" for name in ("GetStats", "GetTimeSeries", "GetGeoStats")
)
"""The statistics methods, which the contract gives 10 seconds instead of 5."""
