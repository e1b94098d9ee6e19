"""A database with one table."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from shortener.storage.sqlite import SqliteDatabase
from tests.storage.databases import notes_database


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[SqliteDatabase]:
    async with notes_database(tmp_path / "test.db") as opened:
        yield opened
