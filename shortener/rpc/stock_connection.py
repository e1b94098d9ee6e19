"""One HTTP/2 connection over grpclib and h2, with the limits and the manners those two leave out."""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from typing import Any, cast

from grpclib.config import Configuration
from grpclib.const import Handler
from grpclib.protocol import EventsProcessor, H2Protocol
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.events import (
    DataReceived,
    Event,
    PingAckReceived,
    PingReceived,
    PriorityUpdated,
    RemoteSettingsChanged,
    RequestReceived,
    StreamReset,
    UnknownFrameReceived,
    WindowUpdated,
)
from h2.exceptions import ProtocolError
from h2.settings import SettingCodes, Settings
from hyperframe.frame import GoAwayFrame

from shortener.rpc.settings import RpcSettings
from shortener.rpc.stock_call import BoundedConnection
from shortener.rpc.stock_streams import Budget, Calls

log = logging.getLogger(__name__)

FEED_SIZE = 4096
"""Bytes given to h2 at once: between two portions a connection's budget is looked at."""
_DRAIN_PING = b"draining"
_LAST_STREAM = 2**31 - 1
_IDLE_EVENTS = (PingReceived, RemoteSettingsChanged, PriorityUpdated, WindowUpdated, UnknownFrameReceived, StreamReset)


class _H2(H2Connection):
    """h2 closes a connection at the first stream too many; `Calls` refuses that stream alone (RFC 9113 5.1.2)."""

    @property
    def open_inbound_streams(self) -> int:
        """Forget closed streams, as h2 relies on, and never report too many."""
        _ = super().open_inbound_streams
        return 0


class _Events(EventsProcessor):
    """Hands h2's events on; ignores those it does not know (RFC 9113 4.1)."""

    def process(self, event: Event) -> None:
        if type(event) in self.__dict__.get("processors", ()):
            super().process(event)

    def process_data_received(self, event: DataReceived) -> None:
        if event.flow_controlled_length:  # grpclib's buffer takes an empty frame for the end
            super().process_data_received(event)


class StockProtocol(H2Protocol):
    """One accepted connection; among `connections` from the first byte (with TLS: after the handshake) to the last."""

    processor: EventsProcessor

    def __init__(
        self,
        mapping: Mapping[str, Handler],
        settings: RpcSettings,
        connections: set["StockProtocol"],
        on_refused: Callable[[], None],
    ) -> None:
        self._budget = Budget()
        self.calls = Calls(mapping, settings, self._budget)
        super().__init__(self.calls, _configuration(settings), _H2_CONFIGURATION)
        self._settings = settings
        self._connections = connections
        self._on_refused = on_refused
        self._timer: asyncio.TimerHandle | None = None
        self._greeted = False
        self._last_call = time.monotonic()
        self.transport: asyncio.Transport | None = None
        self.is_quiet = asyncio.Event()
        """Set once every stream that the peer opened before it learned of the drain has arrived."""
        self.gone = asyncio.Event()
        """Set once the connection is lost."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Greet with our settings, in the first flight; start the handshake's timer."""
        self.transport = cast("asyncio.Transport", transport)
        connection = _H2(config=self.h2_config)
        connection.local_settings = Settings(
            client=False,
            initial_values={
                SettingCodes.MAX_CONCURRENT_STREAMS: self._settings.streams_max,
                SettingCodes.MAX_HEADER_LIST_SIZE: self._settings.header_list_size_max,
                SettingCodes.INITIAL_WINDOW_SIZE: self.config.http2_stream_window_size,
                SettingCodes.ENABLE_PUSH: 0,
            },
        )
        connection.decoder.max_header_list_size = self._settings.header_list_size_max
        connection.initiate_connection()
        delta = self.config.http2_connection_window_size - 65_535
        if delta > 0:
            connection.increment_flow_control_window(delta)
        self.connection = BoundedConnection(connection, self.transport, config=self.config)
        self.connection.flush()
        self.connection.initialize()
        self.processor = _Events(self.handler, self.connection)
        self._timer = asyncio.get_running_loop().call_later(self._settings.handshake_seconds, self._check)
        self._connections.add(self)
        if len(self._connections) > self._settings.connections_max:
            self._on_refused()
            self._end("too many connections")

    def data_received(self, data: bytes) -> None:
        """Feed h2 in portions; a peer that breaks rules or wastes our time gets GOAWAY and is closed."""
        for start in range(0, len(data), FEED_SIZE):
            if self.connection.is_closing():
                return
            try:
                events = self.connection.feed(data[start : start + FEED_SIZE])
            except ProtocolError:
                log.debug("HTTP/2 protocol error", exc_info=True)
                self._end("protocol error")
                return
            except Exception:
                log.exception("HTTP/2 connection failed")
                self._end("internal error")
                return
            self._process(events)

    def _process(self, events: list[Event]) -> None:
        idle = 0
        for event in events:
            kind = type(event)
            if kind in _IDLE_EVENTS or (kind is DataReceived and not cast("DataReceived", event).data):
                idle += 1
            elif kind is RequestReceived:
                self._last_call = time.monotonic()
            elif kind is PingAckReceived and cast("PingAckReceived", event).ping_data == _DRAIN_PING:
                self.is_quiet.set()
            self._greeted = self._greeted or kind is RemoteSettingsChanged
            self.processor.process(event)
        if idle and self._budget.is_spent(idle):
            log.warning("HTTP/2 peer sends too many frames that do no work")
            self._go_away(ErrorCodes.ENHANCE_YOUR_CALM)
            self._end("too many frames")
        elif not self.connection.is_closing():
            self.connection.flush()

    def _check(self) -> None:
        """Close a connection that does not greet, or has been idle for too long; look again later."""
        if self.connection.is_closing():
            return
        idle_seconds = self._settings.idle_seconds
        quiet_for = time.monotonic() - self._last_call
        if not self._greeted:
            self._end("no greeting")
        elif idle_seconds and not self.calls.tasks and quiet_for >= idle_seconds:
            self._go_away(ErrorCodes.NO_ERROR)
            self._end("idle")
        elif idle_seconds:
            wait = max(idle_seconds - quiet_for, 1.0)
            self._timer = asyncio.get_running_loop().call_later(wait, self._check)

    def start_drain(self) -> None:
        """Tell the peer to open no more streams here; those on their way are served, `is_quiet` tells when.

        A GOAWAY with the highest stream number leaves what is on the wire alone; when the ping behind it comes back,
        all of that has arrived (RFC 9113 section 6.8).
        """
        if not self._greeted or self.connection.is_closing():
            self.is_quiet.set()
            return
        self._write_go_away(_LAST_STREAM, ErrorCodes.NO_ERROR)
        self.connection._connection.ping(_DRAIN_PING)
        self.connection.flush()

    def _go_away(self, code: ErrorCodes) -> None:
        if not self.connection.is_closing():
            self.connection.flush()
            self._write_go_away(self.connection._connection.highest_inbound_stream_id, code)

    def _write_go_away(self, last_stream: int, code: ErrorCodes) -> None:
        frame = GoAwayFrame(0)  # h2's own close_connection() would refuse everything afterwards
        frame.last_stream_id = last_stream
        frame.error_code = code
        assert self.transport is not None
        self.transport.write(frame.serialize())

    def finish(self) -> None:
        """Say goodbye and close; calls still running are cancelled."""
        self._go_away(ErrorCodes.NO_ERROR)
        self._end("server stopped")

    def _end(self, reason: str) -> None:
        if not self.connection.is_closing():
            self.connection.flush()
        self.processor.close(reason)
        self.is_quiet.set()

    def abort(self) -> None:
        """Drop the connection without waiting for what is unsent."""
        if self.transport is not None:
            self.transport.abort()

    def connection_lost(self, exc: BaseException | None) -> None:
        """Cancel what still runs."""
        if self._timer is not None:
            self._timer.cancel()
        self.is_quiet.set()
        self.gone.set()
        super().connection_lost(exc)
        self._connections.discard(self)


_H2_CONFIGURATION = H2Configuration(
    client_side=False,
    header_encoding="latin-1",  # never fails; `serve` refuses what is not ASCII, on its stream alone
    validate_inbound_headers=False,  # h2 would close the connection; `serve` answers the call
    validate_outbound_headers=False,
    normalize_inbound_headers=False,
    normalize_outbound_headers=False,
)


def _configuration(settings: RpcSettings) -> Configuration:
    """Make grpclib ping idle connections: it does so only when all these options are given together."""
    private: dict[str, Any] = {
        "_keepalive_time": settings.keepalive_seconds,
        "_keepalive_timeout": settings.keepalive_timeout_seconds,
        "_keepalive_permit_without_calls": True,
        "_http2_max_pings_without_data": 0,
        "_http2_min_sent_ping_interval_without_data": settings.keepalive_seconds / 3,
    }
    return Configuration(**private, http2_connection_window_size=1 << 20, http2_stream_window_size=1 << 18)
