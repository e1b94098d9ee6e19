"""One listening port: accepts connections, admits or refuses them, times, drains and closes them, for HTTP and gRPC."""

import asyncio
import logging
import socket
import ssl as tls
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from time import monotonic

from shortener.net.places import Connection, ListenerLimits, Place, Places, Silent
from shortener.observe.histogram import Gauge
from shortener.observe.log import OncePerSecond

log = logging.getLogger(__name__)

BACKLOG = 1024
"""Connections that wait in the kernel to be accepted."""
SWEEP_SECONDS_MAX = 1.0
PARTING_MAX = 64
"""Connections that are given time at once to read their last answer; further ones are closed without it."""

_DROPPED_MAX = 65_536  # bytes read from a client that is parting
_QUEUED_MAX = 4096
_TLS_SECONDS = 1.0  # for clients that were waiting in the queue when the listener closed
_CLOSE_SECONDS = 1.0
_ACCEPT_TURNS = 3  # of the loop, from an accepted socket to `connection_made`
_SWEPT_AT_ONCE = 1000


_COUNTS = {
    "refused": "Connections refused: too many were open.",
    "evicted": "Connections closed to make room, for others or for what waits to be sent to others.",
    "timed_out": "Connections closed because the client was too slow.",
}


class Listener:
    """Everything that happens to connections as such. A protocol calls `admit` when made and `lost` when lost.

    `refused` and `timed_out` count connections since the start. `tick` is the time, renewed once a sweep.
    """

    def __init__(
        self,
        name: str,
        make: Callable[[], asyncio.Protocol],
        limits: ListenerLimits,
        *,
        refusal: bytes = b"",
        is_exempt: Callable[[str], bool] = lambda peer: False,
        sweep_seconds: float = SWEEP_SECONDS_MAX,
    ) -> None:
        """`refusal` is what a refused connection is told; addresses that are exempt may have any number of them."""
        self.refused = self.timed_out = 0
        self.draining = False
        self.tick = monotonic()
        self.port = 0
        self._name = name
        self._make = make
        self._limits = limits
        self._places = Places(limits, is_exempt)
        self._refusal = refusal
        self._sweep_seconds = max(0.01, min(SWEEP_SECONDS_MAX, sweep_seconds))
        self._loop = asyncio.get_running_loop()
        self._empty = asyncio.Event()
        self._server: asyncio.Server | None = None
        self._queue: socket.socket | None = None
        self._ssl: tls.SSLContext | None = None
        self._sweeper: asyncio.Handle | None = None
        self._closed = False
        self._may_log = OncePerSecond()

    async def start(
        self,
        host: str,
        port: int,
        *,
        sock: socket.socket | None = None,
        ssl: tls.SSLContext | None = None,
        handshake_seconds: float | None = None,
    ) -> None:
        """Listen on `host` and `port` (0: the system picks one), or on the bound `sock`; OSError when that fails."""
        seconds = handshake_seconds if ssl is not None else None
        listen = self._loop.create_server
        if sock is None:
            self._server = await listen(self._make, host, port, ssl=ssl, ssl_handshake_timeout=seconds, backlog=BACKLOG)
        else:
            # asyncio takes `backlog` also for how often it accepts in a row. Without a descriptor left each of these
            # fails and schedules as many again a second later, until nothing else runs: so once at a time, and the
            # queue made long after.
            self._server = await listen(self._make, sock=sock, ssl=ssl, ssl_handshake_timeout=seconds, backlog=1)
            sock.listen(BACKLOG)
        self._ssl = ssl
        self._queue = self._server.sockets[0].dup()
        self.port = self._queue.getsockname()[1]
        self._sweep()

    @property
    def connections(self) -> list[Connection]:
        """The open connections, also those that are about to close."""
        return list(self._places.entries)

    @property
    def evicted(self) -> int:
        """How many connections were closed to make room, for others or for what is held for others."""
        return self._places.evicted

    def gauges(self, name: str) -> Iterator[Gauge]:
        """Yield what `/metrics` shows of this listener, under its name of the ready line."""
        labels = {"listener": name}
        yield "shortener_connections", "Open connections, by listener.", labels, lambda: len(self.connections)
        for count, meaning in _COUNTS.items():
            yield f"shortener_connections_{count}_total", meaning, labels, partial(getattr, self, count)

    def admit(self, connection: Connection, transport: asyncio.Transport) -> Place:
        """Know a connection until it is `lost`, and give it a place; without one it must do nothing more."""
        place = self._places.give(connection, transport)
        if self._closed:
            transport.abort()
            return Place.NONE
        if place is Place.NONE:
            self.refuse(connection)
        return place

    def refuse(self, connection: Connection) -> None:
        """Tell a connection that there are too many, and close it."""
        self.refused += 1
        refused = self._may_log()
        if refused:
            facts = {"listener": self._name, "open": self._places.counted, "refused": refused}
            log.warning("too many connections", extra=facts)
        transport = self._places.entries[connection].transport
        if self._refusal:
            transport.write(self._refusal)
            self.part_with(connection)
        else:
            transport.abort()

    def part_with(self, connection: Connection) -> None:
        """Close a connection that was answered for the last time, when its client has had time to read that.

        What it sends meanwhile is dropped: were it left unread, the client might see a reset in place of the answer.
        """
        places = self._places
        entry = places.entries.get(connection)
        if entry is None or entry.transport.is_closing():
            return
        transport = entry.transport
        places.set_apart(connection)
        if len(places.entries) - places.counted > PARTING_MAX or not transport.can_write_eof():
            transport.close()
            return
        transport.set_protocol(_Parting(connection, transport))
        transport.write_eof()
        transport.resume_reading()

    def lost(self, connection: Connection) -> None:
        """Forget a connection."""
        self._places.forget(connection)
        if not self._places.entries:
            self._empty.set()

    def charge(self, connection: Connection) -> None:
        """Take note that much waits on a connection, or little again."""
        entry = self._places.entries.get(connection)
        if entry is not None:
            self._places.measure(connection, entry)

    # Time.

    def _sweep(self) -> None:
        """Look at every connection, some in each turn of the loop, and again in a while."""
        self.tick = monotonic()
        self._sweep_from(0, self.connections, [])

    def _sweep_from(self, start: int, connections: list[Connection], silent: list[Silent]) -> None:
        some = connections[start : start + _SWEPT_AT_ONCE]
        for connection in some:
            self._look_at(connection)
        silent += self._places.silent_among(some, self.tick)
        start += _SWEPT_AT_ONCE
        if start < len(connections):
            self._sweeper = self._loop.call_soon(self._sweep_from, start, connections, silent)
            return
        self._places.note_silent(silent)
        self._sweeper = self._loop.call_later(self._sweep_seconds, self._sweep)

    def _look_at(self, connection: Connection) -> None:
        entry = self._places.entries.get(connection)
        if entry is None:
            return
        if entry.ends_at is not None and self.tick > entry.ends_at:
            self._places.end(connection)
            return
        self._places.measure(connection, entry)
        stalled = entry.held and self.tick - entry.progress_at > self._limits.write_timeout_seconds
        if stalled or connection.check(self.tick):
            self.timed_out += 1
            entry.transport.abort()

    # Stopping.

    async def drain(self, grace_seconds: float, *, idle_seconds: float = 0.0) -> bool:
        """Take no new connections and wait until all have gone, `grace_seconds` at most; say whether they have.

        Those that wait in the kernel's queue are served: the system would reset them. After `idle_seconds`, which a
        client that is about to ask again may need, all are asked to leave.
        """
        self._stop_listening()
        self.draining = True
        await self._serve_queue()
        end = monotonic() + grace_seconds
        if not await self._emptied(min(end, monotonic() + idle_seconds)):
            for connection in self.connections:
                connection.leave()
        return await self._emptied(end)

    def _stop_listening(self) -> None:
        if self._server is not None:
            self._server.close()

    async def _serve_queue(self) -> None:
        seconds = None if self._ssl is None else _TLS_SECONDS
        await asyncio.gather(
            *(
                self._loop.connect_accepted_socket(self._make, each, ssl=self._ssl, ssl_handshake_timeout=seconds)
                for each in self._queued()
            ),
            return_exceptions=True,  # clients who have gone meanwhile, or do not speak TLS
        )

    def _queued(self) -> list[socket.socket]:
        accepted: list[socket.socket] = []
        queue, self._queue = self._queue, None
        if queue is not None:
            with queue, suppress(OSError):  # nobody waits any more, or no descriptor is left
                queue.setblocking(False)
                while len(accepted) < _QUEUED_MAX:
                    client, _ = queue.accept()
                    client.setblocking(False)
                    accepted.append(client)
        return accepted

    async def _emptied(self, end: float) -> bool:
        while self._places.entries:
            self._empty.clear()
            try:
                async with asyncio.timeout(end - monotonic()):
                    await self._empty.wait()
            except TimeoutError:
                return False
        return True

    def close(self) -> None:
        """Accept no more and stop every connection. Can be called again; `wait_closed` comes after it."""
        self._closed = True
        self._stop_listening()
        if self._queue is not None:
            self._queue.close()
            self._queue = None
        if self._sweeper is not None:
            self._sweeper.cancel()
        for connection in self.connections:
            connection.stop()

    async def wait_closed(self) -> None:
        """Return when every connection is closed; those that take their time are broken off."""
        for _ in range(_ACCEPT_TURNS):
            await asyncio.sleep(0)
        if not await self._emptied(monotonic() + _CLOSE_SECONDS):
            for entry in self._places.entries.values():
                entry.transport.abort()
            await self._emptied(monotonic() + _CLOSE_SECONDS)
        if self._server is not None:
            with suppress(TimeoutError):
                async with asyncio.timeout(_CLOSE_SECONDS):
                    await self._server.wait_closed()


class _Parting(asyncio.Protocol):
    """Drops what a client still sends, up to a limit; closes when the client does."""

    def __init__(self, connection: Connection, transport: asyncio.Transport) -> None:
        self._connection = connection
        self._transport = transport
        self._left = _DROPPED_MAX

    def data_received(self, data: bytes) -> None:
        self._left -= len(data)
        if self._left < 0:
            self._transport.pause_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        self._connection.connection_lost(exc)
