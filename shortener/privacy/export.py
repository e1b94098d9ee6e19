"""All that is kept about an account, as one JSON document that is made in parts, so that it may be of any size.

A part is the text from where the one before it ended; the cursor tells where that is, and nothing is remembered in
between. Each link is a line of its own. The document is not of one moment: what changes while it is read may be in it.
"""

import json
from collections.abc import AsyncIterator
from typing import Final, NamedTuple

from shortener import errors
from shortener.accounts import Account, AccountService
from shortener.analytics.ports import ClickExport, ClickMark
from shortener.clock import Clock
from shortener.links import LinkRecord, LinkService

FORMAT: Final = "shortener-account-1"
PART_LENGTH: Final = 262_144
"""A part ends with the first link or page of clicks that makes it longer than this many characters."""
_LINKS_AT_ONCE: Final = 100
_CURSOR_LENGTH_MAX: Final = 60
_INT64: Final = 1 << 63


class Part(NamedTuple):
    """Some text of a document, and the cursor of what follows; empty when nothing does."""

    text: str
    next_cursor: str


class Cursor(NamedTuple):
    """Where a document goes on: behind a link, or behind one of its raw clicks."""

    link_id: int
    click: ClickMark | None = None

    def __str__(self) -> str:
        return "-".join(map(str, (self.link_id, *(self.click or ()))))


class Exporter:
    """Makes export documents."""

    def __init__(self, *, accounts: AccountService, links: LinkService, clicks: ClickExport, clock: Clock) -> None:
        self._accounts = accounts
        self._links = links
        self._clicks = clicks
        self._clock = clock

    async def parts(self, account_id: int, *, with_clicks: bool) -> AsyncIterator[str]:
        """Yield the document, part by part. Raises what `part` raises."""
        cursor, is_first = "", True
        while cursor or is_first:
            text, cursor = await self.part(account_id, cursor, with_clicks=with_clicks)
            is_first = False
            yield text

    async def part(self, account_id: int, cursor: str, *, with_clicks: bool) -> Part:
        """Return the part of the document that begins at `cursor`; an empty one is its beginning.

        `with_clicks` adds the raw clicks to each link. Raises `errors.NotFound` when there is no such account (any
        more), and `errors.Invalid` for a cursor that is none.
        """
        account = await self._accounts.get_user(account_id)
        texts: list[str] = []
        if not cursor:
            texts.append(_head(account, self._clock()))
        place = parse_cursor(cursor) if cursor else Cursor(0)
        if place.click is not None:
            await self._check_owner(account_id, place.link_id)
            click = await self._add_clicks(texts, place.link_id, place.click)
            place = Cursor(place.link_id, click)
        while place.click is None and sum(map(len, texts)) < PART_LENGTH:
            links = await self._links.owned(str(account_id), after=place.link_id, limit=_LINKS_AT_ONCE)
            if not links:
                return Part("".join([*texts, "\n]}\n"]), "")
            place = await self._add_links(texts, links, with_clicks=with_clicks, is_first=not place.link_id)
        return Part("".join(texts), str(place))

    async def _check_owner(self, account_id: int, link_id: int) -> None:
        """See that raw clicks are asked for by the link's owner: a cursor comes from outside."""
        links = await self._links.owned(str(account_id), after=link_id - 1, limit=1)
        if not links or links[0].details.id != link_id:
            raise _not_a_cursor()

    async def _add_links(
        self, texts: list[str], records: list[LinkRecord], *, with_clicks: bool, is_first: bool
    ) -> Cursor:
        """Add links until the part is long enough, and return where it ends."""
        totals = await self._clicks.totals([record.details.id for record in records])
        length = sum(map(len, texts))
        place = Cursor(0)
        for record in records:
            link = record.details
            begun = len(texts)
            texts.append("\n" if is_first else ",\n")
            is_first = False
            texts.append(self._line(record, totals[link.id]))
            place = Cursor(link.id)
            if with_clicks:
                texts.append(',"raw_clicks":[\n')
                place = Cursor(link.id, await self._add_clicks(texts, link.id, None))
            else:
                texts.append("}")
            length += sum(map(len, texts[begun:]))
            if place.click is not None or length >= PART_LENGTH:
                break
        return place

    async def _add_clicks(self, texts: list[str], link_id: int, after: ClickMark | None) -> ClickMark | None:
        """Add raw clicks of a link, and its end when these are all; return the last one otherwise."""
        page = await self._clicks.clicks(link_id, after)
        if page.text and after is not None:
            texts.append(",\n")
        texts.append(page.text)
        if page.last is None:
            texts.append("]}")
        return page.last

    def _line(self, record: LinkRecord, totals: str) -> str:
        """Return a link as JSON but for its closing brace."""
        link = record.details
        facts = {
            "short_code": link.short_code,
            "short_url": self._links.short_url(link.short_code),
            "long_url": link.destination,
            "created_at": link.created_at,
            "updated_at": link.updated_at,
            "expires_at": link.expires_at,
            "deleted_at": link.deleted_at,
            "is_alias": link.is_alias,
            "clicks": record.counts.clicks,
        }
        return f'{_json(facts)[:-1]},"statistics":{totals}'


def parse_cursor(text: str) -> Cursor:
    """Return the place that a cursor names. Raises `errors.Invalid`."""
    numbers = text.split("-")
    if len(text) > _CURSOR_LENGTH_MAX or len(numbers) not in (1, 3) or not all(map(_is_number, numbers)):
        raise _not_a_cursor()
    link_id, *click = map(int, numbers)
    return Cursor(link_id, ClickMark(*click) if click else None)


def _not_a_cursor() -> errors.Invalid:
    return errors.Invalid("cursor must be what the part before gave as next_cursor", field="cursor")


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdecimal() and 0 <= int(text) < _INT64


def _head(account: Account, now: int) -> str:
    facts = {
        "id": str(account.id),
        "email": account.email,
        "username": account.username,
        "name": account.name,
        "created_at": account.created_at,
        "updated_at": account.updated_at,
    }
    return f'{{"format":{_json(FORMAT)},"exported_at":{now},\n"account":{_json(facts)},\n"links":['


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
