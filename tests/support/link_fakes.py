"""Stand-ins for what links need from outside. Importable by other modules' tests."""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence

from shortener.clock import Clock
from shortener.config.sections import Cache
from shortener.idempotency import Replays
from shortener.links import Link, LinkDetails, LinkRecord, LinkRef, LinkService, OwnAddresses
from shortener.links.cache import MemoryLinkCache
from shortener.links.model import LinkCounts
from shortener.links.ports import Blocks, IsErased, LinkCache, LinkStore, NewCode, Outbox, QrFormat
from shortener.tx import Transactions, Tx
from tests.support.fakes import FakeClock, FakeTransactions
from tests.support.idempotency_fakes import some_replays
from tests.support.link_builders import some_addresses


class MemoryLinkStore:
    """A `LinkStore` in a dict; the store suite proves that it behaves as the real one."""

    def __init__(self) -> None:
        self.stored: dict[str, LinkRecord] = {}
        self.last_id = 0
        self.reads: list[tuple[str, ...]] = []
        """The codes each `links` or `records` asked for."""

    async def links(self, short_codes: Sequence[str]) -> dict[str, Link]:
        return {code: record.details.link for code, record in self._found(short_codes).items()}

    async def records(self, short_codes: Sequence[str]) -> dict[str, LinkRecord]:
        return self._found(short_codes)

    def _found(self, short_codes: Sequence[str]) -> dict[str, LinkRecord]:
        self.reads.append(tuple(short_codes))
        return {code: self.stored[code] for code in short_codes if code in self.stored}

    def _owned(self, owner_id: str) -> list[LinkRecord]:
        return sorted(record for record in self.stored.values() if record.details.owner_id == owner_id)

    async def page(self, owner_id: str, limit: int, offset: int) -> tuple[list[LinkRecord], int]:
        live = [record for record in reversed(self._owned(owner_id)) if not record.details.deleted_at]
        return live[offset : offset + limit], len(live)

    async def owned(self, owner_id: str, *, after: int, limit: int) -> list[LinkRecord]:
        return [record for record in self._owned(owner_id) if record.details.id > after][:limit]

    def add(self, tx: Tx, link: LinkDetails) -> int | None:
        old = self.details(link.short_code)
        if old and not (old.deleted_at and old.is_alias and link.is_alias and old.owner_id == link.owner_id):
            return None
        self.last_id += 1
        self.stored[link.short_code] = LinkRecord(link._replace(id=self.last_id), LinkCounts(0))
        return self.last_id

    def details(self, short_code: str) -> LinkDetails | None:
        return self.stored[short_code].details if short_code in self.stored else None

    def change(self, short_code: str, **changes: object) -> None:
        record = self.stored[short_code]
        self.stored[short_code] = record._replace(details=record.details._replace(**changes))  # type: ignore[arg-type] # tests name real fields

    def count(self, short_code: str, more: int) -> int:
        record = self.stored[short_code]
        self.stored[short_code] = record._replace(counts=LinkCounts(record.counts.clicks + more))
        return record.counts.clicks + more

    def delete(self, tx: Tx, short_code: str, *, now: int, owner_id: str | None = None) -> LinkRef | None:
        link = self.details(short_code)
        if link is None or link.deleted_at or owner_id not in (None, link.owner_id):
            return None
        self.change(short_code, deleted_at=now, updated_at=now)
        return link.ref

    def increment(self, tx: Tx, short_code: str) -> int | None:
        link = self.details(short_code)
        return None if link is None or link.deleted_at else self.count(short_code, 1)

    def add_clicks(self, tx: Tx, counts: Mapping[LinkRef, int]) -> set[LinkRef]:
        counted = set()
        for ref, count in counts.items():
            link = self.details(ref.short_code)
            if link is not None and link.id == ref.id and link.owner_id:
                self.count(ref.short_code, count)
                counted.add(ref)
        return counted

    def erase_owned(self, tx: Tx, owner_id: str, *, now: int, limit: int) -> list[LinkRef]:
        owned = [record.details for record in self._owned(owner_id)]
        chosen = ([link for link in owned if not link.deleted_at] or owned)[:limit]
        for link in chosen:
            erased = LinkDetails(link.id, link.short_code, "", "", now, now, 0, now, is_alias=link.is_alias)
            self.stored[link.short_code] = LinkRecord(erased, LinkCounts(0))
        return [link.ref for link in chosen]


def nobody_is_erased(tx: Tx, owner_id: str) -> bool:
    return False


def a_cache(store: LinkStore, timer: Callable[[], float] = time.monotonic, **limits: float) -> MemoryLinkCache:
    return MemoryLinkCache(store, Cache(**limits), timer=timer)  # type: ignore[arg-type] # tests name real fields


class ListedCodes:
    """A `NewCode` that gives these codes first, then counts: code0001, code0002, …"""

    def __init__(self, codes: Iterable[str] = ()) -> None:
        self.codes = list(codes)
        self.count = 0

    def __call__(self) -> str:
        if self.codes:
            return self.codes.pop(0)
        self.count += 1
        return f"code{self.count:04}"


class FakeQr:
    """A `RenderQr` whose image is its own description. `failure` is raised instead, when set."""

    def __init__(self) -> None:
        self.failure: Exception | None = None
        self.drawn: list[tuple[str, QrFormat]] = []

    async def __call__(self, short_url: str, image: QrFormat) -> bytes:
        if self.failure:
            raise self.failure
        self.drawn.append((short_url, image))
        return f"{image} of {short_url}".encode()


def a_link_service(
    *,
    store: LinkStore | None = None,
    cache: LinkCache | None = None,
    transactions: Transactions | None = None,
    clock: Clock | None = None,
    new_code: NewCode | None = None,
    render_qr: FakeQr | None = None,
    own: OwnAddresses | None = None,
    blocks: Blocks | None = None,
    replays: Replays | None = None,
    is_erased: IsErased = nobody_is_erased,
    outbox: Outbox | None = None,
) -> LinkService:
    """Return a service on fakes, but for what the test gives."""
    store = MemoryLinkStore() if store is None else store
    replays = replays or some_replays(clock)
    rolled_back = (store, replays._store) if isinstance(store, MemoryLinkStore) else ()
    return LinkService(
        store=store,
        cache=cache or a_cache(store),
        transactions=transactions or FakeTransactions(*rolled_back),
        clock=clock or FakeClock(),
        new_code=new_code or ListedCodes(),
        render_qr=render_qr or FakeQr(),
        own=own or some_addresses(),
        blocks=blocks,
        replays=replays,
        is_erased=is_erased,
        outbox=outbox,
    )
