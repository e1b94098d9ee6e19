"""Calls that may come twice: with an idempotency key, the second is given the first one's answer."""

from shortener.replays.model import Answer, Asked
from shortener.replays.ports import ReplayStore
from shortener.replays.service import Replays

__all__ = ["Answer", "Asked", "ReplayStore", "Replays"]
