"""What is due on a connection as time passes: handshake, keep-alive, idleness, writes that nobody takes."""

from time import monotonic
from typing import TYPE_CHECKING

from shortener.rpc.http2 import frames
from shortener.rpc.http2.errors import ErrorCode
from shortener.rpc.http2.shared import Shared

if TYPE_CHECKING:
    from shortener.rpc.http2.connection import Connection

KEEPALIVE = b"keepaliv"
"""What our keep-alive pings carry."""
_BUSY_SECONDS_MAX = 30.0
_CLOSE_SECONDS = 2.0  # for the last bytes to leave after a GOAWAY


class Watch:
    """The timekeeping of one connection; `pinged_at` is when the unanswered ping left, or 0."""

    __slots__ = (
        "_active_at", "_connection", "_idle_id", "_idle_since", "_made_at", "_mark", "_settings", "_write_seconds",
        "pinged_at",
    )  # fmt: skip

    def __init__(self, connection: "Connection", shared: Shared) -> None:
        self._connection = connection
        self._settings = shared.settings
        self._write_seconds = shared.limits.write_seconds
        self._made_at = self._idle_since = self._active_at = monotonic()
        self._idle_id = -1
        self._mark = (0, 0)  # the last call, and the window: what changes when something is asked or answered
        self.pinged_at = 0.0

    def silent_since(self, *, is_busy: bool) -> float | None:
        """Return since when nothing has been asked or answered; None if the client may be waiting for an answer.

        A call that lasts longer than any answer may take is one that only watches.
        """
        return None if is_busy and monotonic() - self._active_at < _BUSY_SECONDS_MAX else self._active_at

    def sweep(self, now: float) -> None:
        """Do what is due: called every `Limits.sweep_seconds`."""
        connection = self._connection
        if connection.closed_at:
            if now - connection.closed_at > _CLOSE_SECONDS:
                connection.transport.abort()
        elif not connection.settled:
            connection.check_drain(now)
            if now - self._made_at > self._settings.handshake_seconds:
                connection.transport.abort()
        else:
            connection.check_drain(now)
            connection.calls.expire_overdue(now)
            self._check_writes(now)
            self._keep_alive(now)
            self._check_idle(now)

    def _check_writes(self, now: float) -> None:
        """End the calls whose answers nobody takes, and the connection when not even TCP takes bytes."""
        outbound = self._connection.outbound
        then = now - self._write_seconds
        if not outbound.writable and outbound.unwritable_since < then:
            self._connection.transport.abort()
            return
        for stream_id in outbound.stalled_before(then):
            stream = self._connection.calls.streams.get(stream_id)
            if stream is not None:
                self._connection.calls.reset(stream, ErrorCode.ENHANCE_YOUR_CALM)

    def _keep_alive(self, now: float) -> None:
        connection = self._connection
        if self.pinged_at and connection.heard_at > self.pinged_at:
            self.pinged_at = 0.0
        if self.pinged_at:
            if now - self.pinged_at > self._settings.keepalive_timeout_seconds:
                connection.transport.abort()
        elif now - connection.heard_at >= self._settings.keepalive_seconds:
            self.pinged_at = now
            connection.outbound.write(frames.frame(frames.PING, 0, 0, KEEPALIVE))

    def _check_idle(self, now: float) -> None:
        calls = self._connection.calls
        mark = (calls.last_id, self._connection.outbound.window)
        if mark != self._mark:
            self._mark, self._active_at = mark, now
        if calls.streams or calls.last_id != self._idle_id:
            self._idle_since, self._idle_id = now, calls.last_id
        elif self._settings.idle_seconds and now - self._idle_since > self._settings.idle_seconds:
            self._connection.go_away(ErrorCode.NO_ERROR, "idle")
