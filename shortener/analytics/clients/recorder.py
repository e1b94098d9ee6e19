"""From what a client sends to what is kept of it: the one place where addresses and referrers are seen and dropped."""

from dataclasses import dataclass
from typing import Final

from cachetools import LRUCache

from shortener.analytics.clients.referrers import BLANKS, HEADER_MAX, parse_referrer
from shortener.analytics.clients.user_agent import UserAgents
from shortener.analytics.clients.visitors import Visitors, parse_address
from shortener.analytics.model import DIRECT, NO_VISITOR, NOWHERE, Click
from shortener.analytics.ports import ClickLog, GeoLocator
from shortener.clock import Clock
from shortener.links.model import Link, LinkRef
from shortener.net.addresses import find_address

_DIRECT: Final = DIRECT.encode("ascii")


class ClickRecorder:
    """Records redirects: describes each click in a few microseconds and appends it to the click log.

    `flush` hands what was offered to the kernel with one write, and is to be called once before the answers leave;
    `settled` returns when that is as durable as configured. The last `clients_max` addresses and referrers are
    remembered, in memory only.
    """

    def __init__(self, log: ClickLog, visitors: Visitors, geo: GeoLocator, clock: Clock, *, clients_max: int) -> None:
        self.flush = log.flush
        self.settled = log.settled
        self._log = log
        self._visitors = visitors
        self._geo = geo
        self._clock = clock
        self._nobody = log.encode_client(NO_VISITOR, NOWHERE)
        self._clients: LRUCache[str, bytes] = LRUCache(clients_max)
        self._clients_until = visitors.key_until
        self._referrers: LRUCache[str, bytes] = LRUCache(clients_max)

    def offer(self, link: Link, address: str, user_agent: str, referrer: str) -> None:
        """Take one click, which came now; it is in the kernel after the next `flush`. Never raises.

        An address that is none (the peer of a Unix socket) is a click without a visitor. Headers may be of any
        length and content.
        """
        at = self._clock()
        if at >= self._clients_until:
            self._forget_clients(at)
        try:
            client = self._clients[address]
        except KeyError:
            client = self._client(address, at)
        origin = self._origin(referrer) if referrer else _DIRECT
        self._log.append(LinkRef(link.id, link.short_code), at, client, origin, user_agent)

    def _client(self, text: str, now: int) -> bytes:
        address = find_address(text)
        if address is None:
            return self._nobody
        client = self._log.encode_client(self._visitors.identify(address, now), self._geo.locate(address))
        self._clients[text] = client
        return client

    def _forget_clients(self, now: int) -> None:
        """Begin anew with the visitor key of another day."""
        self._clients.clear()
        self._visitors.renew(now)
        self._clients_until = self._visitors.key_until

    def _origin(self, referrer: str) -> bytes:
        # Only the part up to the path is remembered: many pages, one origin.
        referrer = referrer.strip(BLANKS)
        start = referrer.find("://", 0, HEADER_MAX)
        end = referrer.find("/", start + 3, HEADER_MAX)
        key = referrer[:end] if end >= 0 else referrer[: HEADER_MAX + 1]
        try:
            return self._referrers[key]
        except KeyError:
            origin = self._referrers[key] = parse_referrer(key).encode("ascii")
            return origin


@dataclass(frozen=True, slots=True)
class ClickDescriber:
    """`DescribeClick`: for clicks that callers report, with the same rules as for redirects."""

    visitors: Visitors
    geo: GeoLocator
    agents: UserAgents
    clock: Clock

    def __call__(self, ref: LinkRef, *, at: int, address: str, user_agent: str, referrer: str) -> Click:
        """Return the click (`DescribeClick`). The visitor key is that of today, also for a click of the past."""
        client = parse_address(address)
        agent = self.agents(user_agent)
        visitor = self.visitors.identify(client, self.clock()) if client else NO_VISITOR
        place = self.geo.locate(client) if client else NOWHERE
        return Click(
            ref=ref,
            at=at,
            visitor=visitor,
            country=place.country,
            city=place.city,
            referrer=parse_referrer(referrer),
            device=agent.device,
            bot=agent.bot,
        )
