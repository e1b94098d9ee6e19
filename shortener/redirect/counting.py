"""Counts redirects as clicks without ever standing in the way of the redirect."""

import logging

from shortener import errors
from shortener.links.model import Link
from shortener.redirect.ports import Clicks
from shortener.redirect.settings import Traffic

log = logging.getLogger(__name__)


class Counting:
    """Offers and flushes clicks; what cannot be recorded is added to `Traffic.lost_clicks` and logged."""

    def __init__(self, clicks: Clicks, traffic: Traffic) -> None:
        self._clicks = clicks
        self._traffic = traffic
        self._unflushed = 0
        self._failing = False

    def offer(self, link: Link, address: str, user_agent: str, referrer: str) -> None:
        """Note one click. Raises nothing."""
        try:
            self._clicks.offer(link, address, user_agent, referrer)
        except Exception as error:  # noqa: BLE001 - whatever is wrong with counting, the visitor is redirected
            self._lost(1, error)
        else:
            self._unflushed += 1

    def flush(self) -> None:
        """Let what was offered reach the kernel. Raises nothing."""
        offered, self._unflushed = self._unflushed, 0
        if not offered:
            return
        try:
            self._clicks.flush()
        except Exception as error:  # noqa: BLE001 - whatever is wrong with counting, the visitor is redirected
            self._lost(offered, error)
        else:
            self._failing = False

    def _lost(self, clicks: int, error: Exception) -> None:
        self._traffic.lost_clicks += clicks
        if self._failing:
            return  # one line a spell of trouble: the counter tells how long it was
        self._failing = True
        expected = isinstance(error, errors.Failure | OSError)
        log.error("clicks are being lost", exc_info=None if expected else error, extra={"reason": str(error)})
