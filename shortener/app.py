"""The composition root: opens the modules over their shared parts. It reads as the list of what exists."""

import sqlite3
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from shortener.accounts import AccountService
from shortener.accounts.api import account_operations
from shortener.accounts.module import open_accounts
from shortener.analytics.api import analytics_operations
from shortener.analytics.clients.recorder import ClickRecorder
from shortener.analytics.module import open_analytics
from shortener.analytics.service import AnalyticsService
from shortener.api import Operation
from shortener.clock import Clock, system_clock
from shortener.config.sections import Config
from shortener.core import Core, open_core
from shortener.idempotency.module import open_replays
from shortener.ids import NewId, random_id
from shortener.links import LinkService
from shortener.links.api import link_operations
from shortener.links.cache import MemoryLinkCache
from shortener.links.lists.screen import Screen
from shortener.links.module import open_links
from shortener.privacy.api import privacy_operations
from shortener.privacy.module import Privacy, open_privacy
from shortener.storage import files
from shortener.storage.sqlite.faults import unusable
from shortener.tasks import finish


@dataclass(frozen=True, slots=True)
class App:
    """The running modules, and what the listeners serve of them."""

    core: Core
    addresses: dict[str, str]
    """HOST:PORT of each listener, by the names of the ready line; empty when nothing listens."""
    links: LinkService
    accounts: AccountService
    analytics: AnalyticsService
    privacy: Privacy
    cache: MemoryLinkCache
    screen: Screen | None
    """What is kept from visitors by the operator's lists; None without any."""
    clicks: ClickRecorder
    operations: list[Operation]
    """What callers can ask for, over both wires."""


@asynccontextmanager
async def open_app(config: Config, *, clock: Clock = system_clock, new_id: NewId = random_id) -> AsyncIterator[App]:
    """Open the data directory and run the modules over it until the block ends; nothing listens yet.

    Raises `OperatorError`.
    """
    stack = AsyncExitStack()
    try:
        try:
            app = await _open(await open_core(stack, config, clock, new_id))
        except sqlite3.Error as error:  # A damaged page may show itself only when it is read.
            raise unusable(Path(config.storage.data_dir) / files.DATABASE, error) from error
        yield app
    finally:
        await finish(stack.aclose())  # Whatever was opened is closed, also for a caller who is cancelled meanwhile.


async def _open(core: Core) -> App:
    replays = await open_replays(core)
    accounts = await open_accounts(core)
    links = await open_links(core, replays, is_erased=accounts.is_erased)
    analytics = await open_analytics(core, links.service, replays)
    privacy = await open_privacy(core, accounts, links.service)
    return App(
        core=core,
        addresses={},
        links=links.service,
        accounts=accounts,
        analytics=analytics.service,
        privacy=privacy,
        cache=links.cache,
        screen=links.screen,
        clicks=analytics.recorder,
        operations=[
            *account_operations(accounts),
            *privacy_operations(
                accounts, privacy.exporter, privacy.erasure, exports_max=core.config.gateway.exports_max
            ),
            *link_operations(links.service),
            *analytics_operations(analytics.service),
        ],
    )
