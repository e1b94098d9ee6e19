"""The wall clock set forwards and back: what ends by it ends exactly, what waits does not notice."""

from collections.abc import Callable
from pathlib import Path

import pytest

import shortener
from shortener.app import App, open_app
from shortener.links import LinkDraft
from shortener.redirect.decision import Decision, Visit, decider
from tests.support.fakes import FakeClock

Size = Callable[[int, int], int]
Figure = Callable[[str, str], None]
NOW = 1_767_225_600
DAY = 86_400
YEAR = 365 * DAY
PASSWORD = "a-good-password"
VISIT = Visit("", "", ())


async def use(app: App, clock: FakeClock, token: str, ends: str, ends_at: int, lasting: str) -> None:
    """Everything that looks at the clock, at whatever time it shows."""
    now = clock()
    claims = app.accounts.validate(token)
    assert (claims is not None) == (now < NOW + 604_800)
    decide = decider(None)
    found = await app.cache.find(ends)
    assert decide(found, VISIT, now) is (Decision.REDIRECT if now < ends_at else Decision.GONE)
    assert decide(await app.cache.find(lasting), VISIT, now) is Decision.REDIRECT
    made = await app.links.create(LinkDraft("https://example.com/", "clock"))
    assert made.link.created_at == now
    await app.analytics.record(lasting, address="192.0.2.1", user_agent="", referrer="", at=0)
    stats = await app.analytics.stats(lasting, now, now + 1)
    assert stats.total_clicks >= 1
    series = await app.analytics.time_series(lasting, max(1, now - DAY), now + 1, "hour")
    assert series[-1].clicks >= 1
    assert (await app.analytics.geo_stats(lasting, 0)).countries[0].click_count >= 1


@pytest.mark.parametrize("rotation", ["never", "daily"])
async def test_a_clock_that_jumps(tmp_path: Path, size: Size, figure: Figure, rotation: str) -> None:
    jumps = [3600, -7200, DAY, -DAY, 30 * DAY, -60 * DAY, 10 * YEAR, -10 * YEAR, -40 * YEAR, 40 * YEAR] * size(1, 50)
    clock = FakeClock(NOW)
    config = shortener.Config(
        storage=shortener.Storage(data_dir=str(tmp_path / "data")),
        analytics=shortener.Analytics(visitor_key_rotation=rotation),
    )
    async with open_app(config, clock=clock) as app:
        account = await app.accounts.register("clock@example.com", PASSWORD, "Clock")
        token = (await app.accounts.login("clock@example.com", PASSWORD)).token
        assert account
        ends_at = NOW + 5000
        ends = await app.links.create(LinkDraft("https://example.com/ends", "clock", expires_at=ends_at))
        lasting = await app.links.create(LinkDraft("https://example.com/lasts", "clock"))
        uses = 0
        for jump in [0, *jumps]:
            clock.tick(jump)
            await use(app, clock, token, ends.link.short_code, ends_at, lasting.link.short_code)
            uses += 1
        total = (await app.analytics.stats(lasting.link.short_code, 0, 0)).total_clicks
        assert total == uses == (await app.links.get(lasting.link.short_code)).counts.clicks
    async with open_app(config, clock=lambda: NOW - YEAR) as app:  # and it starts with a clock that was set back
        assert (await app.links.get(lasting.link.short_code)).counts.clicks == uses
    figure(
        "Clock set forwards and back",
        f"visitor keys {rotation}: {len(jumps)} jumps of an hour to 40 years: expiry, tokens, clicks and statistics "
        "right after each",
    )
