"""What the redirect server has done so far."""

from dataclasses import dataclass, field


@dataclass(slots=True)
class Traffic:
    """What the redirect server has done since it started, as plain numbers for the metrics, and whether it is draining.

    `fast` redirects were answered by the lane, `slow` ones by aiohttp. `handed_over` counts requests that the lane
    left to aiohttp. `withheld` ones were answered with a warning. `lost_clicks` are
    redirects whose click could not be recorded.
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
