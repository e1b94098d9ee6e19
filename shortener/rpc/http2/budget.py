"""What clients may make the server do and hold: a budget of work for each connection, a bound on bytes for all."""

from time import monotonic
from typing import Generic, Protocol, TypeVar

from shortener.rpc.http2.errors import ErrorCode, ProtocolError


class Budget:
    """A connection's budget of work that answers no call. It holds `most` units, and `refill` come back each second.

    A frame that does no work (PING, SETTINGS, PRIORITY, RST_STREAM, WINDOW_UPDATE, CONTINUATION, unknown and empty
    ones) costs one; header bytes decoded in vain, inflated bytes and refused messages cost by what they take. Finished
    calls give some back. An honest client, which sends a few such frames with each call and a ping now and then,
    never notices; a flood ends in ENHANCE_YOUR_CALM.
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
                raise ProtocolError(ErrorCode.ENHANCE_YOUR_CALM, "too much work that answers no call")

    def refund(self, units: int) -> None:
        """Give `units` back for useful work, up to the whole budget."""
        if self._left < self._most:
            self._left += units


class Holder(Protocol):
    """A connection's half, and how many bytes it holds for its client."""

    held: int


H = TypeVar("H", bound=Holder)


class Pool(Generic[H]):
    """Bytes held for all clients of a server: `size` of them by `holders`, and at most `most`, which holders see to."""

    __slots__ = ("holders", "most", "size")

    def __init__(self, most: int) -> None:
        self.most = most
        self.size = 0
        self.holders: dict[H, None] = {}  # in the order in which they began to hold some

    def add(self, holder: H, size: int) -> None:
        """Let `holder` hold `size` bytes more, or less."""
        self.size += size
        holder.held += size
        if not holder.held:
            self.holders.pop(holder, None)
        elif holder.held == size:
            self.holders[holder] = None
