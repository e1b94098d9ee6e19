"""What the analytics module needs from the outside."""

from collections.abc import Callable, Container, Mapping, Sequence
from typing import NamedTuple, Protocol, TypeAlias

from shortener.analytics.model import Address, Agent, Click, Observation, Place, Position
from shortener.analytics.periods import Span, TimeRange
from shortener.analytics.stats import Places, Tally, TimePoint
from shortener.links.model import LinkRef
from shortener.tx import Tx

ParseAgent: TypeAlias = Callable[[str], Agent]
"""Understands a User-Agent header, in a fraction of a millisecond. Never raises."""

CountClicks: TypeAlias = Callable[[Tx, Mapping[LinkRef, int]], Container[LinkRef]]
"""Adds recorded clicks, which may be 0, to their links' own counters; returns which of these links are not gone."""


class LogPiece(NamedTuple):
    """Clicks read from a `ClickLog` and the position behind them, and what of it could not be read.

    `lost_bytes` were torn by a crash, or damaged; `lost_records` are whole, but written by another version.
    """

    clicks: list[Observation]
    position: Position
    lost_bytes: int
    lost_records: int


class ClickLog(Protocol):
    """Keeps recorded clicks in order until they are stored. `read` and `acknowledge` block and may be on any thread."""

    @property
    def end(self) -> Position:
        """Where the flushed clicks end."""

    def encode_client(self, visitor: bytes, place: Place) -> bytes:
        """Return what `append` is to be told of a client: its visitor's digest and its place."""

    def append(self, ref: LinkRef, at: int, client: bytes, referrer: bytes, user_agent: str) -> None:
        """Take one click; it survives the end of this process after the next `flush`. Never raises.

        `client` comes from `encode_client`, `referrer` is ASCII; the user agent is cropped.
        """

    def flush(self) -> None:
        """Hand all that was appended to the system at once. Never raises."""

    async def settled(self) -> None:
        """Return when all that was flushed is as durable as configured."""

    def read(self, position: Position, end: Position, *, clicks_max: int) -> LogPiece:
        """Return up to `clicks_max` clicks between two positions; none only where there are none up to `end`."""

    def acknowledge(self, position: Position) -> None:
        """Learn that all before this position has been stored and is not needed any more."""

    def bytes_after(self, position: Position) -> int:
        """Return how many bytes of flushed clicks lie behind a position."""


class LogProgress(Protocol):
    """Keeps how far the click log has been stored, beside the clicks, so that one transaction changes both."""

    async def position(self) -> Position:
        """Return the position up to which all clicks have been stored; `START` when none ever were."""

    def advance(self, tx: Tx, old: Position, new: Position) -> bool:
        """Move the position from `old` to `new`; False, and nothing is changed, when it is not `old`."""


class ClickStore(Protocol):
    """Keeps clicks, their roll-ups and visitor sets."""

    def append(self, tx: Tx, clicks: Sequence[Click]) -> list[int]:
        """Record clicks, with roll-ups and visitor sets, and return their event ids in the same order."""

    def is_counted(self, click: Click) -> bool:
        """Tell whether a click counts in roll-ups and in its link's `clicks`: bots may be configured not to."""


class OldClicks(NamedTuple):
    """Raw clicks before a horizon, by id; ask again for those of links behind `after`, unless these are the last."""

    ids: list[int]
    after: int
    is_last: bool


class ClickRemoval(Protocol):
    """Removes raw clicks, and of links that are nobody's any more everything else that was counted as well."""

    async def removed_before(self) -> int:
        """Return the horizon: from this time on (Unix seconds, the start of an hour) the raw clicks are complete."""

    def move_horizon(self, tx: Tx, horizon: int) -> None:
        """Move the horizon forward, never back."""

    async def find_old(self, horizon: int, after: int) -> OldClicks:
        """Return some raw clicks before `horizon`, of links whose id is greater than `after`."""

    def remove(self, tx: Tx, ids: Sequence[int]) -> int:
        """Remove these raw clicks and return how many there were."""

    def purge_later(self, tx: Tx, link_ids: Sequence[int]) -> None:
        """Note that all that was counted for these links is to be removed."""

    def purge(self, tx: Tx) -> bool:
        """Remove a small part of what is noted to be removed; False when there is nothing any more."""

    async def is_purged(self) -> bool:
        """Tell whether nothing is left that was noted to be removed."""


class ClickMark(NamedTuple):
    """Where a list of raw clicks is: behind the click of this id, which came at this time."""

    at: int
    id: int


class ClickPage(NamedTuple):
    """Raw clicks as the members of a JSON array, and the last one's mark when more may follow."""

    text: str
    last: ClickMark | None


class ClickExport(Protocol):
    """Tells all that is kept about the clicks of links, as JSON. Visitors are other people: only how many they are."""

    async def totals(self, link_ids: Sequence[int]) -> dict[int, str]:
        """Return for each link a JSON object: unique visitors, and clicks by dimension and value."""

    async def clicks(self, link_id: int, after: ClickMark | None) -> ClickPage:
        """Return some raw clicks of a link, oldest first, from the first one or behind a mark."""


class GeoLocator(Protocol):
    """Finds where addresses are, without asking anyone else."""

    def locate(self, address: Address) -> Place:
        """Return the place; `NOWHERE` for private, reserved and unknown addresses. Never raises."""


class StatsReader(Protocol):
    """Answers statistics about one link. Each answer is of one moment and holds every acknowledged click."""

    async def tally(self, link_id: int, within: TimeRange) -> Tally:
        """Return the clicks and the distinct visitors of a range; the range may reach past all time.

        Of referrers only the `REFERRERS_MAX` with most clicks, then by name, are returned.
        """

    async def series(self, link_id: int, within: TimeRange, span: Span) -> list[TimePoint]:
        """Return the periods that have clicks in the range, oldest first. Only what lies in the range counts.

        The caller sees to it that the range does not touch more periods than it can bear.
        """

    async def places(self, link_id: int, *, cities_max: int) -> Places:
        """Return all countries, and at most `cities_max` cities, of all clicks ever.

        A city that is `other` comes behind all that are named.
        """

    async def first_hour(self, link_id: int) -> int | None:
        """Return the start of the hour of the earliest click, None without clicks."""


class DescribeClick(Protocol):
    """Turns what a caller tells about a click into a `Click`."""

    def __call__(self, ref: LinkRef, *, at: int, address: str, user_agent: str, referrer: str) -> Click:
        """Return the click; an empty `address` is a click without a visitor.

        Raises `errors.Invalid` (field `ip_address`) for an address that is none.
        """
