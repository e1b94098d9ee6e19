"""The whole domain over a data directory, without listeners, and people in it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple

import pytest

import shortener
from shortener.app import App
from shortener.links import LinkDraft
from tests.support.click_builders import IPHONE

EMAIL, PASSWORD = "canary-person@example.com", "a-good-password"
DESTINATION = "https://example.com/canary-destination"
LONG_DESTINATION = f"{DESTINATION}?{'x' * 6000}"  # does not fit a page


class Home(NamedTuple):
    """Where a service keeps its data."""

    data_dir: Path

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[App]:
        storage = shortener.Storage(data_dir=str(self.data_dir), gather_seconds=0.0)
        async with shortener.open(shortener.Config(storage=storage), serve=False) as app:
            yield app

    def files(self) -> dict[str, bytes]:
        """Every file of the data directory."""
        return {path.name: path.read_bytes() for path in self.data_dir.rglob("*") if path.is_file()}


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "data")


@pytest.fixture
async def app(home: Home) -> AsyncIterator[App]:
    async with home.opened() as opened:
        yield opened


async def register(app: App, email: str = EMAIL) -> tuple[str, str]:
    """Make an account; return its id and a token."""
    name = "Canary Person" if email == EMAIL else "Somebody Else"
    signed_in = await app.accounts.register(email, PASSWORD, name)
    return str(signed_in.account.id), signed_in.token


async def fill(app: App, owner_id: str, prefix: str) -> list[str]:
    """Give an owner a live, an expired and a deleted link, each clicked twice; return their codes."""
    codes = [f"{prefix}-live", f"{prefix}-expired", f"{prefix}-deleted"]
    for code, expires_at in zip(codes, (0, 1_700_000_000, 0), strict=True):
        destination = LONG_DESTINATION if code.endswith("live") else f"{DESTINATION}/{code}"
        await app.links.create(LinkDraft(destination, owner_id, expires_at=expires_at, alias=code))
        for address in ("192.0.2.1", "192.0.2.2"):
            await app.analytics.record(
                code, address=address, user_agent=IPHONE, referrer="https://news.example/a", at=0
            )
    await app.links.delete(codes[2])
    return codes
