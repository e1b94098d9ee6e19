"""Opens the analytics module, from the click journal to statistics."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from shortener.analytics.clients.geo import country_name, open_geo
from shortener.analytics.clients.recorder import ClickDescriber, ClickRecorder
from shortener.analytics.clients.user_agent import UserAgents
from shortener.analytics.clients.visitors import open_visitors
from shortener.analytics.collector import ClickCollector, open_collector
from shortener.analytics.journal.journal import Journal, open_journal
from shortener.analytics.retention import ClickRetention
from shortener.analytics.service import AnalyticsService
from shortener.analytics.sqlite.clicks import SqliteClickStore, SqliteLogProgress
from shortener.analytics.sqlite.removal import SqliteClickRemoval
from shortener.analytics.sqlite.stats import SqliteStatsReader
from shortener.core import Core
from shortener.idempotency import Replays
from shortener.links import LinkService
from shortener.observe.histogram import Gauge
from shortener.storage import files
from shortener.tasks import running

COLLECTOR_STOP_SECONDS = 1.5
"""Clicks that cannot be stored within this time stay in the journal for the next start."""


@dataclass(frozen=True, slots=True)
class AnalyticsModule:
    """The running parts of analytics."""

    service: AnalyticsService
    recorder: ClickRecorder


async def open_analytics(core: Core, links: LinkService, replays: Replays) -> AnalyticsModule:
    """Open the click journal and everything over it. Raises `OperatorError`."""
    config, database, clock, stack, data_dir = core.config, core.database, core.clock, core.stack, core.data_dir
    rotation = config.analytics.visitor_key_rotation
    visitors = open_visitors(data_dir / files.VISITOR_KEY, rotation=rotation, clock=clock)
    cities = [Path(config.analytics.city_database)] if config.analytics.city_database else []
    geo = await stack.enter_async_context(open_geo(data_dir, cities))
    agents = UserAgents(size_max=config.analytics.clients_max)
    store = SqliteClickStore(count_bots=config.analytics.count_bots, values_max=config.analytics.values_max)
    progress = SqliteLogProgress(database)
    journal = await stack.enter_async_context(
        open_journal(data_dir / files.JOURNAL, config.clicks, after=await progress.position())
    )
    collector = ClickCollector(
        log=journal,
        progress=progress,
        store=store,
        transactions=database.transaction,
        count_clicks=links.add_clicks,
        parse_agent=agents,
        settings=config.clicks,
    )
    service = AnalyticsService(
        links=links,
        clicks=store,
        reader=SqliteStatsReader(database),
        transactions=database.transaction,
        clock=clock,
        describe=ClickDescriber(visitors, geo, agents, clock),
        country_name=country_name,
        replays=replays,
    )
    await stack.enter_async_context(open_collector(collector, stop_seconds=COLLECTOR_STOP_SECONDS))
    recorder = ClickRecorder(journal, visitors, geo, clock, clients_max=config.analytics.clients_max)
    retention = ClickRetention(
        removal=SqliteClickRemoval(database),
        transactions=database.transaction,
        clock=clock,
        days=config.analytics.retention_days,
    )
    if config.analytics.retention_days:  # else raw clicks are kept for ever
        await stack.enter_async_context(running("click-retention", retention.run()))
    core.gauges.extend(_gauges(journal, collector, retention))
    return AnalyticsModule(service, recorder)


def _gauges(journal: Journal, collector: ClickCollector, retention: ClickRetention) -> Iterator[Gauge]:
    yield "shortener_clicks_journaled_total", "Clicks handed to the kernel.", {}, lambda: journal.records
    yield "shortener_clicks_dropped_total", "Clicks lost because a write failed.", {}, lambda: journal.dropped
    yield "shortener_journal_sync_failures_total", "Syncs that failed.", {}, lambda: journal.sync.failures
    yield "shortener_clicks_stored_total", "Clicks moved to the database.", {}, lambda: collector.stats.clicks
    yield "shortener_click_batches_total", "Transactions that did.", {}, lambda: collector.stats.batches
    yield "shortener_click_batch_failures_total", "Those tried again.", {}, lambda: collector.stats.failures
    yield "shortener_journal_lost_bytes_total", "Damaged bytes skipped.", {}, lambda: collector.stats.lost_bytes
    yield "shortener_click_backlog_bytes", "Bytes of clicks that wait.", {}, collector.backlog_bytes
    yield "shortener_clicks_removed_total", "Old raw clicks removed.", {}, lambda: retention.stats.removed
