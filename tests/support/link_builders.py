"""Links for tests, with every field at a plain value unless the test says otherwise."""

from shortener.links import Link, LinkDetails, LinkDraft, LinkRecord, OwnAddresses, own_addresses
from shortener.links.model import LinkCounts

_DETAILS = LinkDetails(
    id=1,
    short_code="abc1234",
    destination="https://example.com/path",
    owner_id="1",
    created_at=1_800_000_000,
    updated_at=1_800_000_000,
    expires_at=0,
    deleted_at=0,
    is_alias=False,
)


def a_link(**changes: object) -> Link:
    return _DETAILS.link._replace(**changes)  # type: ignore[arg-type] # a wrong name or type fails the test that gives it


def details(**changes: object) -> LinkDetails:
    return _DETAILS._replace(**changes)  # type: ignore[arg-type] # as above


def a_record(*, clicks: int = 0, **changes: object) -> LinkRecord:
    return LinkRecord(details(**changes), LinkCounts(clicks))


def a_new_link(**changes: object) -> LinkDetails:
    """What a store is given to add."""
    changes = {"id": 0, "updated_at": changes.get("created_at", _DETAILS.created_at)} | changes
    return details(**changes)


def a_draft(
    alias: str | None = None,
    *,
    long_url: str = _DETAILS.destination,
    owner_id: str = _DETAILS.owner_id,
    expires_at: int = 0,
    with_qr: bool = False,
) -> LinkDraft:
    return LinkDraft(long_url, owner_id, expires_at=expires_at, alias=alias, with_qr=with_qr)


def some_addresses(base_url: str = "http://localhost:8081", redirect_port: int = 8081) -> OwnAddresses:
    return own_addresses(base_url, redirect_port)
