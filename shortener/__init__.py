"""A URL shortener in one process: gRPC, REST and fast redirects, with every click counted exactly.

Embed it: `async with shortener.open(config) as app:` runs it inside your event loop.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from shortener.config.sections import (
    Analytics,
    Auth,
    Cache,
    Clicks,
    Config,
    Gateway,
    Grpc,
    Links,
    Log,
    Redirect,
    Server,
    Storage,
)
from shortener.errors import OperatorError
from shortener.version import __version__

if TYPE_CHECKING:
    from shortener.app import App

__all__ = [
    "Analytics",
    "Auth",
    "Cache",
    "Clicks",
    "Config",
    "Gateway",
    "Grpc",
    "Links",
    "Log",
    "OperatorError",
    "Redirect",
    "Server",
    "Storage",
    "__version__",
    "open",
]


@asynccontextmanager
async def open(config: Config | None = None, *, serve: bool = True) -> "AsyncIterator[App]":  # noqa: A001 - read as shortener.open
    """Run the service inside the running event loop until the block ends, and give its domain.

    With `serve` the five listeners run too: `app.addresses` tells where; without, only the domain does. The
    configuration is the embedded default when none is given. No signal handler is set and no logging is configured;
    the end drains, and leaves no task, thread or file. Raises `OperatorError`, the line that
    `shortener serve` would end with.
    """
    # Imported here so that `import shortener` costs nothing, and its modules can be used without any framework.
    from shortener.app import open_app  # noqa: PLC0415 - see above
    from shortener.config import loading as checks  # noqa: PLC0415 - see above

    config = config or Config()
    checks.check(config)
    if not serve:
        async with open_app(config) as app:
            yield app
        return
    from shortener.server.listeners import open_servers  # noqa: PLC0415 - see above
    from shortener.server.sockets import bind  # noqa: PLC0415 - see above

    with bind(config) as sockets:
        async with open_servers(config, sockets) as servers:
            yield servers.app
