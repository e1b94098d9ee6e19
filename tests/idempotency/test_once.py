"""Creates and clicks with a key happen once: in services on the real database, also at the same time."""

import asyncio
import shutil
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shortener import errors
from shortener.analytics.service import AnalyticsService
from shortener.analytics.sqlite.clicks import SqliteClickStore
from shortener.analytics.sqlite.stats import SqliteStatsReader
from shortener.idempotency.sqlite import SqliteReplayStore
from shortener.links import Created, LinkDraft, LinkService
from shortener.links.sqlite import SqliteLinkStore
from shortener.storage.sqlite.database import SqliteDatabase
from tests.support.analytics_services import describe
from tests.support.databases import migrate_file, opened, rows
from tests.support.fakes import FakeClock
from tests.support.idempotency_fakes import DAY, some_replays
from tests.support.link_fakes import FakeQr, ListedCodes, a_link_service
from tests.support.naive_clicks import country_name

CONCURRENT = 64
LONG_URL = "https://example.com/a"


class Site:
    """Links and analytics on one database."""

    def __init__(self, database: SqliteDatabase, *, keys_max: int = 1000) -> None:
        self.database = database
        self.clock = FakeClock()
        self.qr = FakeQr()
        self.codes = ListedCodes()
        replays = some_replays(
            self.clock,
            store=SqliteReplayStore(database),
            transactions=database.transaction,
            keys_max=keys_max,
        )
        self.links: LinkService = a_link_service(
            store=SqliteLinkStore(database),
            transactions=database.transaction,
            clock=self.clock,
            new_code=self.codes,
            render_qr=self.qr,
            replays=replays,
        )
        self.analytics = AnalyticsService(
            links=self.links,
            clicks=SqliteClickStore(count_bots=True, values_max=1000),
            reader=SqliteStatsReader(database),
            transactions=database.transaction,
            clock=self.clock,
            describe=describe,
            country_name=country_name,
            replays=replays,
        )

    async def create(self, key: str | None, long_url: str = LONG_URL, owner_id: str = "1") -> Created:
        return await self.links.create(LinkDraft(long_url, owner_id, with_qr=True), idempotency_key=key)

    async def custom(self, key: str | None, alias: str = "spring", owner_id: str = "1") -> Created:
        return await self.links.create(LinkDraft(LONG_URL, owner_id, alias=alias, with_qr=True), idempotency_key=key)

    async def click(self, key: str | None, short_code: str, address: str = "192.0.2.1", at: int = 0) -> int:
        return await self.analytics.record(
            short_code, address=address, user_agent="DE", referrer="", at=at, idempotency_key=key
        )

    async def count(self, table: str) -> int:
        [(count,)] = await rows(self.database, f"SELECT count(*) FROM {table}")
        assert isinstance(count, int)
        return count


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    migrate_file(tmp_path / "test.db")
    async with opened(tmp_path / "test.db") as database:
        yield Site(database)


def shown(created: Created) -> tuple[object, ...]:
    """Everything that a caller is told."""
    return created.link, created.short_url, created.qr_png


async def test_a_create_that_comes_again_gives_the_first_answer(site: Site) -> None:
    first = await site.create("key")
    site.clock.tick(100)
    again = await site.create("key")
    assert shown(again) == shown(first)
    assert (first.is_replay, again.is_replay) == (False, True)
    assert again.qr_png == b"png of http://localhost:8081/code0001"
    assert await site.count("links") == 1
    assert (await site.create(None)).link.short_code != first.link.short_code


async def test_an_alias_that_comes_again_is_not_a_conflict(site: Site) -> None:
    first = await site.custom("key")
    assert shown(await site.custom("key")) == shown(first)
    with pytest.raises(errors.Conflict, match="alias is already taken"):
        await site.custom(None)
    with pytest.raises(errors.Conflict, match="alias is already taken"):
        await site.custom("another")
    assert await site.count("links") == 1


async def test_the_answer_stays_what_it_was_when_the_link_is_gone(site: Site) -> None:
    first, custom = await site.create("key"), await site.custom("key")
    click_id = await site.click("key", first.link.short_code)
    await site.links.delete(first.link.short_code)
    await site.links.delete("spring")
    assert shown(await site.create("key")) == shown(first)
    assert shown(await site.custom("key")) == shown(custom)
    assert await site.click("key", first.link.short_code) == click_id
    with pytest.raises(errors.NotFound):
        await site.links.get("spring")
    assert (await site.count("links"), await site.count("clicks")) == (2, 1)


async def test_methods_and_owners_have_keys_of_their_own(site: Site) -> None:
    first = await site.create("key")
    assert (await site.create("key", owner_id="2")).link.id != first.link.id
    assert (await site.custom("key")).link.id != first.link.id
    assert await site.count("links") == 3


async def test_a_key_with_another_request_changes_nothing(site: Site) -> None:
    await site.create("key")
    await site.custom("key")
    await site.click("key", "spring")
    for call in (
        site.create("key", "https://example.com/b"),
        site.links.create(LinkDraft(LONG_URL, "1", expires_at=1_900_000_000, with_qr=True), idempotency_key="key"),
        site.links.create(LinkDraft(LONG_URL, "1"), idempotency_key="key"),
        site.custom("key", "summer"),
        site.click("key", "spring", address="192.0.2.2"),
        site.click("key", "spring", at=1_700_000_000),
    ):
        with pytest.raises(errors.Conflict) as raised:
            await call
        assert raised.value.field == "idempotency-key"
    assert (await site.count("links"), await site.count("clicks")) == (2, 1)


async def test_a_failure_is_not_kept(site: Site) -> None:
    await site.custom(None, owner_id="2")
    with pytest.raises(errors.Conflict):
        await site.custom("key")
    site.qr.failure = RuntimeError("no such image")
    with pytest.raises(RuntimeError):
        await site.create("key")
    with pytest.raises(errors.NotFound):
        await site.click("key", "summer")
    site.qr.failure = None
    assert await site.count("replays") == 0
    assert (await site.create("key")).is_replay is False
    await site.custom(None, alias="summer")
    assert await site.click("key", "summer") == 1


@pytest.mark.parametrize("key", ["", "a b", "k" * 256])
async def test_a_bad_key_is_invalid_and_nothing_happens(site: Site, key: str) -> None:
    for call in (site.create(key), site.custom(key), site.click(key, "spring")):
        with pytest.raises(errors.Invalid) as raised:
            await call
        assert raised.value.field == "idempotency-key"
    assert await site.count("links") == 0


async def test_a_click_that_comes_again_is_not_counted_again(site: Site) -> None:
    await site.custom(None)
    await site.custom(None, alias="summer")
    assert [await site.click("key", "spring") for _ in range(3)] == [1, 1, 1]
    assert await site.click("key", "summer") == 2
    site.clock.tick(DAY)
    assert await site.click("key", "spring") == 3
    assert (await site.links.get("spring")).counts.clicks == 2
    assert (await site.analytics.stats("spring", 0, 0)).total_clicks == 2


async def test_after_a_day_a_key_is_new(site: Site) -> None:
    first = await site.create("key")
    site.clock.tick(DAY - 1)
    assert (await site.create("key")).link.id == first.link.id
    site.clock.tick()
    assert (await site.create("key", "https://example.com/b")).link.id != first.link.id


async def test_of_many_at_once_one_happens(site: Site) -> None:
    await site.custom(None)
    creates = await asyncio.gather(*(site.create("key") for _ in range(CONCURRENT)))
    assert len({shown(created) for created in creates}) == 1
    assert Counter(created.is_replay for created in creates) == {True: CONCURRENT - 1, False: 1}
    customs = await asyncio.gather(*(site.custom("key", "summer") for _ in range(CONCURRENT)))
    assert len({shown(created) for created in customs}) == 1
    clicks = await asyncio.gather(*(site.click("key", "spring") for _ in range(CONCURRENT)))
    assert set(clicks) == {1}
    assert (await site.count("links"), await site.count("clicks"), await site.count("replays")) == (3, 1, 3)
    assert (await site.links.get("spring")).counts.clicks == 1


async def test_of_many_at_once_with_different_requests_one_happens(site: Site) -> None:
    urls = [f"https://example.com/{number % 2}" for number in range(CONCURRENT)]
    answers = await asyncio.gather(*(site.create("key", url) for url in urls), return_exceptions=True)
    made = {answer.link.destination for answer in answers if isinstance(answer, Created)}
    refused = [answer for answer in answers if isinstance(answer, errors.Conflict)]
    assert (len(made), len(refused), await site.count("links")) == (1, CONCURRENT // 2, 1)


async def test_a_caller_who_left_finds_the_answer(site: Site) -> None:
    """Cancelled at any moment, the call has happened whole or not at all; the next one makes it whole."""
    for steps in range(40):
        task = asyncio.create_task(site.create(f"key-{steps}"))
        for _ in range(steps):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        first = await site.create(f"key-{steps}")
        assert shown(await site.create(f"key-{steps}")) == shown(first)
    assert (await site.count("links"), await site.count("replays")) == (40, 40)


async def test_when_no_more_keys_are_taken_nothing_happens(tmp_path: Path) -> None:
    migrate_file(tmp_path / "test.db")
    async with opened(tmp_path / "test.db") as database:
        site = Site(database, keys_max=1)
        first = await site.create("key")
        for call in (site.create("other"), site.custom("other"), site.click("other", first.link.short_code)):
            with pytest.raises(errors.Exhausted):
                await call
        assert (await site.count("links"), await site.count("clicks")) == (1, 0)
        assert (await site.create("key")).is_replay
        assert not (await site.create(None)).is_replay


Step = tuple[str, str | None, int, int]

calls = st.lists(
    st.tuples(
        st.sampled_from(["create", "custom", "click"]),
        st.one_of(st.none(), st.sampled_from(["k1", "k2"])),
        st.sampled_from([0, 1]),
        st.sampled_from([0, 0, 0, DAY // 2]),
    ),
    max_size=12,
)


@pytest.fixture(scope="module")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "empty.db"
    migrate_file(path)
    return path


@settings(max_examples=25)
@given(calls)
def test_calls_agree_with_a_model(migrated: Path, steps: list[Step]) -> None:
    async def run() -> None:
        path = Path(shutil.copy(migrated, migrated.with_name("test.db")))
        async with opened(path) as database:
            site, model = Site(database), Model()
            await site.custom(None, alias="target")
            first_seen: dict[tuple[str, int], int] = {}
            for number, (name, key, request, seconds) in enumerate(steps):
                site.clock.tick(seconds)
                outcome = await outcome_of(site, name, key, request)
                if isinstance(outcome, int):
                    outcome = first_seen.setdefault(("click" if name == "click" else "link", outcome), number)
                assert outcome == model.call(number, name, key, request, site.clock())
            clicks = (await site.links.get("target")).counts.clicks
            counted = await site.count("links"), await site.count("clicks"), clicks
            assert counted == (model.links, model.clicks, model.clicks)

    asyncio.run(run())


async def outcome_of(site: Site, name: str, key: str | None, request: int) -> int | str:
    """Return the id that a call answers with, or the field of its conflict."""
    try:
        if name == "create":
            return (await site.create(key, f"https://example.com/{request}")).link.id
        if name == "custom":
            return (await site.custom(key, f"alias-{request}")).link.id
        return await site.click(key, "target", at=1_700_000_000 + request)
    except errors.Conflict as conflict:
        return conflict.field


class Model:
    """What should happen: a dict of method and key to request, number of the call that was answered, and time."""

    def __init__(self) -> None:
        self.links, self.clicks = 1, 0
        self._aliases: set[int] = set()
        self._answers: dict[tuple[str, str], tuple[int, int, int]] = {}

    def call(self, number: int, name: str, key: str | None, request: int, now: int) -> int | str:
        earlier = self._answers.get((name, key)) if key else None
        if earlier and now - earlier[2] < DAY:
            return earlier[1] if earlier[0] == request else "idempotency-key"
        if name == "custom" and request in self._aliases:
            return "alias"
        self.clicks += name == "click"
        self.links += name != "click"
        if name == "custom":
            self._aliases.add(request)
        if key:
            self._answers[name, key] = request, number, now
        return number
