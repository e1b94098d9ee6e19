"""Who may be connected to one port: places that are shared out by address, and bounded bytes held for all."""

import asyncio
import heapq
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto
from operator import itemgetter
from time import monotonic
from typing import Protocol

from shortener.net.addresses import network_of

SILENT_SECONDS_MIN = 1.0
"""A client that has kept the server waiting for so long may have to make room for a new one."""
PARTING_SECONDS = 2.0
"""How long a refused or evicted client may take to read what it was told, and a reserved place may be used."""
RESERVED_PLACES = 16
PROGRESS_SIZE = 16_384
"""Bytes of its answers that a client must take within `write_timeout_seconds`, where so many wait."""
_SILENT_KNOWN_MAX = 1024


class Connection(Protocol):
    """A connection as its listener sees it. Times are those of `monotonic`."""

    @property
    def held(self) -> int:
        """Bytes of the client's input that wait here to be answered."""

    def waits_since(self) -> float | None:
        """Return since when the server waits for this client to send something; None while it works for it."""

    def check(self, now: float) -> bool:
        """Do what is due; return whether the client has kept the server waiting for too long, which ends it."""

    def leave(self) -> None:
        """Close as soon as nothing is being answered: the server drains."""

    def stop(self) -> None:
        """Close now."""

    def connection_lost(self, exc: Exception | None) -> None:
        """Let go of everything, and tell the listener by `lost`."""


@dataclass(frozen=True, slots=True)
class ListenerLimits:
    """What one port allows.

    Beyond `connections_max` a new connection takes the place of a silent one, or is refused. One address (of IPv6 a
    /64) may have `per_address_max` of them, and no more than are free. `reserved` further places are for connections
    that ask for the server's health alone, a moment each.
    Requests and answers that wait on all connections together may have `held_max` bytes (0: no matter); a client that
    takes too little of its answers for `write_timeout_seconds` loses its connection.
    """

    connections_max: int
    per_address_max: int
    held_max: int = 0
    write_timeout_seconds: float = 20.0
    reserved: int = 0


class Place(Enum):
    """What a new connection is given."""

    REGULAR = auto()
    RESERVED = auto()
    NONE = auto()


@dataclass(slots=True)
class Entry:
    """What is known of one connection.

    The client has taken something of its answers at `progress_at`; `mark` is the most that was `held` since.
    `ends_at` is set when the connection does not count, because it is parting or in a reserved place.
    """

    transport: asyncio.Transport
    network: str | None
    progress_at: float
    held: int = 0
    mark: int = 0
    ends_at: float | None = None


Silent = tuple[int, float, Connection]
"""A connection to evict: how many its address has, since when it is silent (negative), and itself."""


class Places:
    """The connections of one port, those included that are about to close. `evicted` counts those that made room."""

    def __init__(self, limits: ListenerLimits, is_exempt: Callable[[str], bool]) -> None:
        self.evicted = 0
        self.entries: dict[Connection, Entry] = {}
        self._limits = limits
        self._is_exempt = is_exempt
        self._counted = 0
        self._networks: Counter[str] = Counter()
        self._reserved: dict[Connection, None] = {}
        self._silent: list[Connection] = []  # as they were last found; who goes first is at the end
        self._held = 0

    @property
    def counted(self) -> int:
        """How many connections count: those that are neither parting nor in a reserved place."""
        return self._counted

    def give(self, connection: Connection, transport: asyncio.Transport) -> Place:
        """Know a connection until it is `forget`-ed, and give it a place."""
        peer = transport.get_extra_info("peername")
        address = peer[0] if isinstance(peer, tuple) else ""
        network = None if self._is_exempt(address) else network_of(address)
        now = monotonic()
        entry = self.entries[connection] = Entry(transport, network, now)
        if self._has_share(network) and (self._counted < self._limits.connections_max or self._make_room(now)):
            self._counted += 1
            if network is not None:
                self._networks[network] += 1
            return Place.REGULAR
        entry.ends_at = now + PARTING_SECONDS
        if not self._limits.reserved:
            return Place.NONE
        if len(self._reserved) >= self._limits.reserved:
            self.end(next(iter(self._reserved)))
        self._reserved[connection] = None
        return Place.RESERVED

    def _has_share(self, network: str | None) -> bool:
        """Whether an address may have one more: the fuller the port, the fewer, so that none can fill it alone."""
        if network is None:
            return True
        free = self._limits.connections_max - self._counted + len(self._silent)
        return self._networks[network] < min(self._limits.per_address_max, max(free, 1))

    def _make_room(self, now: float) -> bool:
        """Close the connection whose client has been silent for longest, of the address that has most."""
        while self._silent:
            connection = self._silent.pop()
            if self._silent_since(connection, now) is not None:
                self.evicted += 1
                self.set_apart(connection)
                connection.stop()
                return True
        return False

    def _silent_since(self, connection: Connection, now: float) -> float | None:
        """Return since when a client that counts has kept the server waiting, None if not for long."""
        entry = self.entries.get(connection)
        if entry is None or entry.ends_at is not None:
            return None
        since = entry.progress_at if entry.held else connection.waits_since()
        return since if since is not None and since <= now - SILENT_SECONDS_MIN else None

    def silent_among(self, connections: list[Connection], now: float) -> list[Silent]:
        """Return who would have to make room, if the port begins to fill."""
        if 2 * self._counted <= self._limits.connections_max:
            return []
        found = ((self._silent_since(each, now), each) for each in connections)
        return [(self._of_same_network(each), -since, each) for since, each in found if since is not None]

    def _of_same_network(self, connection: Connection) -> int:
        network = self.entries[connection].network
        return self._networks[network] if network is not None else 0

    def note_silent(self, found: list[Silent]) -> None:
        """Know who goes first, until they are noted again."""
        self._silent = [each for _, _, each in reversed(heapq.nlargest(_SILENT_KNOWN_MAX, found, key=itemgetter(0, 1)))]

    def set_apart(self, connection: Connection) -> None:
        """Let a connection's place go to another; what is left of it ends soon."""
        entry = self.entries[connection]
        self._uncount(entry)
        self._reserved.pop(connection, None)
        entry.ends_at = monotonic() + PARTING_SECONDS

    def _uncount(self, entry: Entry) -> None:
        if entry.ends_at is not None:
            return
        self._counted -= 1
        if entry.network is not None:
            self._networks[entry.network] -= 1
            if not self._networks[entry.network]:
                del self._networks[entry.network]

    def end(self, connection: Connection) -> None:
        """End what was set apart, when its time is over."""
        if connection in self._reserved:
            del self._reserved[connection]
            connection.stop()
        else:
            self.entries[connection].transport.abort()

    def forget(self, connection: Connection) -> None:
        """Let go of a connection that is lost."""
        entry = self.entries.pop(connection, None)
        if entry is not None:
            self._held -= entry.held
            self._reserved.pop(connection, None)
            self._uncount(entry)

    def measure(self, connection: Connection, entry: Entry) -> None:
        """See how much waits on a connection, and whether its client takes any of it.

        Where too much waits on all of them, the client that takes least loses its connection.
        """
        held = entry.transport.get_write_buffer_size() + connection.held if self._limits.held_max else 0
        if not held and not entry.held:
            return
        if not (held and entry.held) or held <= entry.mark - PROGRESS_SIZE:
            entry.progress_at, entry.mark = monotonic(), held
        else:
            entry.mark = max(entry.mark, held)
        self._held += held - entry.held
        entry.held = held
        while self._held > self._limits.held_max and self._drop_one():
            pass

    def _drop_one(self) -> bool:
        """Break off the connection that holds most of those whose clients do not move, or else of all."""
        then = monotonic() - SILENT_SECONDS_MIN
        holders = [each for each in self.entries.values() if each.held]
        if len(holders) < 2:  # a single answer may be as large as it likes
            return False
        most = max(holders, key=lambda each: (each.progress_at <= then, each.held))
        self._held -= most.held
        most.held = 0
        self.evicted += 1
        most.transport.abort()
        return True
