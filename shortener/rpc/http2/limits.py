"""The HTTP/2 server's own limits, beside what `RpcSettings` says of calls."""

from dataclasses import dataclass, replace
from typing import Self

_RECEIVE_MIN, _RECEIVE_MESSAGES = 1_048_576, 4
_HELD_MIN, _HELD_MESSAGES = 8_388_608, 16


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds on what one client may make the server hold or do.

    `idle_frames_max` is a connection's budget of frames that do no work (see `budget`); `idle_frames_refill` comes
    back each second. `window_size` is the credit for request bytes, in bytes, of a stream and of a connection alike.
    `receive_max` bounds the bytes of unfinished requests on one connection, `held_max` those on the whole server; with
    0 both follow from the largest message (see `scaled`). A message must arrive within `message_seconds`. `send_max`
    bounds the answer bytes that wait for the client's window on one connection, `unsent_total_max` those on the whole
    server. A client that lets answers wait `write_seconds` without taking any loses its connection.
    `slice_seconds` is how long one connection may keep the event loop before others have their turn.
    A client is given `drain_ping_seconds` to say that it has heard that we leave, as by grpc-go; calls that come later
    are refused.
    """

    idle_frames_max: int = 1000
    idle_frames_refill: int = 100
    window_size: int = 262_144
    receive_max: int = 0
    held_max: int = 0
    message_seconds: float = 10.0
    send_max: int = 262_144
    unsent_total_max: int = 16_777_216
    write_seconds: float = 20.0
    slice_seconds: float = 0.002
    header_table_size: int = 4096
    header_cache_max: int = 128
    drain_ping_seconds: float = 5.0
    sweep_seconds: float = 0.5

    def scaled(self, message_size_max: int) -> Self:
        """Return the same limits with each 0 replaced by what messages of up to `message_size_max` bytes need.

        A connection may then hold four of the largest messages (at least 1 MiB), the server sixteen (8 MiB).
        """
        return replace(
            self,
            receive_max=self.receive_max or max(_RECEIVE_MIN, _RECEIVE_MESSAGES * message_size_max),
            held_max=self.held_max or max(_HELD_MIN, _HELD_MESSAGES * message_size_max),
        )
