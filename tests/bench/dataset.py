"""A made-up world of links and clicks, the same for the same seed: what `load` stores and benchmarks ask for."""

import hashlib
import itertools
import random
from bisect import bisect
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from shortener.analytics.clients.geo import country_names
from shortener.analytics.model import DIRECT, NO_VISITOR, UNKNOWN_COUNTRY, Click, Device
from shortener.links import LinkDetails, LinkRef

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
    """So many links, and so many clicks on them between `start` and `end` (Unix seconds)."""

    links: int
    clicks: int
    start: int
    end: int
    spread: Spread
    seed: int

    def link_batches(self) -> Iterator[list[LinkDetails]]:
        """Yield the links, ten thousand at a time; they exist before the first click."""
        for first in range(0, self.links, _BATCH):
            yield [self._link(number) for number in range(first, min(first + _BATCH, self.links))]

    def _link(self, number: int) -> LinkDetails:
        created_at = self.start - self.links + number
        return LinkDetails(
            id=0,
            short_code=short_code(number),
            destination=f"https://www.example.com/articles/{number % 97}/{number}?utm_source=letter&utm_medium=mail",
            owner_id=str(number % OWNERS + 1),
            created_at=created_at,
            updated_at=created_at,
            expires_at=0,
            deleted_at=0,
            is_alias=False,
        )

    def click_batches(self, first_link_id: int) -> Iterator[list[Click]]:
        """Yield the clicks, ten thousand at a time: link after link, each in order of time, so that storing is quick.

        Link `number` has the id `first_link_id + number`.
        """
        clicks = self._clicks(first_link_id)
        while batch := list(itertools.islice(clicks, _BATCH)):
            yield batch

    def _clicks(self, first_link_id: int) -> Iterator[Click]:
        chance = random.Random(self.seed)
        people = _People(chance, count=max(self.clicks // 2, 1))
        pick = self._picker(chance)
        counts = Counter(pick() for _ in range(self.clicks))
        for number, count in sorted(counts.items()):
            ref = LinkRef(first_link_id + number, short_code(number))
            seconds = (self.end - self.start) / count
            for place in range(count):
                yield people.click(ref, self.start + int((place + chance.random()) * seconds))

    def _picker(self, chance: random.Random) -> Callable[[], int]:
        if self.spread == "one":
            return lambda: 0
        if self.spread == "uniform":
            return lambda: chance.randrange(self.links)
        # Zipf's law with exponent 1: the logarithm of the rank is uniform. Ranks are scattered over all ages.
        return lambda: (int((self.links + 1) ** chance.random()) - 1) * 7_919 % self.links


class _People:
    """People by number, each with the same visitor, place and machine for every click, and where they come from."""

    def __init__(self, chance: random.Random, *, count: int) -> None:
        self._chance = chance
        self._count = count
        countries = [code for code in sorted(country_names()) if code != UNKNOWN_COUNTRY]
        chance.shuffle(countries)
        self._countries = _Ranked([UNKNOWN_COUNTRY, *countries])
        self._referrers = _Ranked([DIRECT, *(f"https://site{number}.example" for number in range(1, _REFERRERS))])
        self._devices = [Device.MOBILE] * 140 + [Device.DESKTOP] * 90 + [Device.TABLET] * 13 + [Device.OTHER] * 13

    def click(self, ref: LinkRef, at: int) -> Click:
        """Return a click of anyone on a link."""
        number = int(self._chance.random() * self._count)
        digest = hashlib.blake2b(number.to_bytes(8, "big"), digest_size=16).digest()
        country = self._countries.at(int.from_bytes(digest[:4], "big") / (1 << 32))
        return Click(
            ref=ref,
            at=at,
            visitor=digest if digest[4] else NO_VISITOR,
            country=country,
            # One in five has no known city.
            city="" if country == UNKNOWN_COUNTRY or digest[5] < 51 else _city(country, digest[6] / 256),
            referrer=self._referrers.at(self._chance.random()),
            device=self._devices[digest[7]],
            bot=digest[7] >= 248,
        )


class _Ranked:
    """Values of which the first is chosen most, the second half as often, the third a third as often."""

    def __init__(self, values: Sequence[str]) -> None:
        self._values = values
        self._weights = list(itertools.accumulate(1 / (rank + 1) for rank in range(len(values))))

    def at(self, place: float) -> str:
        """Return the value at `place`, from 0 to less than 1."""
        return self._values[bisect(self._weights, place * self._weights[-1])]


def _city(country: str, place: float) -> str:
    return f"{country} City {int(_CITIES_MAX**place)}"
