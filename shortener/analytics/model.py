"""What a click is: the raw observation of a redirect, and the click it becomes."""

import enum
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from typing import Final, NamedTuple, TypeAlias

from shortener.links.model import LinkRef

UNKNOWN_COUNTRY: Final = "ZZ"
DIRECT: Final = "direct"
OTHER: Final = "other"
"""What stands for referrers, and for cities, of which there are too many to keep them apart."""
NO_VISITOR: Final = b""

VISITOR_SIZE: Final = 16
USER_AGENT_MAX: Final = 256
REFERRER_MAX: Final = 255
CITY_MAX: Final = 100

CLICKED_AT_MIN: Final = 1_577_836_800  # 2020-01-01T00:00:00Z

Address: TypeAlias = IPv4Address | IPv6Address


class Device(enum.StrEnum):
    """What kind of machine clicked. Bots, empty and unknown agents are `OTHER`."""

    MOBILE = "mobile"
    DESKTOP = "desktop"
    TABLET = "tablet"
    OTHER = "other"


class Dimension(enum.StrEnum):
    """What clicks are counted by. A city's value is `CC|city`; clicks without a city have none."""

    DEVICE = "device"
    COUNTRY = "country"
    REFERRER = "referrer"
    CITY = "city"


class Place(NamedTuple):
    """Where an address is: ISO 3166-1 alpha-2 (`ZZ` unknown) and the city's English name ('' unknown)."""

    country: str
    city: str


NOWHERE: Final = Place(UNKNOWN_COUNTRY, "")


class Agent(NamedTuple):
    """What a User-Agent header tells."""

    device: Device
    bot: bool


class Observation(NamedTuple):
    """A redirect's click as the journal keeps it: no address, no path or query of the referrer.

    `at` is Unix seconds, `visitor` the keyed digest of the address (16 bytes, b'' = none),
    `referrer` an origin or `direct`, `user_agent` at most `USER_AGENT_MAX` characters.
    """

    ref: LinkRef
    at: int
    visitor: bytes
    country: str
    city: str
    referrer: str
    user_agent: str


@dataclass(frozen=True, slots=True)
class Click:
    """One recorded click: an observation whose user agent is understood. The fields are those of `Observation`."""

    ref: LinkRef
    at: int
    visitor: bytes
    country: str
    city: str
    referrer: str
    device: Device
    bot: bool


class Position(NamedTuple):
    """A place in the click journal: `offset` bytes into segment file number `segment`."""

    segment: int
    offset: int


START: Final = Position(0, 0)
