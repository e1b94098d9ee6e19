"""A connection's budget of frames that do no work: what keeps floods of cheap frames from costing much."""

from time import monotonic

from shortener.rpc.http2.errors import ErrorCode, ProtocolError


class Budget:
    """Charged for PING, SETTINGS, PRIORITY, RST_STREAM, WINDOW_UPDATE, CONTINUATION, unknown and empty frames.

    It holds `most` units; `refill` come back each second, and finished calls refund some. An honest client, which
    sends a few such frames with each call and a ping now and then, never notices; a flood ends in ENHANCE_YOUR_CALM.
    """

    __slots__ = ("_left", "_most", "_refill", "_since")

    def __init__(self, *, most: int, refill: int) -> None:
        self._most = most
        self._refill = refill
        self._left: float = most
        self._since = monotonic()

    def charge(self, units: int = 1) -> None:
        """Take `units`; raises ProtocolError ENHANCE_YOUR_CALM when there are none left."""
        self._left -= units
        if self._left < 0:
            now = monotonic()
            self._left = min(self._most, self._left + (now - self._since) * self._refill)
            self._since = now
            if self._left < 0:
                raise ProtocolError(ErrorCode.ENHANCE_YOUR_CALM, "too many frames that do no work")

    def refund(self, units: int) -> None:
        """Give `units` back for useful work, up to the whole budget."""
        if self._left < self._most:
            self._left += units
