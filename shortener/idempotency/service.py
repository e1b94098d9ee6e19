"""The use cases of replays: look for the answer that a key has had, keep a new one, forget the old ones."""

import asyncio

from shortener import errors
from shortener.clock import Clock
from shortener.config.sections import Idempotency
from shortener.idempotency.model import Answer, Asked, asked, reused
from shortener.idempotency.ports import Kept, ReplayStore
from shortener.limits.shares import has_room
from shortener.tx import Transactions, Tx

SWEEP_BATCH = 500
"""Answers removed in one transaction: some milliseconds on the writer's thread."""
SWEEP_PAUSE_SECONDS = 0.02
"""Between two such transactions, so that a million of them leave the writer to others."""
FULL_RETRY_SECONDS = 60


class Replays:
    """Knows the first answers to calls with an idempotency key for `ttl_seconds`, `keys_max` of them at most.

    The answer is kept in the transaction of the write it tells of: there is never one without the other. Since
    transactions run one after another, of two calls at once with one key the second finds the answer of the first.
    Failures are not kept: who tries again after one may succeed.
    """

    def __init__(
        self,
        *,
        store: ReplayStore,
        transactions: Transactions,
        clock: Clock,
        secret: bytes,
        limits: Idempotency,
    ) -> None:
        self.replayed = 0
        """Answers given again since the start."""
        self._store = store
        self._transactions = transactions
        self._clock = clock
        self._secret = secret
        self._limits = limits
        self.count = 0
        """How many answers were kept when last counted, which each sweep does."""

    def asked(self, method: str, caller: str, key: str, request: Answer) -> Asked:
        """Return what this call is known by: `request` is all that the caller asked for, as it was sent.

        Keys of different callers and of different methods are different keys. Raises `errors.Invalid` for a bad key.
        """
        return asked(self._secret, method, caller, key, request)

    async def find(self, call: Asked) -> Answer | None:
        """Return the answer of the first such call; None when there was none, or too long ago.

        Raises `errors.Conflict` when the key came with another request. Spares a replay the work before the
        transaction; `find_in` must be asked all the same, because the first call may still be running.
        """
        answer = self._judge(call, await self._store.find(call.key))
        if answer is not None:
            self._count_replay()
        return answer

    def find_in(self, tx: Tx, call: Asked) -> Answer | None:
        """Return the same inside the transaction that is to answer the call. Raises `errors.Conflict`."""
        answer = self._judge(call, self._store.find_in(tx, call.key))
        if answer is not None:
            tx.on_commit(self._count_replay)
        return answer

    def keep(self, tx: Tx, call: Asked, answer: Answer) -> None:
        """Keep the first answer, in the transaction that makes it true.

        Raises `errors.Exhausted` for a caller of whom as many are kept as there is room for more: who keeps most is
        refused first, and there is always some room for others. To forget one early would break its promise.
        """
        own, every = self._store.count_in(tx, call.caller)
        if not has_room(own, every, self._limits.keys_max):
            raise errors.Exhausted(
                "too many idempotency keys are remembered", retry_after_seconds=FULL_RETRY_SECONDS, overload=not own
            )
        self._store.put(tx, call, Kept(call.request, answer, self._clock()))

    async def recount(self) -> None:
        """Learn how many answers the store keeps."""
        self.count = await self._store.count()

    async def sweep(self) -> None:
        """Remove the answers that are too old, a few at a time, and count those that are left."""
        await self.recount()
        if not self.count:
            return
        now = self._clock()
        before, after = now - self._limits.ttl_seconds + 1, now + self._limits.ttl_seconds - 1
        removed = SWEEP_BATCH
        while removed == SWEEP_BATCH:
            removed = await self._transactions(
                lambda tx: self._store.remove(tx, before=before, after=after, limit=SWEEP_BATCH)
            )
            await asyncio.sleep(SWEEP_PAUSE_SECONDS)
        await self.recount()

    def _judge(self, call: Asked, kept: Kept | None) -> Answer | None:
        """Return a kept answer that is still good. A clock set back a little does not make it void, a day does."""
        if kept is None or abs(self._clock() - kept.answered_at) >= self._limits.ttl_seconds:
            return None
        if kept.request != call.request:
            raise reused()
        return kept.answer

    def _count_replay(self) -> None:
        self.replayed += 1
