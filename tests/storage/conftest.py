"""A database with one table, and a directory for tests of permissions."""

import os
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from shortener.storage.sqlite.database import SqliteDatabase
from tests.support.storage_databases import notes_database


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[SqliteDatabase]:
    async with notes_database(tmp_path / "test.db") as opened:
        yield opened


NOBODY = 65_534


@pytest.fixture
def commoner_dir() -> Iterator[Path]:
    """A directory of this process, which is not root for the time of the test: root may write everywhere."""
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        if os.geteuid() != 0:
            yield directory
            directory.chmod(0o700)
            return
        os.chown(directory, NOBODY, NOBODY)
        os.seteuid(NOBODY)
        try:
            yield directory
        finally:
            os.seteuid(0)
