"""Every operation on links: the RPCs over a channel in memory, the others as functions; and the routes of all."""

from base64 import b64encode
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo  # type: ignore[import-untyped] # no annotations
from grpclib.client import Channel
from grpclib.const import Cardinality, Status
from grpclib.exceptions import GRPCError

from shortener import errors
from shortener.api import Content, Route
from shortener.caller import TRUSTED, Caller, Kind
from shortener.gen import url as pb
from shortener.links import LinkDraft, LinkService
from shortener.links.api import LinkApi, QrRequest, link_operations
from shortener.rpc.guard import mounted
from tests.support.channel import channel_for
from tests.support.fakes import FakeClock
from tests.support.link_fakes import a_link_service

NOW = 1_800_000_000
GET_URL = "/url.URLService/GetURL"
ALICE, BOB = Caller(Kind.ACCOUNT, account="1"), Caller(Kind.ACCOUNT, account="2")
LONG_URL = "https://example.com/very/long/path/to/resource"
CREATE = pb.CreateUrlRequest(long_url=LONG_URL, user_id="1234567890", expires_at=1_900_000_000)
CUSTOM = pb.CreateCustomUrlRequest(alias="my-custom-link", long_url=LONG_URL, user_id="1234567890")


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(NOW)


@pytest.fixture
def service(clock: FakeClock) -> LinkService:
    return a_link_service(clock=clock)


@pytest.fixture
async def channel(service: LinkService) -> AsyncIterator[Channel]:
    async with channel_for([mounted(link_operations(service))]) as channel:
        yield channel


@pytest.fixture
def stub(channel: Channel) -> pb.UrlServiceStub:
    return pb.UrlServiceStub(channel)


async def failure(call: Awaitable[object]) -> GRPCError:
    with pytest.raises(GRPCError) as caught:
        await call
    return caught.value


async def refused(call: Awaitable[object]) -> tuple[Status, str | None]:
    error = await failure(call)
    return error.status, error.message


async def test_create_url(stub: pb.UrlServiceStub) -> None:
    assert await stub.create_url(CREATE) == pb.CreateUrlResponse(
        short_code="code0001",
        short_url="http://localhost:8081/code0001",
        long_url=LONG_URL,
        created_at=NOW,
        expires_at=1_900_000_000,
        qr_code=b64encode(b"png of http://localhost:8081/code0001").decode(),
    )


async def test_create_custom_url(stub: pb.UrlServiceStub) -> None:
    assert await stub.create_custom_url(CUSTOM) == pb.CreateCustomUrlResponse(
        short_code="my-custom-link",
        short_url="http://localhost:8081/my-custom-link",
        long_url=LONG_URL,
        created_at=NOW,
        expires_at=0,
        qr_code=b64encode(b"png of http://localhost:8081/my-custom-link").decode(),
    )


async def test_the_qr_code_may_be_omitted(stub: pb.UrlServiceStub) -> None:
    created = await stub.create_url(pb.CreateUrlRequest(long_url=LONG_URL, user_id="1", omit_qr_code=True))
    custom = await stub.create_custom_url(
        pb.CreateCustomUrlRequest(alias="spring", long_url=LONG_URL, user_id="1", omit_qr_code=True)
    )
    assert (created.qr_code, custom.qr_code) == ("", "")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"long_url": ""}, "long_url is required"),
        ({"long_url": "example.com"}, "long_url must be an absolute http or https URL"),
        ({"user_id": ""}, "user_id is required"),
        (
            {"expires_at": 3600},
            "expires_at must be 0 (never) or Unix seconds between 2020-01-01 and the end of year 9999",
        ),
    ],
)
async def test_creating_names_what_is_wrong(stub: pb.UrlServiceStub, changes: dict[str, Any], message: str) -> None:
    values: dict[str, Any] = {"long_url": LONG_URL, "user_id": "1"} | changes
    (field,) = changes
    for call in (
        stub.create_url(pb.CreateUrlRequest(**values)),
        stub.create_custom_url(pb.CreateCustomUrlRequest(alias="spring", **values)),
    ):
        error = await failure(call)
        assert (error.status, error.message) == (Status.INVALID_ARGUMENT, message)
        violation = BadRequest.FieldViolation(field=field, description=message)
        assert error.details == [BadRequest(field_violations=[violation])]


@pytest.mark.parametrize(
    ("alias", "message"),
    [
        ("", "alias is required"),
        ("no", "alias must be 3 to 50 of A-Z, a-z, 0-9, _ and -"),
        ("Docs", "alias is a reserved word"),
    ],
)
async def test_bad_aliases(stub: pb.UrlServiceStub, alias: str, message: str) -> None:
    request = pb.CreateCustomUrlRequest(alias=alias, long_url=LONG_URL, user_id="1")
    assert await refused(stub.create_custom_url(request)) == (Status.INVALID_ARGUMENT, message)


async def test_a_taken_alias_comes_with_suggestions(stub: pb.UrlServiceStub) -> None:
    await stub.create_custom_url(CUSTOM)
    error = await failure(stub.create_custom_url(CUSTOM))
    assert (error.status, error.message) == (Status.ALREADY_EXISTS, "alias is already taken")
    (info,) = error.details
    assert isinstance(info, ErrorInfo)
    assert dict(info.metadata) == {
        "field": "alias",
        "suggestion_1": "my-custom-link-2",
        "suggestion_2": "my-custom-link-3",
        "suggestion_3": "my-custom-link-4",
    }


async def test_get_url(stub: pb.UrlServiceStub, clock: FakeClock) -> None:
    created = await stub.create_url(CREATE)
    expected = pb.Url(
        short_code="code0001",
        long_url=LONG_URL,
        clicks=0,
        created_at=NOW,
        updated_at=NOW,
        is_active=True,
        expires_at=1_900_000_000,
        short_url="http://localhost:8081/code0001",
    )
    request = pb.GetUrlRequest(short_code=created.short_code)
    assert await stub.get_url(request) == pb.GetUrlResponse(url=expected, found=True)
    clock.now = 1_900_000_000
    expected.is_active = False
    assert await stub.get_url(request) == pb.GetUrlResponse(url=expected, found=True)


@pytest.mark.parametrize("short_code", ["unknown", "x" * 51, "no such\ncode", "deleted"])
async def test_get_url_of_unknown_codes_answers_twice(
    channel: Channel, stub: pb.UrlServiceStub, short_code: str
) -> None:
    await stub.create_custom_url(pb.CreateCustomUrlRequest(alias="deleted", long_url=LONG_URL, user_id="1"))
    await stub.delete_url(pb.DeleteUrlRequest(short_code="deleted"))
    async with channel.request(GET_URL, Cardinality.UNARY_UNARY, pb.GetUrlRequest, pb.GetUrlResponse) as stream:
        await stream.send_message(pb.GetUrlRequest(short_code=short_code), end=True)
        response = await stream.recv_message()
        assert response is not None
        assert response.to_dict(include_default_values=True)["found"] is False
        assert bytes(response) == b""
        with pytest.raises(GRPCError) as caught:
            await stream.recv_trailing_metadata()
        assert (caught.value.status, caught.value.message) == (Status.NOT_FOUND, "short_code is unknown")


async def test_a_missing_code_is_invalid(stub: pb.UrlServiceStub) -> None:
    for call in (
        stub.get_url(pb.GetUrlRequest()),
        stub.delete_url(pb.DeleteUrlRequest()),
        stub.increment_clicks(pb.IncrementClicksRequest()),
    ):
        assert await refused(call) == (Status.INVALID_ARGUMENT, "short_code is required")


async def test_list_urls(stub: pb.UrlServiceStub, clock: FakeClock) -> None:
    for alias, expires_at in (("first", NOW + 10), ("second", 0), ("third", 0)):
        await stub.create_custom_url(
            pb.CreateCustomUrlRequest(alias=alias, long_url=LONG_URL, user_id="1", expires_at=expires_at)
        )
    await stub.create_custom_url(pb.CreateCustomUrlRequest(alias="other", long_url=LONG_URL, user_id="2"))
    await stub.delete_url(pb.DeleteUrlRequest(short_code="second"))
    clock.tick(10)

    def url(short_code: str, *, is_active: bool, expires_at: int) -> pb.Url:
        return pb.Url(
            short_code=short_code,
            long_url=LONG_URL,
            created_at=NOW,
            updated_at=NOW,
            is_active=is_active,
            expires_at=expires_at,
            short_url=f"http://localhost:8081/{short_code}",
        )

    first, third = url("first", is_active=False, expires_at=NOW + 10), url("third", is_active=True, expires_at=0)
    everything = pb.ListUrLsResponse(urls=[third, first], total=2, has_more=False)
    assert await stub.list_ur_ls(pb.ListUrLsRequest(user_id="1")) == everything
    page = pb.ListUrLsResponse(urls=[third], total=2, has_more=True)
    assert await stub.list_ur_ls(pb.ListUrLsRequest(user_id="1", limit=1)) == page
    rest = pb.ListUrLsResponse(urls=[first], total=2, has_more=False)
    assert await stub.list_ur_ls(pb.ListUrLsRequest(user_id="1", limit=1, offset=1)) == rest
    assert await stub.list_ur_ls(pb.ListUrLsRequest(user_id="nobody")) == pb.ListUrLsResponse()


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        (pb.ListUrLsRequest(), "user_id is required"),
        (pb.ListUrLsRequest(user_id="1", limit=-1), "limit must be 0 (20 links) or a positive int32"),
        (pb.ListUrLsRequest(user_id="1", offset=-1), "offset must be 0 or a positive int32"),
    ],
)
async def test_bad_pages(stub: pb.UrlServiceStub, request_: pb.ListUrLsRequest, message: str) -> None:
    assert await refused(stub.list_ur_ls(request_)) == (Status.INVALID_ARGUMENT, message)


async def test_delete_url(stub: pb.UrlServiceStub) -> None:
    await stub.create_custom_url(CUSTOM)
    request = pb.DeleteUrlRequest(short_code="my-custom-link")
    assert await stub.delete_url(request) == pb.DeleteUrlResponse(success=True)
    unknown = (Status.NOT_FOUND, "short_code is unknown")
    assert await refused(stub.delete_url(request)) == unknown
    assert await refused(stub.get_url(pb.GetUrlRequest(short_code="my-custom-link"))) == unknown
    assert await refused(stub.increment_clicks(pb.IncrementClicksRequest(short_code="my-custom-link"))) == unknown


async def test_increment_clicks(stub: pb.UrlServiceStub) -> None:
    await stub.create_custom_url(CUSTOM)
    request = pb.IncrementClicksRequest(short_code="my-custom-link")
    assert await stub.increment_clicks(request) == pb.IncrementClicksResponse(clicks=1)
    assert await stub.increment_clicks(request) == pb.IncrementClicksResponse(clicks=2)
    response = await stub.get_url(pb.GetUrlRequest(short_code="my-custom-link"))
    assert response.url.clicks == 2
    assert response.url.updated_at == NOW


class ReadyStream:
    """A stream whose request is there and whose answer needs no waiting, as on our own server."""

    def __init__(self, request: pb.GetUrlRequest | None) -> None:
        self.request = request
        self.sent: list[pb.GetUrlResponse] = []

    async def recv_message(self) -> pb.GetUrlRequest | None:
        return self.request

    async def send_message(self, message: pb.GetUrlResponse) -> None:
        self.sent.append(message)


async def test_get_url_does_not_suspend_when_the_link_is_in_memory() -> None:
    links = a_link_service()
    await LinkApi(links).create_url(CREATE, TRUSTED)
    await links.get("code0001")
    stream = ReadyStream(pb.GetUrlRequest(short_code="code0001"))
    with pytest.raises(StopIteration):
        mounted(link_operations(links)).__mapping__()[GET_URL].func(stream).send(None)
    assert [response.found for response in stream.sent] == [True]


async def test_get_url_without_a_request_is_malformed(service: LinkService) -> None:
    with pytest.raises(errors.Invalid, match="malformed request"):
        await mounted(link_operations(service)).__mapping__()[GET_URL].func(ReadyStream(None))


def test_the_routes_are_those_of_the_contract(service: LinkService) -> None:
    routes = [(each.path.rpartition("/")[2], each.route, each.limit) for each in link_operations(service)]
    assert {
        (name, route.method, route.path, route.auth, route.status, route.fills, limit)
        for name, route, limit in routes
        if route is not None
    } == {
        ("CreateURL", "POST", "/api/urls", True, 201, ("user_id",), "creates"),
        ("CreateCustomURL", "POST", "/api/urls/custom", True, 201, ("user_id",), "creates"),
        ("ListURLs", "GET", "/api/urls", True, 200, ("user_id",), "misses"),
        ("GetURL", "GET", "/api/urls/{short_code}", True, 200, (), "misses"),
        ("DeleteURL", "DELETE", "/api/urls/{short_code}", True, 204, (), "misses"),
        ("", "GET", "/api/urls/{short_code}/qr", True, 200, (), "misses"),
    }
    assert [name for name, route, _ in routes if route is None] == ["IncrementClicks"]


async def test_what_was_created_says_where_it_is(service: LinkService) -> None:
    api = LinkApi(service)
    operations = {each.path: each for each in link_operations(service)}
    created, custom = await api.create_url(CREATE, ALICE), await api.create_custom_url(CUSTOM, ALICE)
    for name, reply, code in (("CreateURL", created, "code0001"), ("CreateCustomURL", custom, "my-custom-link")):
        route = operations[f"/url.URLService/{name}"].route
        assert isinstance(route, Route)
        assert route.headers is not None
        assert route.headers(reply) == {"Location": f"/api/urls/{code}"}


@pytest.mark.parametrize(
    ("text", "content_type", "image"),
    [("", "image/png", "png"), ("png", "image/png", "png"), ("svg", "image/svg+xml", "svg")],
)
async def test_qr_codes(service: LinkService, text: str, content_type: str, image: str) -> None:
    await service.create(LinkDraft(LONG_URL, "1", alias="spring"))
    content = f"{image} of http://localhost:8081/spring".encode()
    assert await LinkApi(service).qr(QrRequest("spring", text), ALICE) == Content(content_type, content)


async def test_an_unknown_kind_of_image_is_invalid(service: LinkService) -> None:
    await service.create(LinkDraft(LONG_URL, "1", alias="spring"))
    with pytest.raises(errors.Invalid) as raised:
        await LinkApi(service).qr(QrRequest("spring", "gif"), ALICE)
    assert raised.value.field == "format"


async def test_an_account_sees_its_own_links_alone(service: LinkService) -> None:
    await service.create(LinkDraft(LONG_URL, "1", alias="spring"))
    api = LinkApi(service)
    calls: list[Callable[[Caller], Awaitable[object]]] = [
        lambda caller: api.get_url(pb.GetUrlRequest("spring"), caller),
        lambda caller: api.qr(QrRequest("spring"), caller),
        lambda caller: api.delete_url(pb.DeleteUrlRequest("spring"), caller),
    ]
    for call in calls:
        with pytest.raises(errors.NotFound, match="short_code is unknown"):
            await call(BOB)
        await call(ALICE)
