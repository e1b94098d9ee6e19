"""What a link is, and the rules about its parts (destinations have a file of their own)."""

import enum
import re
from dataclasses import dataclass
from typing import NamedTuple

from shortener import errors
from shortener.links.codes import is_reserved

EXPIRES_AT_MIN = 1_577_836_800  # 2020-01-01T00:00:00Z
EXPIRES_AT_MAX = 253_402_300_799  # 9999-12-31T23:59:59Z
PAGE_DEFAULT = 20
PAGE_MAX = 1_000
INT32_MAX = 2**31 - 1
ALIAS_LENGTH_MAX = 50

_OWNER_ID = re.compile(r"[\x21-\x7e]{1,64}")
_ALIAS = re.compile(rf"[A-Za-z0-9_-]{{3,{ALIAS_LENGTH_MAX}}}")
_SHORT_CODE = _ALIAS  # random codes are within the same bounds


class LinkRef(NamedTuple):
    """Names one life of a short code: an alias taken again gets a new id."""

    id: int
    short_code: str


class Link(NamedTuple):
    """What it takes to follow a link; a tuple, because the cache makes one at each hit.

    Times are Unix seconds; `expires_at` and `deleted_at` 0 mean never. `is_plain` tells that a redirect needs nothing
    but what is here: the destination can stand in a header as it is.
    """

    id: int
    short_code: str
    destination: str
    expires_at: int
    deleted_at: int
    is_plain: bool

    @property
    def ref(self) -> LinkRef:
        """What clicks on this link are counted under."""
        return LinkRef(self.id, self.short_code)


class LinkDetails(NamedTuple):
    """A link as its owner knows it. Times are as in `Link`. A link that is not stored yet has the id 0."""

    id: int
    short_code: str
    destination: str
    owner_id: str
    created_at: int
    updated_at: int
    expires_at: int
    deleted_at: int
    is_alias: bool

    @property
    def link(self) -> Link:
        """What it takes to follow this link."""
        return Link(
            self.id, self.short_code, self.destination, self.expires_at, self.deleted_at, is_plain(self.destination)
        )

    @property
    def ref(self) -> LinkRef:
        """What clicks on this link are counted under."""
        return LinkRef(self.id, self.short_code)


class LinkCounts(NamedTuple):
    """What is counted about a link: `clicks` are the recorded clicks plus the IncrementClicks calls."""

    clicks: int


class LinkRecord(NamedTuple):
    """All that is known of a link."""

    details: LinkDetails
    counts: LinkCounts


@dataclass(frozen=True, slots=True)
class LinkDraft:
    """A link as somebody asks for it, every value as it was sent; without an `alias` its short code is random."""

    long_url: str
    owner_id: str
    expires_at: int = 0
    alias: str | None = None
    with_qr: bool = False

    @property
    def method(self) -> str:
        """The operation that makes such a link."""
        return "CreateURL" if self.alias is None else "CreateCustomURL"

    @property
    def fingerprint(self) -> tuple[int | str, ...]:
        """What tells this from other drafts of the same owner and method, for idempotency keys."""
        asked = (self.long_url, self.expires_at, self.with_qr)
        return asked if self.alias is None else (self.alias, *asked)


@dataclass(frozen=True, slots=True)
class LinkPage:
    """One page of an owner's links, newest first, and how many there are in all."""

    links: tuple[LinkRecord, ...]
    total: int
    has_more: bool


@dataclass(frozen=True, slots=True)
class Created:
    """A link just made, as its maker is told; `qr_png` is empty when it was not asked for.

    `is_replay`: it was made by an earlier call with the same idempotency key, and may have changed since.
    """

    link: LinkDetails
    short_url: str
    qr_png: bytes
    is_replay: bool = False


class EventKind(enum.Enum):
    """What happens to links that others may want to hear of."""

    CREATED = "link.created"
    CHANGED = "link.changed"
    DELETED = "link.deleted"


class LinkEvent(NamedTuple):
    """Something that happened to a link at `at`, in Unix seconds."""

    kind: EventKind
    link: LinkRef
    at: int


def is_live(link: Link | LinkDetails, now: int) -> bool:
    """Tell whether a link redirects at `now`: neither deleted nor expired (expired from `expires_at` on)."""
    return not link.deleted_at and (not link.expires_at or now < link.expires_at)


def is_plain(destination: str) -> bool:
    """Tell whether a destination can stand in a header as it is. Links are made so that it always can."""
    return destination.isascii() and destination.isprintable()


def parse_expires_at(expires_at: int) -> int:
    """Return it checked: 0, or Unix seconds from 2020-01-01 to the end of year 9999, past times included.

    The range catches durations ("3600") and milliseconds. Raises `errors.Invalid`.
    """
    if expires_at and not EXPIRES_AT_MIN <= expires_at <= EXPIRES_AT_MAX:
        raise errors.Invalid(
            "expires_at must be 0 (never) or Unix seconds between 2020-01-01 and the end of year 9999",
            field="expires_at",
        )
    return expires_at


def parse_owner_id(text: str) -> str:
    """Return an owner's opaque id: 1 to 64 visible ASCII characters. Raises `errors.Invalid`."""
    if not text:
        raise errors.Invalid("user_id is required", field="user_id")
    if not _OWNER_ID.fullmatch(text):
        raise errors.Invalid("user_id must be 1 to 64 visible ASCII characters", field="user_id")
    return text


def parse_alias(text: str) -> str:
    """Return a short code that a person may choose: 3 to 50 of A-Z a-z 0-9 _ -, and no word of ours.

    Raises `errors.Invalid`.
    """
    if not text:
        raise errors.Invalid("alias is required", field="alias")
    if not _ALIAS.fullmatch(text):
        raise errors.Invalid("alias must be 3 to 50 of A-Z, a-z, 0-9, _ and -", field="alias")
    if is_reserved(text):
        raise errors.Invalid("alias is a reserved word", field="alias")
    return text


def parse_short_code(text: str) -> str:
    """Return a short code to look up. Raises `errors.Invalid` when empty, `errors.NotFound` when it cannot exist."""
    if not text:
        raise errors.Invalid("short_code is required", field="short_code")
    if not _SHORT_CODE.fullmatch(text):
        raise unknown_link()
    return text


def parse_paging(limit: int, offset: int) -> tuple[int, int]:
    """Return limit and offset to serve: limit 0 means 20, more than 1,000 means 1,000.

    Raises `errors.Invalid` for negative numbers and for those beyond int32.
    """
    if not 0 <= limit <= INT32_MAX:
        raise errors.Invalid("limit must be 0 (20 links) or a positive int32", field="limit")
    if not 0 <= offset <= INT32_MAX:
        raise errors.Invalid("offset must be 0 or a positive int32", field="offset")
    return min(limit or PAGE_DEFAULT, PAGE_MAX), offset


def unknown_link() -> errors.NotFound:
    """Return the one answer for codes that are unknown, deleted, malformed or someone else's."""
    return errors.NotFound("short_code is unknown")
