"""Limits and times of the redirect server."""

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class RedirectSettings:
    """What the redirect server allows. Nothing is defaulted here: configuration decides.

    `status` is 301, 302, 303, 307 or 308. Beyond `connections_max` a new connection takes the place
    of one that has idled for a second or more, or else is answered 503 and closed.
    A client has `head_timeout_seconds` to send a request's head, and as long to take what it is sent; it may idle
    for `keepalive_seconds`. An answer that takes longer than `answer_timeout_seconds` becomes 504.
    Heads over `head_size_max` bytes are refused; `heads_max` distinct ones are remembered as well-formed.
    While draining, a connection that idles for `drain_idle_seconds` is closed.
    `X-Forwarded-For` counts only from `trusted_proxies`, addresses or networks.
    """

    status: int
    connections_max: int
    head_timeout_seconds: float
    keepalive_seconds: float
    answer_timeout_seconds: float
    head_size_max: int
    heads_max: int
    drain_idle_seconds: float
    trusted_proxies: tuple[str, ...]


@dataclass(slots=True)
class Traffic:
    """What the redirect server has done since it started, as plain numbers for the metrics, and whether it is draining.

    `fast` redirects were answered by the lane, `slow` ones by aiohttp. `handed_over` counts requests that the lane
    left to aiohttp. `withheld` ones were answered with a warning. `evicted_connections` were idle and made room for
    others. `lost_clicks` are redirects whose click could not be recorded.
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
    evicted_connections: int = 0
    timed_out_connections: int = 0
    lost_clicks: int = 0
    draining: bool = field(default=False)
