"""A database with the table of accounts, and services on fakes."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from shortener.accounts.service import AccountService
from shortener.config.sections import Storage
from shortener.storage.sqlite.database import SqliteDatabase, open_database
from shortener.storage.sqlite.migrate import load_migrations, migrate
from tests.accounts.fakes import FakePasswords, MemoryAccountStore, a_service
from tests.support.fakes import FakeClock


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[SqliteDatabase]:
    path = tmp_path / "test.db"
    migrate(path, load_migrations(), busy_timeout_seconds=1, clock=FakeClock())
    opening = open_database(
        path,
        Storage(
            readers=2, batch_max=100, queue_max=1000, gather_seconds=0, busy_timeout_seconds=1, cache_bytes=1 << 20
        ),
    )
    async with opening as opened:
        yield opened


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def store() -> MemoryAccountStore:
    return MemoryAccountStore()


@pytest.fixture
def passwords() -> FakePasswords:
    return FakePasswords()


@pytest.fixture
def service(store: MemoryAccountStore, passwords: FakePasswords, clock: FakeClock) -> AccountService:
    return a_service(store, passwords, clock)


@pytest.fixture
def closed_service(store: MemoryAccountStore, passwords: FakePasswords, clock: FakeClock) -> AccountService:
    return a_service(store, passwords, clock, registration_is_open=False)
