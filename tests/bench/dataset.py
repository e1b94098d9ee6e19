"""A made-up world of links and clicks, the same for the same seed: what `load` stores and benchmarks ask for."""

import hashlib
import itertools
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal, TypeAlias

from shortener.analytics.countries import country_names
from shortener.analytics.model import DIRECT, NO_VISITOR, UNKNOWN_COUNTRY, Click, Device
from shortener.links import LinkRef, NewLink

Spread: TypeAlias = Literal["zipf", "uniform", "one"]

YEAR_SECONDS = 365 * 86_400
OWNERS = 1_000
"""Link number n belongs to account n % OWNERS + 1."""

_ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_CODES = 62**7
_STEP = 2_654_435_761  # Shares no divisor with 62 ** 7: every number has a code of its own.
_REFERRERS = 300
_CITIES_MAX = 40
_BATCH = 10_000


def short_code(number: int) -> str:
    """Return the seven-character code of link `number`, counted from 0; neighbours have nothing in common."""
    rest = (number + 1) * _STEP % _CODES
    digits = []
    for _ in range(7):
        rest, digit = divmod(rest, 62)
        digits.append(_ALPHABET[digit])
    return "".join(digits)


@dataclass(frozen=True, slots=True)
class World:
    """So many links, and so many clicks on them between `start` and `end` (Unix seconds), in order of time."""

    links: int
    clicks: int
    start: int
    end: int
    spread: Spread
    seed: int

    def link_batches(self) -> Iterator[list[NewLink]]:
        """Yield the links, ten thousand at a time; they exist before the first click."""
        for first in range(0, self.links, _BATCH):
            yield [self._link(number) for number in range(first, min(first + _BATCH, self.links))]

    def _link(self, number: int) -> NewLink:
        return NewLink(
            short_code=short_code(number),
            destination=f"https://www.example.com/articles/{number % 97}/{number}?utm_source=letter&utm_medium=mail",
            owner_id=str(number % OWNERS + 1),
            created_at=self.start - self.links + number,
            expires_at=0,
            is_alias=False,
        )

    def click_batches(self, first_link_id: int) -> Iterator[list[Click]]:
        """Yield the clicks, ten thousand at a time. Link `number` has the id `first_link_id + number`."""
        chance = random.Random(self.seed)
        people = _People(chance, count=max(self.clicks // 2, 1))
        pick = self._picker(chance)
        for first in range(0, self.clicks, _BATCH):
            size = min(_BATCH, self.clicks - first)
            times = sorted(self._time(first + chance.random() * size) for _ in range(size))
            refs = [LinkRef(first_link_id + number, short_code(number)) for number in (pick() for _ in range(size))]
            yield list(itertools.starmap(people.click, zip(refs, times, strict=True)))

    def _time(self, place: float) -> int:
        return self.start + int(place * (self.end - self.start) / self.clicks)

    def _picker(self, chance: random.Random) -> Callable[[], int]:
        if self.spread == "one":
            return lambda: 0
        if self.spread == "uniform":
            return lambda: chance.randrange(self.links)
        # Zipf's law with exponent 1: the logarithm of the rank is uniform. Ranks are scattered over all ages.
        return lambda: (int((self.links + 1) ** chance.random()) - 1) * 7_919 % self.links


@dataclass(frozen=True, slots=True)
class _Person:
    """Someone who clicks: the same visitor, place and machine each time."""

    visitor: bytes
    country: str
    city: str
    device: Device
    bot: bool


class _People:
    """People by number, made up when first needed, and where they come from."""

    def __init__(self, chance: random.Random, *, count: int) -> None:
        self._chance = chance
        self._count = count
        countries = [code for code in sorted(country_names()) if code != UNKNOWN_COUNTRY]
        chance.shuffle(countries)
        self._countries = [UNKNOWN_COUNTRY, *countries]
        self._weights = list(itertools.accumulate(1 / (rank + 1) for rank in range(len(self._countries))))
        self._referrers = [DIRECT, *(f"https://site{number}.example" for number in range(1, _REFERRERS))]
        self._referrer_weights = list(itertools.accumulate(1 / (rank + 1) for rank in range(_REFERRERS)))

    def click(self, ref: LinkRef, at: int) -> Click:
        """Return a click of anyone on a link."""
        chance = self._chance
        person = self._person(chance.randrange(self._count))
        (referrer,) = chance.choices(self._referrers, cum_weights=self._referrer_weights)
        return Click(ref, at, person.visitor, person.country, person.city, referrer, person.device, person.bot)

    def _person(self, number: int) -> _Person:
        digest = hashlib.blake2b(number.to_bytes(8, "big"), digest_size=16).digest()
        chance = random.Random(number)
        (country,) = chance.choices(self._countries, cum_weights=self._weights)
        # One in five has no known city, one in two hundred clicks without an address.
        city = "" if country == UNKNOWN_COUNTRY or chance.random() < 0.2 else self._city(chance, country)
        bot = chance.random() < 0.03
        (device,) = chance.choices(list(Device), weights=(55, 35, 5, 5))
        visitor = NO_VISITOR if chance.random() < 0.005 else digest
        return _Person(visitor, country, city, Device.OTHER if bot else device, bot)

    def _city(self, chance: random.Random, country: str) -> str:
        return f"{country} City {int(_CITIES_MAX ** chance.random())}"
