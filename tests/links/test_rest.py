"""The routes of /api/urls, called as the gateway calls them."""

import asyncio

import pytest

from shortener import errors
from shortener.gen import url as pb
from shortener.links import LinkService
from shortener.links.rest import routes
from shortener.links.rpc import UrlRpc
from shortener.rest.auth import Principal
from shortener.rest.json_codec import message_to_dict
from shortener.rest.routes import Call, Reply, Route
from shortener.rpc.codec import build
from tests.links.fakes import a_link_service

LONG_URL = "https://example.com/path"
ALICE, BOB = Principal("1"), Principal("2")


@pytest.fixture
def service() -> LinkService:
    return a_link_service()


@pytest.fixture
def by_name(service: LinkService) -> dict[str, Route]:
    return {f"{route.method} {route.path}": route for route in routes(service)}


def created(service: LinkService, owner_id: str = "1", alias: str = "spring") -> str:
    """Make a link from outside of any loop's concern: memory stores do not wait."""
    coroutine = service.create_custom(alias, LONG_URL, owner_id, expires_at=0, with_qr=False)
    with pytest.raises(StopIteration) as stopped:
        coroutine.send(None)
    short_code: str = stopped.value.value.link.short_code
    return short_code


def test_the_routes_are_those_of_the_contract(by_name: dict[str, Route]) -> None:
    hidden = frozenset({"user_id"})
    assert {
        name: (route.auth, route.status, route.body, route.reply, route.body_hides) for name, route in by_name.items()
    } == {
        "POST /api/urls": (True, 201, pb.CreateUrlRequest, pb.CreateUrlResponse, hidden),
        "POST /api/urls/custom": (True, 201, pb.CreateCustomUrlRequest, pb.CreateCustomUrlResponse, hidden),
        "GET /api/urls": (True, 200, None, pb.ListUrLsResponse, frozenset()),
        "GET /api/urls/{short_code}": (True, 200, None, pb.GetUrlResponse, frozenset()),
        "DELETE /api/urls/{short_code}": (True, 204, None, None, frozenset()),
        "GET /api/urls/{short_code}/qr": (True, 200, None, None, frozenset()),
    }


async def test_creating_answers_201_and_where(by_name: dict[str, Route], service: LinkService) -> None:
    body = pb.CreateUrlRequest(long_url=LONG_URL, user_id="2", expires_at=1_900_000_000)
    reply = await by_name["POST /api/urls"].handler(Call(principal=ALICE, body=body))
    message = build(
        pb.CreateUrlResponse,
        short_code="code0001",
        short_url="http://localhost:8081/code0001",
        long_url=LONG_URL,
        created_at=1_800_000_000,
        expires_at=1_900_000_000,
        qr_code="cG5nIG9mIGh0dHA6Ly9sb2NhbGhvc3Q6ODA4MS9jb2RlMDAwMQ==",
    )
    assert reply == Reply(message, status=201, headers={"Location": "/api/urls/code0001"})
    assert (await service.get("code0001")).owner_id == "1"


async def test_creating_with_an_alias(by_name: dict[str, Route], service: LinkService) -> None:
    body = pb.CreateCustomUrlRequest(alias="spring", long_url=LONG_URL, user_id="2", omit_qr_code=True)
    reply = await by_name["POST /api/urls/custom"].handler(Call(principal=ALICE, body=body))
    message = build(
        pb.CreateCustomUrlResponse,
        short_code="spring",
        short_url="http://localhost:8081/spring",
        long_url=LONG_URL,
        created_at=1_800_000_000,
    )
    assert reply == Reply(message, status=201, headers={"Location": "/api/urls/spring"})
    assert (await service.get("spring")).owner_id == "1"
    with pytest.raises(errors.Conflict):
        await by_name["POST /api/urls/custom"].handler(Call(principal=BOB, body=body))


async def test_everyone_lists_their_own(by_name: dict[str, Route], service: LinkService) -> None:
    for owner_id, alias in (("1", "first"), ("1", "second"), ("2", "other")):
        created(service, owner_id, alias)
    handler = by_name["GET /api/urls"].handler
    query = {"limit": 1, "offset": 0}
    assert await handler(Call(principal=ALICE, query=query)) == Reply(
        await UrlRpc(service).list_ur_ls(pb.ListUrLsRequest(user_id="1", limit=1))
    )
    reply = await handler(Call(principal=BOB, query={"limit": 0, "offset": 0}))
    assert [url["short_code"] for url in message_to_dict(reply.message)["urls"]] == ["other"]
    with pytest.raises(errors.Invalid, match="offset must"):
        await handler(Call(principal=BOB, query={"limit": 0, "offset": 2**31}))


async def test_looking_at_ones_own_link(by_name: dict[str, Route], service: LinkService) -> None:
    code = created(service)
    reply = await by_name["GET /api/urls/{short_code}"].handler(Call(principal=ALICE, path={"short_code": code}))
    assert reply == Reply(await UrlRpc(service).get_url(pb.GetUrlRequest(short_code=code)))


async def test_deleting_answers_204(by_name: dict[str, Route], service: LinkService) -> None:
    call = Call(principal=ALICE, path={"short_code": created(service)})
    assert await by_name["DELETE /api/urls/{short_code}"].handler(call) == Reply(status=204)
    for name in ("GET /api/urls/{short_code}", "DELETE /api/urls/{short_code}"):
        with pytest.raises(errors.NotFound):
            await by_name[name].handler(call)


@pytest.mark.parametrize(
    ("text", "content_type", "image"),
    [("", "image/png", "png"), ("png", "image/png", "png"), ("svg", "image/svg+xml", "svg")],
)
async def test_qr_codes(
    by_name: dict[str, Route], service: LinkService, text: str, content_type: str, image: str
) -> None:
    call = Call(principal=ALICE, path={"short_code": created(service)}, query={"format": text})
    content = f"{image} of http://localhost:8081/spring".encode()
    expected = Reply(content=content, content_type=content_type)
    assert await by_name["GET /api/urls/{short_code}/qr"].handler(call) == expected


async def test_an_unknown_kind_of_image_is_invalid(by_name: dict[str, Route], service: LinkService) -> None:
    call = Call(principal=ALICE, path={"short_code": created(service)}, query={"format": "gif"})
    with pytest.raises(errors.Invalid) as raised:
        await by_name["GET /api/urls/{short_code}/qr"].handler(call)
    assert raised.value.field == "format"


async def test_someone_elses_link_is_unknown(by_name: dict[str, Route], service: LinkService) -> None:
    call = Call(principal=BOB, path={"short_code": created(service)}, query={"format": ""})
    names = ["GET /api/urls/{short_code}", "DELETE /api/urls/{short_code}", "GET /api/urls/{short_code}/qr"]
    results = await asyncio.gather(*[by_name[name].handler(call) for name in names], return_exceptions=True)
    assert [type(result) for result in results] == [errors.NotFound] * 3
    assert await service.get("spring")
