"""The part of the composition root that builds analytics: from the click journal to statistics."""

from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

from shortener.analytics.clients.countries import country_name
from shortener.analytics.clients.geo import open_geo
from shortener.analytics.clients.recorder import ClickDescriber, ClickRecorder
from shortener.analytics.clients.user_agent import UserAgents
from shortener.analytics.clients.visitors import open_visitors
from shortener.analytics.collector import ClickCollector, open_collector
from shortener.analytics.journal.journal import Journal, open_journal
from shortener.analytics.retention import ClickRetention, open_retention
from shortener.analytics.service import AnalyticsService
from shortener.analytics.sqlite.clicks import SqliteClickStore
from shortener.analytics.sqlite.removal import SqliteClickRemoval
from shortener.analytics.sqlite.stats import SqliteStatsReader
from shortener.clock import Clock
from shortener.config.sections import Config
from shortener.idempotency import Replays
from shortener.links import LinkService
from shortener.storage import files
from shortener.storage.sqlite.database import SqliteDatabase

COLLECTOR_STOP_SECONDS = 1.5
"""Clicks that cannot be stored within this time stay in the journal for the next start."""


@dataclass(frozen=True, slots=True)
class Analytics:
    """The running parts of analytics."""

    service: AnalyticsService
    recorder: ClickRecorder
    journal: Journal
    collector: ClickCollector
    retention: ClickRetention


async def open_analytics(
    stack: AsyncExitStack, config: Config, clock: Clock, database: SqliteDatabase, links: LinkService, replays: Replays
) -> Analytics:
    """Open the journal and everything over it; `stack` closes it in reverse. Raises `OperatorError`."""
    data_dir = Path(config.storage.data_dir)
    rotation = config.analytics.visitor_key_rotation
    visitors = open_visitors(data_dir / files.VISITOR_KEY, rotation=rotation, clock=clock)
    cities = [Path(config.analytics.city_database)] if config.analytics.city_database else []
    geo = await stack.enter_async_context(open_geo(data_dir, cities))
    agents = UserAgents(size_max=config.analytics.clients_max)
    store = SqliteClickStore(database, count_bots=config.analytics.count_bots)
    journal = await stack.enter_async_context(
        open_journal(
            data_dir / files.JOURNAL,
            after=await store.position(),
            segment_size_max=config.clicks.segment_size_max,
            durability=config.clicks.durability,
            sync_seconds=config.clicks.sync_seconds,
        )
    )
    collector = ClickCollector(
        journal=journal,
        store=store,
        transactions=database.transaction,
        count_clicks=links.add_clicks,
        parse_agent=agents,
        flush_seconds=config.clicks.flush_seconds,
        batch_max=config.clicks.batch_max,
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
    await stack.enter_async_context(
        open_collector(collector, replay_seconds=config.clicks.replay_seconds, stop_seconds=COLLECTOR_STOP_SECONDS)
    )
    recorder = ClickRecorder(journal, visitors, geo, clients_max=config.analytics.clients_max)
    retention = ClickRetention(
        removal=SqliteClickRemoval(database),
        transactions=database.transaction,
        clock=clock,
        days=config.analytics.retention_days,
    )
    await stack.enter_async_context(open_retention(retention))
    return Analytics(service, recorder, journal, collector, retention)
