"""Saying no to connections that are too many, briefly and so that the client hears it."""

import asyncio
import logging

from shortener.observe.log import OncePerSecond

log = logging.getLogger(__name__)

LINGERING_MAX = 64
"""Refused connections kept open at the same time until their clients have read the answer."""
LINGER_SECONDS = 1.0
IDLE_SECONDS_MIN = 1.0
"""A connection without a request for so long may have to make room for a new one."""
_CLOSE_TURNS = 3  # of the loop, until an aborted transport is closed
LOOKED_AT = 64
"""Connections looked at, to find one that may."""


class Refusals:
    """Refuses connections of one listener with the same `answer`. One log line a second at most."""

    def __init__(self, name: str, answer: bytes) -> None:
        self.count = 0
        self._name = name
        self._answer = answer
        self._lingering: dict[asyncio.Transport, asyncio.TimerHandle] = {}
        self._may_log = OncePerSecond()

    def refuse(self, transport: asyncio.Transport) -> None:
        """Answer and close. What the client sends is read and dropped meanwhile: else it might not see the answer."""
        self.count += 1
        refused = self._may_log()
        if refused:
            log.warning("too many connections", extra={"listener": self._name, "refused": refused})
        transport.set_protocol(_Deaf())
        transport.write(self._answer)
        if len(self._lingering) >= LINGERING_MAX or not transport.can_write_eof():
            transport.close()
            return
        transport.write_eof()
        self._lingering[transport] = asyncio.get_running_loop().call_later(LINGER_SECONDS, self._end, transport)

    def _end(self, transport: asyncio.Transport) -> None:
        self._lingering.pop(transport).cancel()
        transport.abort()

    async def close(self) -> None:
        """Drop those that are still open."""
        for transport in list(self._lingering):
            self._end(transport)
        for _ in range(_CLOSE_TURNS):
            await asyncio.sleep(0)


class _Deaf(asyncio.Protocol):
    """Drops what it hears; closes when the client does."""
