import asyncio
from dataclasses import replace

import pytest

from shortener import errors
from shortener.links import Created, LinkDetails, LinkDraft, LinkPage, LinkRecord, LinkService
from shortener.links.model import LinkCounts
from shortener.links.service import CODE_ATTEMPTS_MAX, CodesExhausted
from tests.support.fakes import FakeClock, FakeTransactions, FakeTx
from tests.support.link_builders import details
from tests.support.link_fakes import FakeQr, ListedCodes, MemoryLinkStore, a_link_service

LONG_URL = "https://example.com/path"


@pytest.fixture
def store() -> MemoryLinkStore:
    return MemoryLinkStore()


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def codes() -> ListedCodes:
    return ListedCodes()


@pytest.fixture
def qr() -> FakeQr:
    return FakeQr()


@pytest.fixture
def service(store: MemoryLinkStore, clock: FakeClock, codes: ListedCodes, qr: FakeQr) -> LinkService:
    return a_link_service(store=store, clock=clock, new_code=codes, render_qr=qr)


async def create(service: LinkService, owner_id: str = "1", expires_at: int = 0) -> Created:
    return await service.create(LinkDraft(LONG_URL, owner_id, expires_at=expires_at))


async def create_custom(service: LinkService, alias: str, owner_id: str = "1") -> Created:
    return await service.create(LinkDraft(LONG_URL, owner_id, alias=alias))


async def test_create(service: LinkService, store: MemoryLinkStore) -> None:
    created = await service.create(LinkDraft(LONG_URL, "1", expires_at=1_900_000_000, with_qr=True))
    link = details(short_code="code0001", expires_at=1_900_000_000)
    assert created == Created(link, "http://localhost:8081/code0001", b"png of http://localhost:8081/code0001")
    assert store.stored == {"code0001": LinkRecord(link, LinkCounts(0))}


async def test_create_without_qr_code(service: LinkService, qr: FakeQr) -> None:
    created = await service.create(LinkDraft(LONG_URL, "1"))
    assert created.qr_png == b""
    assert qr.drawn == []


async def test_create_custom(service: LinkService) -> None:
    created = await service.create(LinkDraft(LONG_URL, "any-thing", alias="Spring_sale", with_qr=True))
    link = details(short_code="Spring_sale", owner_id="any-thing", is_alias=True)
    assert created == Created(link, "http://localhost:8081/Spring_sale", b"png of http://localhost:8081/Spring_sale")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"long_url": ""}, "long_url is required"),
        ({"long_url": "http://localhost:8081/abc"}, "long_url must not be one of our own short URLs"),
        ({"owner_id": ""}, "user_id is required"),
        ({"expires_at": 3600}, None),
    ],
)
async def test_invalid_values_create_nothing(
    service: LinkService, store: MemoryLinkStore, qr: FakeQr, changes: dict[str, object], message: str | None
) -> None:
    for alias in (None, "abc"):
        with pytest.raises(errors.Invalid) as raised:
            await service.create(replace(LinkDraft(LONG_URL, "1", alias=alias, with_qr=True), **changes))  # type: ignore[arg-type] # the table above
        assert message in {None, raised.value.message}
    assert store.stored == {}
    assert qr.drawn == []


async def test_a_past_expiry_is_accepted_and_the_link_born_expired(service: LinkService) -> None:
    created = await create(service, expires_at=1_735_689_600)
    assert not service.is_live(await service.details(created.link.short_code))


async def test_a_taken_random_code_is_replaced_by_another(service: LinkService, codes: ListedCodes) -> None:
    await create_custom(service, "taken01")
    codes.codes = ["taken01", "taken01", "free001"]
    created = await service.create(LinkDraft(LONG_URL, "1", with_qr=True))
    assert created.link.short_code == "free001"
    assert created.qr_png == b"png of http://localhost:8081/free001"


async def test_a_random_code_never_takes_a_deleted_alias(service: LinkService, codes: ListedCodes) -> None:
    await create_custom(service, "taken01")
    await service.delete("taken01")
    codes.codes = ["taken01", "free001"]
    assert (await create(service)).link.short_code == "free001"


async def test_the_search_for_a_free_code_ends(service: LinkService, codes: ListedCodes) -> None:
    await create_custom(service, "taken01")
    codes.codes = ["taken01"] * CODE_ATTEMPTS_MAX
    with pytest.raises(CodesExhausted):
        await create(service)
    assert codes.codes == []


async def test_a_qr_code_that_fails_leaves_no_link(service: LinkService, store: MemoryLinkStore, qr: FakeQr) -> None:
    qr.failure = RuntimeError("no such image")
    with pytest.raises(RuntimeError):
        await service.create(LinkDraft(LONG_URL, "1", with_qr=True))
    with pytest.raises(RuntimeError):
        await service.create(LinkDraft(LONG_URL, "1", alias="spring", with_qr=True))
    assert store.stored == {}


async def test_a_taken_alias_is_a_conflict_with_three_free_suggestions(service: LinkService) -> None:
    for alias in ("spring", "spring-2", "spring-4"):
        await create_custom(service, alias)
    await service.delete("spring-4")
    with pytest.raises(errors.Conflict) as raised:
        await create_custom(service, "spring", owner_id="2")
    assert raised.value.field == "alias"
    assert raised.value.suggestions == ("spring-3", "spring-5", "spring-6")
    for suggestion in raised.value.suggestions:
        await create_custom(service, suggestion, owner_id="2")


async def test_suggestions_are_found_when_the_near_ones_are_taken(service: LinkService) -> None:
    for number in range(2, 7):
        await create_custom(service, f"{'s' * 48}-{number}")
    suggestions = await service.suggestions("s" * 50)
    assert len(set(suggestions)) == 3
    for suggestion in suggestions:
        await create_custom(service, suggestion)


async def test_the_owner_takes_a_deleted_alias_again(service: LinkService, clock: FakeClock) -> None:
    await create_custom(service, "spring")
    await service.increment_clicks("spring")
    await service.delete("spring")
    with pytest.raises(errors.Conflict):
        await create_custom(service, "spring", owner_id="2")
    clock.tick(10)
    created = await create_custom(service, "spring")
    assert created.link == details(
        id=2, short_code="spring", is_alias=True, created_at=1_800_000_010, updated_at=1_800_000_010
    )


async def test_get(service: LinkService, clock: FakeClock) -> None:
    link = (await create(service, expires_at=clock.now + 10)).link
    clock.tick(9)
    assert await service.get(link.short_code) == LinkRecord(link, LinkCounts(0))
    assert service.is_live(link)
    clock.tick(1)
    assert await service.details(link.short_code) == link
    assert not service.is_live(link)


async def test_a_deleted_link_is_unknown(service: LinkService) -> None:
    code = (await create(service)).link.short_code
    await service.delete(code)
    for call in (service.get, service.details, service.delete, service.increment_clicks):
        with pytest.raises(errors.NotFound):
            await call(code)
    assert await service.page("1", limit=0, offset=0) == LinkPage((), 0, has_more=False)


@pytest.mark.parametrize("code", ["unknown", "a", "x" * 51, "no such\ncode"])
async def test_unknown_codes(service: LinkService, code: str) -> None:
    for call in (service.get, service.details, service.delete, service.increment_clicks):
        with pytest.raises(errors.NotFound, match="short_code is unknown"):
            await call(code)


async def test_a_missing_code_is_invalid(service: LinkService) -> None:
    for call in (service.get, service.details, service.delete, service.increment_clicks):
        with pytest.raises(errors.Invalid, match="short_code is required"):
            await call("")


async def test_someone_elses_link_is_unknown(service: LinkService) -> None:
    code = (await create(service, owner_id="1")).link.short_code
    with pytest.raises(errors.NotFound):
        await service.get(code, owner_id="2")
    with pytest.raises(errors.NotFound):
        await service.delete(code, owner_id="2")
    with pytest.raises(errors.NotFound):
        await service.qr(code, "png", owner_id="2")
    assert await service.get(code, owner_id="1")


async def test_pages(service: LinkService) -> None:
    links = [LinkRecord((await create(service)).link, LinkCounts(0)) for _ in range(3)]
    await create(service, owner_id="2")
    assert await service.page("1", limit=2, offset=0) == LinkPage((links[2], links[1]), 3, has_more=True)
    assert await service.page("1", limit=2, offset=1) == LinkPage((links[1], links[0]), 3, has_more=False)
    assert await service.page("1", limit=0, offset=3) == LinkPage((), 3, has_more=False)


async def test_pages_have_twenty_links_by_default_and_a_thousand_at_most(service: LinkService) -> None:
    for _ in range(1_001):
        await create(service)
    assert len((await service.page("1", limit=0, offset=0)).links) == 20
    page = await service.page("1", limit=5_000, offset=0)
    assert (len(page.links), page.total, page.has_more) == (1_000, 1_001, True)


async def test_pages_end_before_they_are_too_long_for_one_answer(service: LinkService) -> None:
    sizes = [7_910] * 300 + [100] * 300 + [7_910] * 400
    for size in sizes:
        await service.create(LinkDraft("https://example.com/".ljust(size, "a"), "1"))
    seen: list[LinkDetails] = []
    while True:
        page = await service.page("1", limit=1_000, offset=len(seen))
        assert 0 < sum(len(record.details.destination) for record in page.links) < 4_000_000
        seen += [record.details for record in page.links]
        assert (page.total, page.has_more) == (1_000, len(seen) < 1_000)
        if not page.has_more:
            break
    assert [len(link.destination) for link in seen] == sizes[::-1]
    assert len({link.id for link in seen}) == 1_000
    assert len((await service.page("1", limit=50, offset=900)).links) == 50


async def test_page_values_are_checked(service: LinkService) -> None:
    for owner_id, limit, offset in (("", 0, 0), ("1", -1, 0), ("1", 0, -1)):
        with pytest.raises(errors.Invalid):
            await service.page(owner_id, limit=limit, offset=offset)


async def test_counters(service: LinkService) -> None:
    link = (await create(service)).link
    assert [await service.increment_clicks(link.short_code) for _ in range(3)] == [1, 2, 3]
    await FakeTransactions()(lambda tx: service.add_clicks(tx, {link.ref: 4}))
    assert await service.get(link.short_code) == LinkRecord(link, LinkCounts(7))


def test_adding_clicks_is_a_plain_function_inside_someones_transaction(service: LinkService) -> None:
    service.add_clicks(FakeTx(), {})


async def test_qr_codes(service: LinkService) -> None:
    code = (await create(service)).link.short_code
    assert await service.qr(code, "svg", owner_id="1") == b"svg of http://localhost:8081/code0001"


async def test_a_cancelled_create_leaves_no_link_while_its_qr_code_is_drawn(store: MemoryLinkStore) -> None:
    drawing = asyncio.Event()

    class SlowQr(FakeQr):
        async def __call__(self, short_url: str, image: object) -> bytes:
            drawing.set()
            await asyncio.Event().wait()
            raise AssertionError

    service = a_link_service(store=store, render_qr=SlowQr())
    task = asyncio.create_task(service.create(LinkDraft(LONG_URL, "1", with_qr=True)))
    await drawing.wait()
    task.cancel()
    await asyncio.wait({task})
    assert task.cancelled()
    assert store.stored == {}
