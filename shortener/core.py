"""What every module is built on, and what it leaves behind: files to close and numbers to show."""

from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

from shortener.clock import Clock
from shortener.config.sections import Config
from shortener.ids import NewId
from shortener.limits import RateLimits, gauges_of
from shortener.net.addresses import ClientAddresses
from shortener.observe.histogram import Gauge
from shortener.storage import files
from shortener.storage.data_dir import lock_data_dir
from shortener.storage.sqlite.database import SqliteDatabase, open_database
from shortener.storage.sqlite.migrate import load_migrations, migrate
from shortener.tasks import in_thread


@dataclass(frozen=True, slots=True)
class Core:
    """The shared parts. Modules add what must be closed to `stack`, and what `/metrics` shows of them to `gauges`."""

    config: Config
    clock: Clock
    new_id: NewId
    database: SqliteDatabase
    limits: RateLimits
    client_addresses: ClientAddresses
    stack: AsyncExitStack
    gauges: list[Gauge]

    @property
    def data_dir(self) -> Path:
        """The data directory, which this process owns."""
        return Path(self.config.storage.data_dir)


async def open_core(stack: AsyncExitStack, config: Config, clock: Clock, new_id: NewId) -> Core:
    """Lock the data directory, bring its database up to date and open it; `stack` closes it.

    Raises `OperatorError`.
    """
    data_dir, storage = Path(config.storage.data_dir), config.storage
    path = data_dir / files.DATABASE
    stack.enter_context(lock_data_dir(data_dir))
    migrations = load_migrations()
    timeout = storage.busy_timeout_seconds
    await in_thread("migrate", lambda: migrate(path, migrations, busy_timeout_seconds=timeout, clock=clock))
    database = await stack.enter_async_context(open_database(path, storage))
    limits = RateLimits(config.limits)
    return Core(
        config=config,
        clock=clock,
        new_id=new_id,
        database=database,
        limits=limits,
        client_addresses=ClientAddresses(config.analytics.trusted_proxies, memo_max=config.analytics.clients_max),
        stack=stack,
        gauges=[*database.gauges(), *gauges_of(limits.limiters)],
    )
