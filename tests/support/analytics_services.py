"""The service of analytics on memory stores, ready to be asked."""

import hashlib

from shortener import errors
from shortener.analytics.model import Click, Device
from shortener.analytics.service import AnalyticsService
from shortener.analytics.stats import TimePoint
from shortener.links import LinkRef
from tests.support.click_builders import NOW
from tests.support.fakes import FakeClock, FakeTransactions
from tests.support.idempotency_fakes import some_replays
from tests.support.link_builders import a_record
from tests.support.link_fakes import MemoryLinkStore, a_cache, a_link_service
from tests.support.naive_clicks import NaiveClicks, country_name


def describe(ref: LinkRef, *, at: int, address: str, user_agent: str, referrer: str) -> Click:
    """`DescribeClick` that reads `country/city` out of the user agent, and lets `bot` be one."""
    if address == "nonsense":
        raise errors.Invalid("ip_address must be an IPv4 or IPv6 address", field="ip_address")
    country, _, city = user_agent.partition("/")
    return Click(
        ref=ref,
        at=at,
        visitor=hashlib.md5(address.encode()).digest() if address else b"",
        country=country or "ZZ",
        city=city,
        referrer=referrer or "direct",
        device=Device.OTHER if country == "bot" else Device.MOBILE,
        bot=country == "bot",
    )


class Analytics:
    """The service on one link `abc1234` of owner 1, with what it stands on."""

    def __init__(self, *, count_bots: bool = True, created_at: int = NOW) -> None:
        self.clock = FakeClock(NOW)
        self.links = MemoryLinkStore()
        self.cache = a_cache(self.links)
        self.links.stored["abc1234"] = a_record(created_at=created_at)
        self.clicks = NaiveClicks(count_bots=count_bots)
        self.service = AnalyticsService(
            links=a_link_service(store=self.links, cache=self.cache, clock=self.clock),
            clicks=self.clicks,
            reader=self.clicks,
            transactions=FakeTransactions(),
            clock=self.clock,
            describe=describe,
            country_name=country_name,
            replays=some_replays(self.clock),
        )

    async def click(self, at: int = 0, address: str = "", user_agent: str = "", referrer: str = "") -> int:
        return await self.service.record("abc1234", address=address, user_agent=user_agent, referrer=referrer, at=at)

    def change(self, **changes: object) -> None:
        self.links.change("abc1234", **changes)
        self.cache.changed("abc1234")

    async def series(self, start: int, end: int, granularity: str = "") -> list[TimePoint]:
        return await self.service.time_series("abc1234", start, end, granularity)
