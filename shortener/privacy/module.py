"""Opens the privacy module."""

from collections.abc import Iterator
from dataclasses import dataclass

from shortener.accounts import AccountService
from shortener.analytics.sqlite.export import SqliteClickExport
from shortener.analytics.sqlite.removal import SqliteClickRemoval
from shortener.core import Core
from shortener.links import LinkService
from shortener.observe.histogram import Gauge
from shortener.privacy.erasure import Erasure
from shortener.privacy.export import Exporter
from shortener.tasks import running


@dataclass(frozen=True, slots=True)
class Privacy:
    """The running parts of privacy."""

    exporter: Exporter
    erasure: Erasure


async def open_privacy(core: Core, accounts: AccountService, links: LinkService) -> Privacy:
    """Open export and erasure, which goes on with what an earlier process has begun."""
    database = core.database
    exporter = Exporter(accounts=accounts, links=links, clicks=SqliteClickExport(database), clock=core.clock)
    erasure = Erasure(
        accounts=accounts,
        links=links,
        clicks=SqliteClickRemoval(database),
        transactions=database.transaction,
    )
    await core.stack.enter_async_context(running("erasure", erasure.run()))
    core.gauges.extend(_gauges(erasure))
    return Privacy(exporter, erasure)


def _gauges(erasure: Erasure) -> Iterator[Gauge]:
    yield "shortener_accounts_erased_total", "Accounts erased.", {}, lambda: erasure.stats.accounts
    yield "shortener_links_erased_total", "Links erased with them.", {}, lambda: erasure.stats.links
