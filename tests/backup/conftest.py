"""A data directory with links, clicks of a year, some clicks that are still in the journal, and keys."""

import asyncio
import shutil
import time
from pathlib import Path

import pytest
from rich.progress import Progress

from shortener.accounts.signing_keys import load_keys
from shortener.analytics.clients.visitors import open_visitors
from shortener.analytics.journal.journal import Journal, open_journal
from shortener.analytics.model import NOWHERE, START
from shortener.config.sections import Auth, Clicks
from shortener.idempotency.module import load_secret
from shortener.links import LinkRef
from tests.bench.dataset import YEAR_SECONDS, World, short_code
from tests.bench.load import fill

LINKS, CLICKS, WAITING = 20, 300, 3
NOW = 1_790_000_000


def click_on(journal: Journal) -> None:
    """Add a click on the first link to the journal."""
    client = journal.encode_client(b"v" * 16, NOWHERE)
    journal.append(LinkRef(1, short_code(0)), NOW, client, b"direct", "")


@pytest.fixture(scope="session")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("filled") / "data"
    asyncio.run(_fill(directory))
    return directory


@pytest.fixture
def data_dir(filled: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(filled, tmp_path / "data"))


async def _fill(directory: Path) -> None:
    await fill(directory, World(LINKS, CLICKS, NOW - YEAR_SECONDS, NOW, "zipf", 1), Progress(disable=True))
    load_keys(Auth(), directory)
    load_secret(directory / "idempotency.key")
    open_visitors(directory / "visitor.key", rotation="never", clock=lambda: int(time.time()))
    async with open_journal(directory / "journal", Clicks(), after=START) as journal:
        for _ in range(WAITING):
            click_on(journal)
