"""Calls that may come twice: with an idempotency key, the second is given the first one's answer."""

from shortener.idempotency.model import Answer, Asked
from shortener.idempotency.ports import ReplayStore
from shortener.idempotency.service import Replays

__all__ = ["Answer", "Asked", "ReplayStore", "Replays"]
