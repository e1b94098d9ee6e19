"""The use cases of links: create, look up, list, delete, count."""

from collections.abc import Container, Mapping
from itertools import accumulate
from typing import cast

from shortener import errors
from shortener.clock import Clock
from shortener.idempotency import Answer, Asked, Replays
from shortener.links.aliases import alternatives
from shortener.links.destination import OwnAddresses, parse_destination
from shortener.links.model import (
    Created,
    Link,
    LinkPage,
    LinkRef,
    NewLink,
    parse_alias,
    parse_expires_at,
    parse_owner_id,
    parse_paging,
    parse_short_code,
    unknown_link,
)
from shortener.links.ports import Blocks, IsErased, LinkStore, NewCode, QrFormat, RenderQr
from shortener.tx import Transactions, Tx

CODE_ATTEMPTS_MAX = 10
"""Random codes tried for one link. Even with half of all codes taken, ten in a row are one case in a thousand."""
LINK_SIZE = 800
"""Bytes of a link in an answer, as JSON too, besides its destination; more than it can have."""
PAGE_SIZE_MAX = 4_000_000
"""Bytes of a page by that measure: stock gRPC clients refuse messages over 4 MiB."""
SUGGESTIONS = 3
SUGGESTION_ROUNDS_MAX = 3


class CodesExhausted(Exception):  # noqa: N818 - named like the domain's errors; reaches callers as INTERNAL
    """No free random code was found: codes are too short for the number of links."""


def _nobody_is_erased(tx: Tx, owner_id: str) -> bool:
    return False


class LinkService:
    """Everything that can be done with links. Raw values come in; links or `errors` go out."""

    def __init__(
        self,
        *,
        store: LinkStore,
        transactions: Transactions,
        clock: Clock,
        new_code: NewCode,
        render_qr: RenderQr,
        own: OwnAddresses,
        replays: Replays,
        blocks: Blocks | None = None,
        is_erased: IsErased = _nobody_is_erased,
    ) -> None:
        self._store = store
        self._transactions = transactions
        self._clock = clock
        self._new_code = new_code
        self._render_qr = render_qr
        self._own = own
        self._blocks = blocks
        self._replays = replays
        self._is_erased = is_erased

    def short_url(self, short_code: str) -> str:
        """Return the whole short URL of this code."""
        return self._own.short_url(short_code)

    def is_live(self, link: Link) -> bool:
        """Tell whether this link redirects now."""
        return link.is_live(self._clock())

    async def create(
        self, long_url: str, owner_id: str, *, expires_at: int, with_qr: bool, idempotency_key: str | None = None
    ) -> Created:
        """Make a link with a random short code; with a key that the owner used before, return that link as it was then.

        Raises `errors.Invalid`; `errors.Conflict` for a key that came with another request; `errors.Exhausted` when
        too many QR codes wait or too many keys are kept; `CodesExhausted`.
        """
        if with_qr:
            self._render_qr.admit(owner_id)
        destination = self._checked(long_url)
        owner_id = parse_owner_id(owner_id)
        expires_at = parse_expires_at(expires_at)
        asked = self._asked("CreateURL", owner_id, idempotency_key, (long_url, expires_at, with_qr))
        for _ in range(CODE_ATTEMPTS_MAX):
            link = self._new_link(self._new_code(), destination, owner_id, expires_at, is_alias=False)
            created = await self._add(link, asked, with_qr=with_qr)
            if created:
                return created
        raise CodesExhausted(f"{CODE_ATTEMPTS_MAX} random short codes in a row were taken")

    async def create_custom(
        self,
        alias: str,
        long_url: str,
        owner_id: str,
        *,
        expires_at: int,
        with_qr: bool,
        idempotency_key: str | None = None,
    ) -> Created:
        """Make a link whose short code the caller chooses; with a key that the owner used before, return that link.

        Raises `errors.Invalid`; `errors.Conflict` with three free aliases when the code is or ever was in use (but
        for the owner's own deleted alias), and for a key that came with another request; `errors.Exhausted` when too
        many QR codes wait or too many keys are kept.
        """
        if with_qr:
            self._render_qr.admit(owner_id)
        alias = parse_alias(alias)
        destination = self._checked(long_url)
        owner_id = parse_owner_id(owner_id)
        expires_at = parse_expires_at(expires_at)
        asked = self._asked("CreateCustomURL", owner_id, idempotency_key, (alias, long_url, expires_at, with_qr))
        link = self._new_link(alias, destination, owner_id, expires_at, is_alias=True)
        created = await self._add(link, asked, with_qr=with_qr)
        if created:
            return created
        suggestions = await self.suggestions(alias)
        raise errors.Conflict("alias is already taken", field="alias", suggestions=suggestions)

    async def suggestions(self, alias: str) -> tuple[str, ...]:
        """Return three aliases like this one that were never in use. Fewer only if the store is all but full."""
        free: list[str] = []
        for _ in range(SUGGESTION_ROUNDS_MAX):
            candidates = alternatives(alias, self._new_code())
            taken = await self._store.find_many(candidates)
            free += [candidate for candidate in candidates if candidate not in taken and candidate not in free]
            if len(free) >= SUGGESTIONS:
                break
        return tuple(free[:SUGGESTIONS])

    async def get(self, short_code: str, *, owner_id: str | None = None) -> Link:
        """Return a link, expired or not. Raises `errors.NotFound` if unknown, deleted or not this owner's."""
        link = await self._store.find(parse_short_code(short_code))
        if link is None or link.deleted_at or (owner_id is not None and link.owner_id != owner_id):
            raise unknown_link()
        return link

    async def resolve(self, short_code: str) -> Link:
        """Return a live link. Raises `errors.NotFound` for unknown codes, `errors.Gone` for expired or deleted ones."""
        link = await self._store.find(parse_short_code(short_code))
        if link is None:
            raise unknown_link()
        if not link.is_live(self._clock()):
            raise errors.Gone("the link was deleted" if link.deleted_at else "the link has expired")
        return link

    async def page(self, owner_id: str, *, limit: int, offset: int) -> LinkPage:
        """Return one page of an owner's links, newest first: expired ones included, deleted ones not.

        The page ends early when its links are too long for one answer; `has_more` is then true.
        """
        owner_id = parse_owner_id(owner_id)
        limit, offset = parse_paging(limit, offset)
        links, total = await self._store.page(owner_id, limit, offset)
        sizes = accumulate(len(link.destination) + LINK_SIZE for link in links)
        fitting = tuple(link for link, size in zip(links, sizes, strict=True) if size <= PAGE_SIZE_MAX)
        return LinkPage(fitting, total, has_more=offset + len(fitting) < total)

    async def delete(self, short_code: str, *, owner_id: str | None = None) -> None:
        """Stop a link at once and for good. Raises `errors.NotFound` if unknown, deleted or not this owner's."""
        short_code, now = parse_short_code(short_code), self._clock()
        deleted = await self._transactions(
            lambda tx: self._store.delete(tx, short_code, now=now, owner_id=owner_id),
        )
        if not deleted:
            raise unknown_link()

    async def increment_clicks(self, short_code: str) -> int:
        """Add one to a link's counter, without a click, and return the new value. Raises `errors.NotFound`."""
        short_code = parse_short_code(short_code)
        link = await self._transactions(lambda tx: self._store.increment(tx, short_code))
        if link is None:
            raise unknown_link()
        return link.clicks

    def add_clicks(self, tx: Tx, counts: Mapping[LinkRef, int]) -> Container[LinkRef]:
        """Add recorded clicks to the links' counters, in the transaction that records them.

        Returns the links that were there to be counted: what comes late for any other belongs to nobody.
        """
        return self._store.add_clicks(tx, counts)

    async def owned(self, owner_id: str, *, after: int, limit: int) -> list[Link]:
        """Return links of an owner, expired and deleted ones too, in order of their ids, from behind id `after`."""
        return await self._store.owned(owner_id, after=after, limit=limit)

    def erase_owned(self, tx: Tx, owner_id: str, *, limit: int) -> list[LinkRef]:
        """Delete at most `limit` links of an owner for good and return which; their codes stay taken, for nobody."""
        return self._store.erase_owned(tx, owner_id, now=self._clock(), limit=limit)

    async def qr(self, short_code: str, image: QrFormat, *, owner_id: str | None = None) -> bytes:
        """Return the QR code of a link's short URL as an image file. Raises `errors.NotFound`, `errors.Exhausted`."""
        link = await self.get(short_code, owner_id=owner_id)
        return await self._render_qr(self.short_url(link.short_code), image, link.owner_id)

    def _new_link(
        self, short_code: str, destination: str, owner_id: str, expires_at: int, *, is_alias: bool
    ) -> NewLink:
        return NewLink(
            short_code=short_code,
            destination=destination,
            owner_id=owner_id,
            created_at=self._clock(),
            expires_at=expires_at,
            is_alias=is_alias,
        )

    def _checked(self, long_url: str) -> str:
        destination = parse_destination(long_url, self._own)
        if self._blocks is not None and self._blocks(destination):
            raise errors.Invalid("long_url leads to a host that is blocked here", field="long_url")
        return destination

    def _asked(self, method: str, owner_id: str, key: str | None, request: Answer) -> Asked | None:
        return None if key is None else self._replays.asked(method, owner_id, key, request)

    async def _add(self, link: NewLink, asked: Asked | None, *, with_qr: bool) -> Created | None:
        """Store a link; None when its code is taken.

        The image is drawn before the link is stored: if drawing is refused or fails, there must not be a link that
        nobody was told about. Drawing beside the commit would save nothing, because it takes the event loop's time.
        """
        if asked is not None:
            return await self._add_once(link, asked, with_qr=with_qr)
        short_url = self.short_url(link.short_code)
        qr_png = await self._render_qr(short_url, "png", link.owner_id) if with_qr else b""
        stored = await self._transactions(lambda tx: self._store_new(tx, link))
        return Created(stored, short_url, qr_png) if stored else None

    def _store_new(self, tx: Tx, link: NewLink) -> Link | None:
        # Judged here, in the order of the writes: a link that came after the erasure would stay for ever.
        if self._is_erased(tx, link.owner_id):
            raise errors.Invalid("user_id is that of an erased account", field="user_id")
        return self._store.add(tx, link)

    async def _add_once(self, link: NewLink, asked: Asked, *, with_qr: bool) -> Created | None:
        """Store a link, and that it answers this call; or return the one that does already, as it was then."""
        answer = await self._replays.find(asked)
        if answer is None:
            short_url = self.short_url(link.short_code)
            qr_png = await self._render_qr(short_url, "png", link.owner_id) if with_qr else b""
            outcome = await self._transactions(lambda tx: self._store_once(tx, link, asked))
            if isinstance(outcome, Link):
                return Created(outcome, short_url, qr_png)
            if outcome is None:
                return None
            answer = outcome
        first = _first_link(link, answer)
        short_url = self.short_url(first.short_code)
        qr_png = await self._render_qr(short_url, "png", link.owner_id) if with_qr else b""
        return Created(first, short_url, qr_png, is_replay=True)

    def _store_once(self, tx: Tx, link: NewLink, asked: Asked) -> Link | Answer | None:
        """Return the link as stored, None when its code is taken, or the answer that the call has had."""
        answer = self._replays.find_in(tx, asked)
        if answer is not None:
            return answer
        stored = self._store_new(tx, link)
        if stored is not None:
            self._replays.keep(tx, asked, (stored.id, stored.short_code, stored.created_at))
        return stored


def _first_link(link: NewLink, answer: Answer) -> Link:
    """Return the link that an earlier call made: all but what it was given then follows from the same request."""
    link_id, short_code, created_at = cast("tuple[int, str, int]", answer)
    return Link(
        id=link_id,
        short_code=short_code,
        destination=link.destination,
        owner_id=link.owner_id,
        created_at=created_at,
        updated_at=created_at,
        expires_at=link.expires_at,
        deleted_at=0,
        is_alias=link.is_alias,
        clicks=0,
    )
