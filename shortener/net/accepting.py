"""How listeners begin to accept, the same for all of them."""

import asyncio
import socket
import ssl as tls
from collections.abc import Callable

BACKLOG = 1024
"""Connections that wait in the kernel to be accepted."""


async def accept_on(
    connection: Callable[[], asyncio.BaseProtocol],
    host: str,
    port: int,
    *,
    sock: socket.socket | None,
    ssl: tls.SSLContext | None = None,
    handshake_seconds: float | None = None,
) -> asyncio.Server:
    """Listen on `host` and `port` (0 = any), or on the bound `sock`. Raises OSError when that is not possible."""
    loop = asyncio.get_running_loop()
    seconds = handshake_seconds if ssl is not None else None
    if sock is None:
        return await loop.create_server(connection, host, port, ssl=ssl, ssl_handshake_timeout=seconds, backlog=BACKLOG)
    # asyncio takes `backlog` also for how often it accepts in a row. Without a descriptor left each of these fails and
    # schedules as many again a second later, until nothing else runs: so once at a time, and the queue made long after.
    server = await loop.create_server(connection, sock=sock, ssl=ssl, ssl_handshake_timeout=seconds, backlog=1)
    sock.listen(BACKLOG)
    return server
