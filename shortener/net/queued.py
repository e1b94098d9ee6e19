"""Clients connected but not accepted yet when a listener closes: the system would reset them; here they are served."""

import asyncio
import contextlib
import socket
import ssl as tls
from collections.abc import Callable

TLS_SECONDS = 1.0
_QUEUED_MAX = 4096


class Queued:
    """The queue of a listening socket, held by a descriptor of its own. Without a socket it is empty."""

    def __init__(self, listening: socket.socket | None, *, ssl: tls.SSLContext | None = None) -> None:
        self._socket = None if listening is None else listening.dup()
        self._ssl = ssl

    async def serve(self, connection: Callable[[], asyncio.Protocol]) -> None:
        """Accept all who wait, then let go of the queue. Call it right after the listener was closed."""
        accepted = self._accepted()
        loop = asyncio.get_running_loop()
        seconds = None if self._ssl is None else TLS_SECONDS
        await asyncio.gather(
            *(
                loop.connect_accepted_socket(connection, each, ssl=self._ssl, ssl_handshake_timeout=seconds)
                for each in accepted
            ),
            return_exceptions=True,  # clients who have gone meanwhile, or do not speak TLS
        )

    def _accepted(self) -> list[socket.socket]:
        if self._socket is None:
            return []
        accepted: list[socket.socket] = []
        with self._socket as queue, contextlib.suppress(OSError):  # nobody waits any more, or no descriptor is left
            queue.setblocking(False)
            while len(accepted) < _QUEUED_MAX:
                client, _ = queue.accept()
                client.setblocking(False)
                accepted.append(client)
        return accepted

    def close(self) -> None:
        """Let go of the queue."""
        if self._socket is not None:
            self._socket.close()
