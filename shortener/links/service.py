"""The use cases of links: create, look up, list, delete, count."""

from collections.abc import Collection, Mapping
from dataclasses import replace
from functools import partial
from itertools import accumulate
from typing import cast

from shortener import errors
from shortener.clock import Clock
from shortener.idempotency import Answer, Asked, Replays
from shortener.links.aliases import alternatives
from shortener.links.destination import OwnAddresses, parse_destination
from shortener.links.model import (
    Created,
    EventKind,
    LinkDetails,
    LinkDraft,
    LinkEvent,
    LinkPage,
    LinkRecord,
    LinkRef,
    is_live,
    parse_alias,
    parse_expires_at,
    parse_owner_id,
    parse_paging,
    parse_short_code,
    unknown_link,
)
from shortener.links.ports import Blocks, IsErased, LinkCache, LinkStore, NewCode, Outbox, QrFormat, RenderQr
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


class LinkService:
    """Everything that can be done with links. Raw values come in; links or `errors` go out."""

    def __init__(
        self,
        *,
        store: LinkStore,
        cache: LinkCache,
        transactions: Transactions,
        clock: Clock,
        new_code: NewCode,
        render_qr: RenderQr,
        own: OwnAddresses,
        replays: Replays,
        is_erased: IsErased,
        blocks: Blocks | None = None,
        outbox: Outbox | None = None,
    ) -> None:
        """Write to `store` and read by `cache`. Without an `outbox` nobody hears of events."""
        self._store = store
        self._cache = cache
        self._transactions = transactions
        self._clock = clock
        self._new_code = new_code
        self._render_qr = render_qr
        self._own = own
        self._blocks = blocks
        self._replays = replays
        self._is_erased = is_erased
        self._outbox = outbox

    def short_url(self, short_code: str) -> str:
        """Return the whole short URL of this code."""
        return self._own.short_url(short_code)

    def is_live(self, link: LinkDetails) -> bool:
        """Tell whether this link redirects now."""
        return is_live(link, self._clock())

    async def create(self, draft: LinkDraft, *, idempotency_key: str | None = None) -> Created:
        """Make a link; with a key that the owner used before, return that link as it was then.

        Raises `errors.Invalid`; `errors.Conflict` with three free aliases when the alias is or ever was in use (but for
        the owner's own deleted alias), and for a key that came with another draft; `errors.Exhausted` when too many
        keys are kept; `CodesExhausted`.
        """
        link = self._parsed(draft)
        asked = None
        if idempotency_key is not None:
            asked = self._replays.asked(draft.method, link.owner_id, idempotency_key, draft.fingerprint)
        for _ in range(1 if link.is_alias else CODE_ATTEMPTS_MAX):
            if not link.is_alias:
                link = link._replace(short_code=self._new_code())
            created = await self._add(link, asked, with_qr=draft.with_qr)
            if created:
                return created
        if not link.is_alias:
            raise CodesExhausted(f"{CODE_ATTEMPTS_MAX} random short codes in a row were taken")
        suggestions = await self.suggestions(link.short_code)
        raise errors.Conflict("alias is already taken", field="alias", suggestions=suggestions)

    async def suggestions(self, alias: str) -> tuple[str, ...]:
        """Return three aliases like this one that were never in use. Fewer only if the store is all but full."""
        free: list[str] = []
        for _ in range(SUGGESTION_ROUNDS_MAX):
            candidates = alternatives(alias, self._new_code())
            taken = await self._store.links(candidates)
            free += [candidate for candidate in candidates if candidate not in taken and candidate not in free]
            if len(free) >= SUGGESTIONS:
                break
        return tuple(free[:SUGGESTIONS])

    async def get(self, short_code: str, *, owner_id: str | None = None) -> LinkRecord:
        """Return a link, expired or not. Raises `errors.NotFound` if unknown, deleted or not this owner's."""
        record = await self._cache.find_record(parse_short_code(short_code))
        if record is None or record.details.deleted_at or owner_id not in (None, record.details.owner_id):
            raise unknown_link()
        return record

    async def details(self, short_code: str, *, owner_id: str | None = None) -> LinkDetails:
        """Return what `get` returns, but for the counters."""
        return (await self.get(short_code, owner_id=owner_id)).details

    async def page(self, owner_id: str, *, limit: int, offset: int) -> LinkPage:
        """Return one page of an owner's links, newest first: expired ones included, deleted ones not.

        The page ends early when its links are too long for one answer; `has_more` is then true.
        """
        owner_id = parse_owner_id(owner_id)
        limit, offset = parse_paging(limit, offset)
        records, total = await self._store.page(owner_id, limit, offset)
        sizes = accumulate(len(record.details.destination) + LINK_SIZE for record in records)
        fitting = tuple(record for record, size in zip(records, sizes, strict=True) if size <= PAGE_SIZE_MAX)
        return LinkPage(fitting, total, has_more=offset + len(fitting) < total)

    async def delete(self, short_code: str, *, owner_id: str | None = None) -> None:
        """Stop a link at once and for good. Raises `errors.NotFound` if unknown, deleted or not this owner's."""
        short_code, now = parse_short_code(short_code), self._clock()

        def work(tx: Tx) -> LinkRef | None:
            deleted = self._store.delete(tx, short_code, now=now, owner_id=owner_id)
            if deleted is not None:
                self._ended(tx, deleted, now)
            return deleted

        if await self._transactions(work) is None:
            raise unknown_link()

    async def increment_clicks(self, short_code: str) -> int:
        """Add one to a link's counter, without a click, and return the new value. Raises `errors.NotFound`."""
        short_code = parse_short_code(short_code)

        def work(tx: Tx) -> int | None:
            tx.on_commit(partial(self._cache.counted, (short_code,)))
            return self._store.increment(tx, short_code)

        clicks = await self._transactions(work)
        if clicks is None:
            raise unknown_link()
        return clicks

    def add_clicks(self, tx: Tx, counts: Mapping[LinkRef, int]) -> Collection[LinkRef]:
        """Add recorded clicks to the links' counters, in the transaction that records them.

        Returns the links that were there to be counted: what comes late for any other belongs to nobody.
        """
        counted = self._store.add_clicks(tx, counts)
        tx.on_commit(partial(self._cache.counted, [ref.short_code for ref in counted]))
        return counted

    async def owned(self, owner_id: str, *, after: int, limit: int) -> list[LinkRecord]:
        """Return links of an owner, expired and deleted ones too, in order of their ids, from behind id `after`."""
        return await self._store.owned(owner_id, after=after, limit=limit)

    def erase_owned(self, tx: Tx, owner_id: str, *, limit: int) -> list[LinkRef]:
        """Delete at most `limit` links of an owner for good and return which; their codes stay taken, for nobody."""
        now = self._clock()
        erased = self._store.erase_owned(tx, owner_id, now=now, limit=limit)
        for ref in erased:
            self._ended(tx, ref, now)
        return erased

    async def qr(self, short_code: str, image: QrFormat, *, owner_id: str | None = None) -> bytes:
        """Return the QR code of a link's short URL as an image file. Raises `errors.NotFound`."""
        link = await self.details(short_code, owner_id=owner_id)
        return await self._render_qr(self.short_url(link.short_code), image)

    def _parsed(self, draft: LinkDraft) -> LinkDetails:
        """Return the link that a draft asks for; without an alias it has no short code yet. Raises `errors.Invalid`."""
        short_code = "" if draft.alias is None else parse_alias(draft.alias)
        destination = parse_destination(draft.long_url, self._own)
        if self._blocks is not None and self._blocks(destination):
            raise errors.Invalid("long_url leads to a host that is blocked here", field="long_url")
        now = self._clock()
        return LinkDetails(
            id=0,
            short_code=short_code,
            destination=destination,
            owner_id=parse_owner_id(draft.owner_id),
            created_at=now,
            updated_at=now,
            expires_at=parse_expires_at(draft.expires_at),
            deleted_at=0,
            is_alias=draft.alias is not None,
        )

    async def _add(self, link: LinkDetails, asked: Asked | None, *, with_qr: bool) -> Created | None:
        """Store a link, or return the one that was made by the same call before; None when its code is taken.

        The image is drawn before the link is stored: if drawing is refused or fails, there must not be a link that
        nobody was told about. Drawing beside the commit would save nothing, because it takes the event loop's time.
        """
        answer = None if asked is None else await self._replays.find(asked)
        if answer is None:
            created = await self._shown(link, with_qr=with_qr)
            outcome = await self._transactions(lambda tx: self._store_once(tx, link, asked))
            if outcome is None:
                return None
            if isinstance(outcome, LinkDetails):
                return replace(created, link=outcome)
            answer = outcome
        # All but what the link was given then follows from the same draft.
        link_id, short_code, created_at = cast("tuple[int, str, int]", answer)
        first = link._replace(id=link_id, short_code=short_code, created_at=created_at, updated_at=created_at)
        return replace(await self._shown(first, with_qr=with_qr), is_replay=True)

    async def _shown(self, link: LinkDetails, *, with_qr: bool) -> Created:
        short_url = self.short_url(link.short_code)
        return Created(link, short_url, await self._render_qr(short_url, "png") if with_qr else b"")

    def _store_once(self, tx: Tx, link: LinkDetails, asked: Asked | None) -> LinkDetails | Answer | None:
        """Return the link as stored, None when its code is taken, or the answer that the call has had."""
        answer = None if asked is None else self._replays.find_in(tx, asked)
        if answer is not None:
            return answer
        # Judged here, in the order of the writes: a link that came after the erasure would stay for ever.
        if self._is_erased(tx, link.owner_id):
            raise errors.Invalid("user_id is that of an erased account", field="user_id")
        link_id = self._store.add(tx, link)
        if link_id is None:
            return None
        stored = link._replace(id=link_id)
        if asked is not None:
            self._replays.keep(tx, asked, (stored.id, stored.short_code, stored.created_at))
        if self._outbox is not None:
            self._outbox.put(tx, LinkEvent(EventKind.CREATED, stored.ref, stored.created_at))
        tx.on_commit(partial(self._cache.added, stored))
        return stored

    def _ended(self, tx: Tx, ref: LinkRef, now: int) -> None:
        """Let the cache, and whoever wants to, hear of a link's end."""
        if self._outbox is not None:
            self._outbox.put(tx, LinkEvent(EventKind.DELETED, ref, now))
        tx.on_commit(partial(self._cache.changed, ref.short_code))
