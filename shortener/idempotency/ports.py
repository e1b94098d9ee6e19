"""What the replays module needs from the outside."""

from typing import NamedTuple, Protocol

from shortener.idempotency.model import Answer, Asked
from shortener.tx import Tx


class Kept(NamedTuple):
    """An answer that was given at `answered_at` (Unix seconds) to the request of this hash."""

    request: bytes
    answer: Answer
    answered_at: int


class ReplayStore(Protocol):
    """Keeps answers by the hash of their key, also outdated ones until they are removed."""

    async def find(self, key: bytes) -> Kept | None:
        """Return what is kept under a key; None when there is nothing."""

    def find_in(self, tx: Tx, key: bytes) -> Kept | None:
        """Return the same, with what this transaction and those before it have put there."""

    def put(self, tx: Tx, call: Asked, kept: Kept) -> None:
        """Keep the answer to a call, in place of the one that was there."""

    def remove(self, tx: Tx, *, before: int, after: int, limit: int) -> int:
        """Remove those answered before or after these times, `limit` at most, and return how many there were."""

    def count_in(self, tx: Tx, caller: bytes) -> tuple[int, int]:
        """Return how many answers are kept for this caller, and for all callers together."""

    async def count(self) -> int:
        """Return how many answers are kept."""
