"""What a link is, and every rule about its parts."""

from dataclasses import dataclass
from typing import NamedTuple


class LinkRef(NamedTuple):
    """Names one life of a short code: an alias taken again gets a new id."""

    id: int
    short_code: str


@dataclass(frozen=True, slots=True)
class NewLink:
    """A link about to be stored; every field is already checked."""

    short_code: str
    destination: str
    owner_id: str
    created_at: int
    expires_at: int
    is_alias: bool


@dataclass(frozen=True, slots=True)
class Link:
    """A stored link. Times are Unix seconds; `expires_at` and `deleted_at` 0 mean never.

    `clicks` is the recorded clicks plus the IncrementClicks calls.
    """

    id: int
    short_code: str
    destination: str
    owner_id: str
    created_at: int
    updated_at: int
    expires_at: int
    deleted_at: int
    is_alias: bool
    clicks: int

    @property
    def ref(self) -> LinkRef:
        """What clicks on this link are counted under."""
        return LinkRef(self.id, self.short_code)

    def is_live(self, now: int) -> bool:
        """Tell whether it redirects at `now`: neither deleted nor expired (expired from `expires_at` on)."""
        return not self.deleted_at and (not self.expires_at or now < self.expires_at)
