"""The composition root: builds the domain over its stores. Nothing else knows concrete classes."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from shortener import errors, rates
from shortener.accounts import AccountService
from shortener.accounts import rest as accounts_rest
from shortener.accounts.keys import load_keys
from shortener.accounts.passwords import Argon2idPasswords
from shortener.accounts.rpc import UserRpc
from shortener.accounts.store import SqliteAccountStore
from shortener.accounts.throttle import LoginThrottle
from shortener.accounts.tokens import JwtTokens
from shortener.analytics import rest as analytics_rest
from shortener.analytics.collector import ClickCollector, open_collector
from shortener.analytics.countries import country_name
from shortener.analytics.describe import ClickDescriber, ClickRecorder
from shortener.analytics.geo import open_geo
from shortener.analytics.journal import Durability, Journal, open_journal
from shortener.analytics.reports import SqliteStatsReader
from shortener.analytics.rpc import AnalyticsRpc
from shortener.analytics.service import AnalyticsService
from shortener.analytics.store import SqliteClickStore
from shortener.analytics.user_agent import UserAgents
from shortener.analytics.visitors import Rotation, open_visitors
from shortener.clock import Clock, system_clock
from shortener.config import ConfigError
from shortener.ids import NewId, random_id
from shortener.limits import Limits
from shortener.links import LinkService, OwnAddresses, own_addresses
from shortener.links import rest as links_rest
from shortener.links.blocklist import ListError
from shortener.links.cache import CachedLinkStore
from shortener.links.codes import random_codes
from shortener.links.qr import QrCodes
from shortener.links.rpc import UrlRpc
from shortener.links.screen import Screen, followed, load_screen
from shortener.links.store import SqliteLinkStore
from shortener.replays import Replays
from shortener.replays.keeping import open_replays
from shortener.sections import Config
from shortener.storage.data_dir import lock_data_dir
from shortener.storage.migrate import load_migrations, migrate, migrations_folder, pending
from shortener.storage.sqlite import SqliteDatabase, open_database
from shortener.tasks import finish, in_thread
from shortener.transport.addresses import ClientAddresses
from shortener.transport.auth import Authenticate
from shortener.transport.callers import Caller
from shortener.transport.routes import Route

DATABASE_FILE = "shortener.db"
QR_IMAGES_MAX = 1000
COLLECTOR_STOP_SECONDS = 1.5
"""Clicks that cannot be stored within this time stay in the journal for the next start."""


@dataclass(frozen=True, slots=True)
class App:
    """The running domain: three services, their edges, and the parts whose numbers are watched."""

    config: Config
    addresses: dict[str, str]
    """HOST:PORT of each listener, by the names of the ready line; empty when nothing listens."""
    clock: Clock
    new_id: NewId
    links: LinkService
    accounts: AccountService
    analytics: AnalyticsService
    urls: UrlRpc
    users: UserRpc
    statistics: AnalyticsRpc
    routes: list[Route]
    authenticate: Authenticate
    limits: Limits
    throttle: LoginThrottle
    client_addresses: ClientAddresses
    rpc_caller: Caller
    clicks: ClickRecorder
    cache: CachedLinkStore
    database: SqliteDatabase
    journal: Journal
    collector: ClickCollector
    passwords: Argon2idPasswords
    qr_codes: QrCodes
    screen: Screen | None
    """What is kept from visitors by the operator's lists; None without any."""
    replays: Replays


@asynccontextmanager
async def open_app(
    config: Config, *, redirect_port: int | None = None, clock: Clock = system_clock, new_id: NewId = random_id
) -> AsyncIterator[App]:
    """Open the data directory and run the domain over it until the block ends; nothing listens yet.

    `redirect_port` is the port that redirects, where it is not the configured one. Raises `storage.StorageError`,
    `accounts.keys.SecretError`, `analytics.faults.DataFileError` and `config.ConfigError`, each with one line for the
    operator.
    """
    stack = AsyncExitStack()
    try:
        yield await _build(stack, config, addresses_of(config, redirect_port), clock, new_id)
    finally:
        await finish(stack.aclose())  # Whatever was opened is closed, also for a caller who is cancelled meanwhile.


async def _build(stack: AsyncExitStack, config: Config, own: OwnAddresses, clock: Clock, new_id: NewId) -> App:
    data_dir = Path(config.storage.data_dir)
    stack.enter_context(lock_data_dir(data_dir))
    await in_thread("migrate", lambda: migrate_database(config, clock))
    keys = await in_thread(
        "keys", lambda: load_keys(secret=config.auth.secret, secret_file=config.auth.secret_file, data_dir=data_dir)
    )
    database = await stack.enter_async_context(_database(config))
    cache = CachedLinkStore(
        SqliteLinkStore(database),
        size_max=config.cache.size_max,
        ttl_seconds=config.cache.ttl_seconds,
        unknown_size_max=config.cache.missing_size_max,
        unknown_ttl_seconds=config.cache.missing_ttl_seconds,
    )
    stack.push_async_callback(cache.close)
    qr_codes = QrCodes(size_max=QR_IMAGES_MAX, waiting_max=config.links.qr_queue_max)
    screen = await in_thread("lists", lambda: screen_of(config))
    if screen is not None:
        await stack.enter_async_context(followed(screen, every_seconds=config.links.lists_check_seconds))
    kept = config.idempotency
    replays = await stack.enter_async_context(
        open_replays(database, data_dir, clock=clock, ttl_seconds=kept.ttl_seconds, keys_max=kept.keys_max)
    )
    links = LinkService(
        store=cache,
        transactions=database.transaction,
        clock=clock,
        new_code=random_codes(config.links.code_length),
        render_qr=qr_codes,
        own=own,
        blocks=screen.blocks if screen is not None and screen.hosts is not None else None,
        replays=replays,
    )
    passwords = Argon2idPasswords(threads=config.auth.hash_threads, queue_max=config.auth.hash_queue_max)
    stack.push_async_callback(passwords.close)
    throttle = rates.login_throttle(config)
    accounts = AccountService(
        SqliteAccountStore(database),
        database.transaction,
        passwords=passwords,
        tokens=_tokens(config, keys, clock, new_id),
        throttle=throttle,
        clock=clock,
    )
    statistics = await _open_analytics(stack, config, clock, database, links, replays)
    client_addresses = rates.client_addresses(config)
    caller = rates.rpc_caller(config, client_addresses)
    return App(
        config=config,
        addresses={},
        clock=clock,
        new_id=new_id,
        links=links,
        accounts=accounts,
        analytics=statistics.service,
        urls=UrlRpc(links),
        users=UserRpc(accounts, caller=caller),
        statistics=AnalyticsRpc(statistics.service),
        routes=[*accounts_rest.routes(accounts), *links_rest.routes(links), *analytics_rest.routes(statistics.service)],
        authenticate=accounts_rest.authenticator(accounts),
        limits=rates.limits(config),
        throttle=throttle,
        client_addresses=client_addresses,
        rpc_caller=caller,
        clicks=statistics.recorder,
        cache=cache,
        database=database,
        journal=statistics.journal,
        collector=statistics.collector,
        passwords=passwords,
        qr_codes=qr_codes,
        screen=screen,
        replays=replays,
    )


@dataclass(frozen=True, slots=True)
class _Analytics:
    """The running parts of analytics."""

    service: AnalyticsService
    recorder: ClickRecorder
    journal: Journal
    collector: ClickCollector


async def _open_analytics(
    stack: AsyncExitStack,
    config: Config,
    clock: Clock,
    database: SqliteDatabase,
    links: LinkService,
    replays: Replays,
) -> _Analytics:
    data_dir = Path(config.storage.data_dir)
    rotation = cast("Rotation", config.analytics.visitor_key_rotation)
    visitors = open_visitors(data_dir / "visitor.key", rotation=rotation, clock=clock)
    cities = [Path(config.analytics.city_database)] if config.analytics.city_database else []
    geo = await stack.enter_async_context(open_geo(data_dir, cities))
    agents = UserAgents(size_max=config.analytics.clients_max)
    store = SqliteClickStore(database, count_bots=config.analytics.count_bots)
    journal = await stack.enter_async_context(
        open_journal(
            data_dir / "journal",
            after=await store.position(),
            segment_size_max=config.clicks.segment_size_max,
            durability=cast("Durability", config.clicks.durability),
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
    return _Analytics(service, recorder, journal, collector)


def pending_migrations(config: Config) -> list[str]:
    """Return the names of the migrations that the database still needs, and change nothing."""
    migrations = load_migrations(migrations_folder())
    timeout = config.storage.busy_timeout_seconds
    return [migration.file_name for migration in pending(_path(config), migrations, busy_timeout_seconds=timeout)]


def migrate_database(config: Config, clock: Clock, on_applied: Callable[[], None] = lambda: None) -> list[str]:
    """Bring the database up to date and return the names of the migrations applied. The caller owns the directory.

    `on_applied` hears of each one after its commit.
    """
    applied = migrate(
        _path(config),
        load_migrations(migrations_folder()),
        busy_timeout_seconds=config.storage.busy_timeout_seconds,
        clock=clock,
        on_applied=lambda _: on_applied(),
    )
    return [migration.file_name for migration in applied]


def _path(config: Config) -> Path:
    return Path(config.storage.data_dir) / DATABASE_FILE


def addresses_of(config: Config, redirect_port: int | None) -> OwnAddresses:
    """Return where short URLs live; `redirect_port` where that is not the configured one. Raises `ConfigError`."""
    port = config.redirect.port if redirect_port is None else redirect_port
    try:
        return own_addresses(config.redirect.base_url or f"http://localhost:{port}", port)
    except errors.Invalid as error:
        raise ConfigError(f"[redirect] {error.message}, not {config.redirect.base_url!r:.80}") from None


def screen_of(config: Config) -> Screen | None:
    """Read the operator's lists, None when there are none. Blocks. Raises `ConfigError`."""
    links = config.links
    try:
        return load_screen(
            blocklist=links.blocklist_file,
            blocklist_size_max=links.blocklist_size_max,
            quarantine=links.quarantine_file,
            quarantine_size_max=links.quarantine_size_max,
        )
    except ListError as error:
        raise ConfigError(str(error)) from None


def _database(config: Config) -> AbstractAsyncContextManager[SqliteDatabase]:
    storage = config.storage
    return open_database(
        _path(config),
        readers=storage.readers,
        batch_max=storage.batch_max,
        queue_max=storage.queue_max,
        gather_seconds=storage.gather_seconds,
        busy_timeout_seconds=storage.busy_timeout_seconds,
        cache_bytes=storage.cache_bytes,
    )


def _tokens(config: Config, keys: tuple[bytes, ...], clock: Clock, new_id: NewId) -> JwtTokens:
    return JwtTokens(
        keys,
        ttl_seconds=config.auth.token_ttl_seconds,
        issuer=config.auth.issuer,
        audience=config.auth.audience,
        cache_size_max=config.auth.token_cache_size_max,
        clock=clock,
        new_id=new_id,
    )
