"""Erases accounts: the account at once, then all that it owned, a few rows at a time.

The account goes first, in one transaction that leaves its id behind as pending. From then on its tokens are refused and
no link can be made for it. The rest is found by what is left: links that still name the owner, and links whose clicks
are noted to be removed. So an erasure goes on at the next start after the process was killed, and doing a part twice
does no harm. What deleted rows leave in unused parts of the database's files goes with the next `shortener compact`.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from shortener.accounts import AccountService
from shortener.analytics.ports import ClickRemoval
from shortener.links import LinkService
from shortener.tx import Transactions, Tx, for_a_moment

_log = logging.getLogger(__name__)

_LINKS_AT_ONCE = 50
_WAIT_SECONDS = 3.0
"""How long a caller waits for the end; most accounts take less."""
_LOOK_SECONDS = 60.0
"""How often it looks for clicks of aliases that were taken again."""
_REST = 2
"""Pauses are this many times as long as the removal before, to leave the writer to others."""
_BACKOFF_SECONDS_MAX = 2.0


@dataclass(slots=True)
class ErasureStats:
    """What has been done since the start, for metrics."""

    accounts: int = 0  # erased wholly
    links: int = 0
    failures: int = 0  # attempts that were tried again


class Erasure:
    """Erases accounts. `run` goes on with what a killed process has begun."""

    def __init__(
        self, *, accounts: AccountService, links: LinkService, clicks: ClickRemoval, transactions: Transactions
    ) -> None:
        self.stats = ErasureStats()
        self._accounts = accounts
        self._links = links
        self._clicks = clicks
        self._transactions = transactions
        self._wanted = asyncio.Event()
        self._done = asyncio.Event()

    async def erase(self, account_id: int) -> bool:
        """Erase an account and return whether all that belonged to it is gone; what is left is removed later.

        It can be called again to ask. Raises `errors.NotFound` when there was never such an account.
        """
        await self._accounts.erase(account_id, self._begin)
        if account_id not in await self._accounts.pending_erasures():
            return True
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_WAIT_SECONDS):
                await self._done.wait()
        return account_id not in await self._accounts.pending_erasures()

    def _begin(self) -> None:
        self._done.clear()
        self._wanted.set()

    async def run(self) -> None:
        """Remove what erased accounts have left, until cancelled; failed removals are tried again."""
        pause = 0.0
        while True:
            self._wanted.clear()
            try:
                await self._remove_all()
                pause = 0.0
                self._done.set()
            except Exception as error:  # noqa: BLE001 - what is left is found again after any error
                pause = min(pause * 2 + 0.1, _BACKOFF_SECONDS_MAX)
                self.stats.failures += 1
                _log.warning("an erasure is tried again, it failed: %s: %s", type(error).__name__, error)
            with contextlib.suppress(TimeoutError):  # `asyncio.wait_for` would lose a cancellation in Python 3.11.
                async with asyncio.timeout(pause or _LOOK_SECONDS):
                    await self._wanted.wait()

    async def _remove_all(self) -> None:
        while True:
            pending = await self._accounts.pending_erasures()
            for account_id in pending:
                await self._to_the_end(partial(self._erase_links, str(account_id)))
            if not await self._clicks.is_purged():
                await self._to_the_end(self._clicks.purge)
            if not pending:
                return
            for account_id in pending:
                await self._accounts.finish_erasure(account_id)
                self.stats.accounts += 1

    async def _to_the_end(self, step: Callable[[Tx], bool]) -> None:
        """Repeat `step` until nothing is left, with pauses between."""
        is_left = True
        while is_left:
            started = time.monotonic()
            is_left = await self._transactions(lambda tx: for_a_moment(partial(step, tx)))
            await asyncio.sleep((time.monotonic() - started) * _REST)

    def _erase_links(self, owner_id: str, tx: Tx) -> bool:
        refs = self._links.erase_owned(tx, owner_id, limit=_LINKS_AT_ONCE)
        self._clicks.purge_later(tx, [ref.id for ref in refs])
        count = len(refs)
        tx.on_commit(lambda: self._count(count))
        return bool(refs)

    def _count(self, links: int) -> None:
        self.stats.links += links
