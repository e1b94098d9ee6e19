"""Stand-ins for what replays need from outside. Importable by other modules' tests."""

from shortener.clock import Clock
from shortener.config.sections import Idempotency
from shortener.idempotency import Asked, Replays
from shortener.idempotency.ports import Kept, ReplayStore
from shortener.tx import Transactions, Tx
from tests.support.fakes import FakeClock, FakeTransactions

DAY = 86_400
SECRET = bytes(range(32))


class MemoryReplayStore:
    """A `ReplayStore` in a dict; the store suite proves that it behaves as the real one."""

    def __init__(self) -> None:
        self.kept: dict[bytes, Kept] = {}
        self.callers: dict[bytes, bytes] = {}

    async def find(self, key: bytes) -> Kept | None:
        return self.kept.get(key)

    def find_in(self, tx: Tx, key: bytes) -> Kept | None:
        return self.kept.get(key)

    def put(self, tx: Tx, call: Asked, kept: Kept) -> None:
        self.kept[call.key] = kept
        self.callers[call.key] = call.caller

    def remove(self, tx: Tx, *, before: int, after: int, limit: int) -> int:
        outdated = [key for key, kept in self.kept.items() if not before <= kept.answered_at <= after][:limit]
        for key in outdated:
            del self.kept[key], self.callers[key]
        return len(outdated)

    def count_in(self, tx: Tx, caller: bytes) -> tuple[int, int]:
        return list(self.callers.values()).count(caller), len(self.kept)

    async def count(self) -> int:
        return len(self.kept)


def some_replays(
    clock: Clock | None = None,
    *,
    store: ReplayStore | None = None,
    transactions: Transactions | None = None,
    ttl_seconds: int = DAY,
    keys_max: int = 1000,
) -> Replays:
    """Return replays on fakes, but for what the test gives."""
    return Replays(
        store=MemoryReplayStore() if store is None else store,
        transactions=transactions or FakeTransactions(),
        clock=clock or FakeClock(),
        secret=SECRET,
        limits=Idempotency(ttl_seconds=ttl_seconds, keys_max=keys_max),
    )
