"""Links for tests, with every field at a plain value unless the test says otherwise."""

from dataclasses import replace

from shortener.links import Link, NewLink, OwnAddresses, own_addresses

_LINK = Link(
    id=1,
    short_code="abc1234",
    destination="https://example.com/path",
    owner_id="1",
    created_at=1_800_000_000,
    updated_at=1_800_000_000,
    expires_at=0,
    deleted_at=0,
    is_alias=False,
    clicks=0,
)
_NEW_LINK = NewLink(
    short_code="abc1234",
    destination="https://example.com/path",
    owner_id="1",
    created_at=1_800_000_000,
    expires_at=0,
    is_alias=False,
)


def a_link(**changes: object) -> Link:
    return _LINK._replace(**changes)  # type: ignore[arg-type] # a wrong name or type fails the test that gives it


def a_new_link(**changes: object) -> NewLink:
    return replace(_NEW_LINK, **changes)  # type: ignore[arg-type] # as above


def some_addresses(base_url: str = "http://localhost:8081", redirect_port: int = 8081) -> OwnAddresses:
    return own_addresses(base_url, redirect_port)
