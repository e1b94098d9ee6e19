"""Sample values of analytics, each valid; name what matters to the test."""

from dataclasses import replace

from shortener.analytics.model import Click, Device, Observation
from shortener.links.model import LinkRef

NOW = 1_800_000_000  # Friday, 2027-01-15 08:00:00 UTC

LINUX = "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0"
IPHONE = "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 Mobile/15E148 Safari/604.1"
GOOGLEBOT = "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)"


def a_ref(link_id: int = 1) -> LinkRef:
    return LinkRef(link_id, f"code{link_id}")


def a_visitor(number: int = 1) -> bytes:
    return number.to_bytes(16, "big")


def a_click(link_id: int = 1, **changes: object) -> Click:
    click = Click(
        ref=a_ref(link_id),
        at=NOW,
        visitor=a_visitor(),
        country="DE",
        city="",
        referrer="direct",
        device=Device.DESKTOP,
        bot=False,
    )
    return replace(click, **changes)  # type: ignore[arg-type] # the test names fields and values alike


def an_observation(number: int = 0) -> Observation:
    """An observation whose time tells it from others."""
    return Observation(a_ref(1 + number % 3), NOW + number, a_visitor(number % 5), "DE", "", "direct", LINUX)
