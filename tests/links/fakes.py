"""Stand-ins for what links need from outside. Importable by other modules' tests."""

from collections.abc import Iterable, Mapping, Sequence

from shortener.clock import Clock
from shortener.idempotency import Replays
from shortener.links import Link, LinkRef, LinkService, LinkStore, NewCode, NewLink, OwnAddresses, QrFormat
from shortener.links.ports import Blocks
from shortener.tx import Transactions, Tx
from tests.idempotency.fakes import some_replays
from tests.links.builders import some_addresses
from tests.support.fakes import FakeClock, FakeTransactions


class MemoryLinkStore:
    """A `LinkStore` in a dict; the store suite proves that it behaves as the real one."""

    def __init__(self) -> None:
        self.links: dict[str, Link] = {}
        self.last_id = 0
        self.reads: list[tuple[str, ...]] = []
        """The codes each `find` or `find_many` asked for."""

    async def find(self, short_code: str) -> Link | None:
        self.reads.append((short_code,))
        return self.links.get(short_code)

    async def find_many(self, short_codes: Sequence[str]) -> dict[str, Link]:
        self.reads.append(tuple(short_codes))
        return {code: self.links[code] for code in short_codes if code in self.links}

    async def page(self, owner_id: str, limit: int, offset: int) -> tuple[list[Link], int]:
        owned = [link for link in self.links.values() if link.owner_id == owner_id and not link.deleted_at]
        owned.sort(key=lambda link: -link.id)
        return owned[offset : offset + limit], len(owned)

    def add(self, tx: Tx, link: NewLink) -> Link | None:
        old = self.links.get(link.short_code)
        if old and not (old.deleted_at and old.is_alias and link.is_alias and old.owner_id == link.owner_id):
            return None
        self.last_id += 1
        stored = Link(
            id=self.last_id,
            short_code=link.short_code,
            destination=link.destination,
            owner_id=link.owner_id,
            created_at=link.created_at,
            updated_at=link.created_at,
            expires_at=link.expires_at,
            deleted_at=0,
            is_alias=link.is_alias,
            clicks=0,
        )
        self.links[link.short_code] = stored
        return stored

    def delete(self, tx: Tx, short_code: str, *, now: int, owner_id: str | None = None) -> bool:
        link = self.links.get(short_code)
        if link is None or link.deleted_at or (owner_id is not None and link.owner_id != owner_id):
            return False
        self.links[short_code] = link._replace(deleted_at=now, updated_at=now)
        return True

    def increment(self, tx: Tx, short_code: str) -> Link | None:
        link = self.links.get(short_code)
        if link is None or link.deleted_at:
            return None
        self.links[short_code] = link = link._replace(clicks=link.clicks + 1)
        return link

    def add_clicks(self, tx: Tx, counts: Mapping[LinkRef, int]) -> dict[LinkRef, int]:
        totals = {}
        for ref, count in counts.items():
            link = self.links.get(ref.short_code)
            if link is not None and link.id == ref.id and link.owner_id:
                self.links[ref.short_code] = link._replace(clicks=link.clicks + count)
                totals[ref] = link.clicks + count
        return totals

    async def owned(self, owner_id: str, *, after: int, limit: int) -> list[Link]:
        owned = [link for link in self.links.values() if link.owner_id == owner_id and link.id > after]
        return sorted(owned, key=lambda link: link.id)[:limit]

    def erase_owned(self, tx: Tx, owner_id: str, *, now: int, limit: int) -> list[LinkRef]:
        owned = sorted(link for link in self.links.values() if link.owner_id == owner_id)
        chosen = ([link for link in owned if not link.deleted_at] or owned)[:limit]
        for link in chosen:
            self.links[link.short_code] = Link(
                link.id, link.short_code, "", "", now, now, 0, now, is_alias=link.is_alias, clicks=0
            )
        return [link.ref for link in chosen]


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
    """A `RenderQr` whose image is its own description. `failure` is raised instead, when set; `full` by `admit`."""

    def __init__(self) -> None:
        self.failure: Exception | None = None
        self.full: Exception | None = None
        self.drawn: list[tuple[str, QrFormat]] = []

    def admit(self, owner_id: str) -> None:
        if self.full:
            raise self.full

    async def __call__(self, short_url: str, image: QrFormat, owner_id: str) -> bytes:
        if self.failure:
            raise self.failure
        self.drawn.append((short_url, image))
        return f"{image} of {short_url}".encode()


def a_link_service(
    *,
    store: LinkStore | None = None,
    transactions: Transactions | None = None,
    clock: Clock | None = None,
    new_code: NewCode | None = None,
    render_qr: FakeQr | None = None,
    own: OwnAddresses | None = None,
    blocks: Blocks | None = None,
    replays: Replays | None = None,
) -> LinkService:
    """Return a service on fakes, but for what the test gives."""
    store = MemoryLinkStore() if store is None else store
    replays = replays or some_replays(clock)
    rolled_back = (store, replays._store) if isinstance(store, MemoryLinkStore) else ()
    return LinkService(
        store=store,
        transactions=transactions or FakeTransactions(*rolled_back),
        clock=clock or FakeClock(),
        new_code=new_code or ListedCodes(),
        render_qr=render_qr or FakeQr(),
        own=own or some_addresses(),
        blocks=blocks,
        replays=replays,
    )
