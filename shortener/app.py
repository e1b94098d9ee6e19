"""The composition root: builds the domain over its stores. Nothing else knows concrete classes."""

import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from shortener import errors
from shortener.accounts import AccountService
from shortener.accounts import rest as accounts_rest
from shortener.accounts.passwords import Argon2idPasswords
from shortener.accounts.signing_keys import load_keys
from shortener.accounts.sqlite import SqliteAccountStore
from shortener.accounts.throttle import LoginThrottle
from shortener.accounts.tokens import JwtTokens
from shortener.analytics import rest as analytics_rest
from shortener.analytics.clients.recorder import ClickRecorder
from shortener.analytics.collector import ClickCollector
from shortener.analytics.journal.journal import Journal
from shortener.analytics.module import open_analytics
from shortener.analytics.retention import ClickRetention
from shortener.analytics.rpc import AnalyticsRpc
from shortener.analytics.service import AnalyticsService
from shortener.analytics.sqlite.export import SqliteClickExport
from shortener.analytics.sqlite.removal import SqliteClickRemoval
from shortener.clock import Clock, system_clock
from shortener.config.loading import ConfigError
from shortener.config.sections import Config
from shortener.idempotency import Replays
from shortener.idempotency.module import open_replays
from shortener.ids import NewId, random_id
from shortener.limits import RateLimits
from shortener.links import LinkService, OwnAddresses, own_addresses
from shortener.links import rest as links_rest
from shortener.links.cache import CachedLinkStore
from shortener.links.codes import random_codes
from shortener.links.lists.screen import Screen, followed, load_screen
from shortener.links.qr import QrCodes
from shortener.links.rpc import UrlRpc
from shortener.links.sqlite import SqliteLinkStore
from shortener.net.addresses import ClientAddresses
from shortener.privacy import Erasure, Exporter
from shortener.privacy import rest as privacy_rest
from shortener.privacy.erasure import open_erasure
from shortener.privacy.rpc import PrivacyRpc
from shortener.rest.auth import Authenticate
from shortener.rest.routes import Route
from shortener.rpc.callers import Caller, caller_of
from shortener.storage import files
from shortener.storage.data_dir import lock_data_dir
from shortener.storage.sqlite.database import SqliteDatabase, open_database
from shortener.storage.sqlite.faults import unusable
from shortener.storage.sqlite.migrate import load_migrations, migrate, migrations_folder, pending
from shortener.tasks import finish, in_thread

QR_IMAGES_MAX = 1000


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
    users: PrivacyRpc
    statistics: AnalyticsRpc
    routes: list[Route]
    authenticate: Authenticate
    limits: RateLimits
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
    retention: ClickRetention
    erasure: Erasure


@asynccontextmanager
async def open_app(
    config: Config, *, redirect_port: int | None = None, clock: Clock = system_clock, new_id: NewId = random_id
) -> AsyncIterator[App]:
    """Open the data directory and run the domain over it until the block ends; nothing listens yet.

    `redirect_port` is the port that redirects, where it is not the configured one. Raises `OperatorError`.
    """
    stack = AsyncExitStack()
    try:
        try:
            app = await _build(stack, config, addresses_of(config, redirect_port), clock, new_id)
        except sqlite3.Error as error:  # A damaged page may show itself only when it is read.
            raise unusable(_path(config), error) from error
        yield app
    finally:
        await finish(stack.aclose())  # Whatever was opened is closed, also for a caller who is cancelled meanwhile.


async def _build(stack: AsyncExitStack, config: Config, own: OwnAddresses, clock: Clock, new_id: NewId) -> App:
    data_dir = Path(config.storage.data_dir)
    stack.enter_context(lock_data_dir(data_dir))
    await in_thread("migrate", lambda: migrate_database(config, clock))
    keys = await in_thread("keys", lambda: load_keys(config.auth, data_dir))
    database = await stack.enter_async_context(open_database(_path(config), config.storage))
    cache = CachedLinkStore(SqliteLinkStore(database), config.cache)
    stack.push_async_callback(cache.close)
    qr_codes = QrCodes(size_max=QR_IMAGES_MAX, waiting_max=config.links.qr_queue_max)
    screen = await in_thread("lists", lambda: load_screen(config.links))
    if screen is not None:
        await stack.enter_async_context(followed(screen, every_seconds=config.links.lists_check_seconds))
    replays = await stack.enter_async_context(open_replays(database, data_dir, config.idempotency, clock=clock))
    throttle = LoginThrottle(config.limits)
    passwords = Argon2idPasswords(config.auth)
    stack.push_async_callback(passwords.close)
    accounts = AccountService(
        SqliteAccountStore(database),
        database.transaction,
        passwords=passwords,
        tokens=JwtTokens(keys, config.auth, clock=clock, new_id=new_id),
        throttle=throttle,
        clock=clock,
        registration_is_open=config.auth.registration == "open",
    )
    await accounts.open()
    links = LinkService(
        store=cache,
        transactions=database.transaction,
        clock=clock,
        new_code=random_codes(config.links.code_length),
        render_qr=qr_codes,
        own=own,
        blocks=screen.blocks if screen is not None and screen.hosts is not None else None,
        replays=replays,
        is_erased=accounts.is_erased,
    )
    statistics = await open_analytics(stack, config, clock, database, links, replays)
    client_addresses = ClientAddresses(config.analytics.trusted_proxies, memo_max=config.analytics.clients_max)
    caller = caller_of(config.grpc, client_addresses)
    exporter = Exporter(accounts=accounts, links=links, clicks=SqliteClickExport(database), clock=clock)
    erasure = Erasure(
        accounts=accounts,
        links=links,
        clicks=SqliteClickRemoval(database),
        transactions=database.transaction,
        scrub=database.scrub,
    )
    await stack.enter_async_context(open_erasure(erasure))
    return App(
        config=config,
        addresses={},
        clock=clock,
        new_id=new_id,
        links=links,
        accounts=accounts,
        analytics=statistics.service,
        urls=UrlRpc(links),
        users=PrivacyRpc(accounts, exporter, erasure, caller=caller),
        statistics=AnalyticsRpc(statistics.service),
        routes=[
            *accounts_rest.routes(accounts),
            *privacy_rest.routes(accounts, exporter, erasure, exports_max=config.gateway.exports_max),
            *links_rest.routes(links),
            *analytics_rest.routes(statistics.service),
        ],
        authenticate=accounts_rest.authenticator(accounts),
        limits=RateLimits(config.limits),
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
        retention=statistics.retention,
        erasure=erasure,
    )


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
    return Path(config.storage.data_dir) / files.DATABASE


def addresses_of(config: Config, redirect_port: int | None) -> OwnAddresses:
    """Return where short URLs live; `redirect_port` where that is not the configured one. Raises `ConfigError`."""
    port = config.redirect.port if redirect_port is None else redirect_port
    try:
        return own_addresses(config.redirect.base_url or f"http://localhost:{port}", port)
    except errors.Invalid as error:
        raise ConfigError(f"[redirect] {error.message}, not {config.redirect.base_url!r:.80}") from None
