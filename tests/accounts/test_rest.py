"""The routes of /api/auth, called as the gateway calls them."""

import pytest

from shortener import errors
from shortener.accounts.rest import authenticator, routes
from shortener.accounts.rpc import UserRpc
from shortener.accounts.service import AccountService
from shortener.gen import user as pb
from shortener.rest.auth import Principal
from shortener.rest.routes import Call, Reply, Route
from shortener.rpc.codec import build
from tests.support.fakes import FakeClock

WEEK = 604_800
REGISTER = pb.RegisterRequest(email="user@example.com", password="securePassword123", name="John Doe")
NO_STORE = {"Cache-Control": "no-store"}


@pytest.fixture
def by_name(service: AccountService) -> dict[str, Route]:
    return {f"{route.method} {route.path}": route for route in routes(service)}


def test_the_routes_are_those_of_the_contract(by_name: dict[str, Route]) -> None:
    assert {
        name: (route.auth, route.status, route.body, route.reply, route.body_hides) for name, route in by_name.items()
    } == {
        "POST /api/auth/register": (False, 201, pb.RegisterRequest, pb.RegisterResponse, frozenset()),
        "POST /api/auth/login": (False, 200, pb.LoginRequest, pb.LoginResponse, frozenset()),
        "POST /api/auth/password": (
            True,
            200,
            pb.ChangePasswordRequest,
            pb.ChangePasswordResponse,
            frozenset({"token"}),
        ),
        "GET /api/auth/profile": (True, 200, None, pb.GetProfileResponse, frozenset()),
        "PATCH /api/auth/profile": (
            True,
            200,
            pb.UpdateProfileRequest,
            pb.UpdateProfileResponse,
            frozenset({"token"}),
        ),
    }


async def test_registering_answers_201_and_a_token(by_name: dict[str, Route], clock: FakeClock) -> None:
    reply = await by_name["POST /api/auth/register"].handler(Call(body=REGISTER))
    token = f"token:1:user@example.com:{clock.now + WEEK}"
    message = build(
        pb.RegisterResponse, user_id="1", email="user@example.com", name="John Doe", token=token, created_at=clock.now
    )
    assert reply == Reply(message, status=201, headers=NO_STORE)
    with pytest.raises(errors.Conflict):
        await by_name["POST /api/auth/register"].handler(Call(body=REGISTER))


async def test_logging_in_answers_a_token(by_name: dict[str, Route], service: AccountService, clock: FakeClock) -> None:
    await service.register("user@example.com", "securePassword123", "John Doe")
    body = pb.LoginRequest("user@example.com", "securePassword123")
    reply = await by_name["POST /api/auth/login"].handler(Call(body=body))
    assert reply == Reply(await UserRpc(service).login(body), headers=NO_STORE)
    with pytest.raises(errors.Unauthenticated):
        await by_name["POST /api/auth/login"].handler(Call(body=pb.LoginRequest("user@example.com", "wrongPassword")))


async def test_changing_the_password_answers_a_new_token_and_ends_the_old(
    by_name: dict[str, Route], service: AccountService, clock: FakeClock
) -> None:
    token = (await service.register("user@example.com", "securePassword123", "John Doe")).token.token
    route = by_name["POST /api/auth/password"]
    body = pb.ChangePasswordRequest(old_password="securePassword123", new_password="otherPassword456")
    with pytest.raises(errors.Unauthenticated):
        await route.handler(Call(None, body=body))
    reply = await route.handler(Call(await authenticator(service)(token), body=body))
    issued = f"token:1:user@example.com:{clock.now + WEEK}:{clock.now}"
    assert reply == Reply(build(pb.ChangePasswordResponse, token=issued, expires_at=clock.now + WEEK), headers=NO_STORE)
    with pytest.raises(errors.Unauthenticated):
        await authenticator(service)(token)
    assert await authenticator(service)(issued) == Principal("1")


async def test_registration_can_be_closed_to_the_gateway(closed_service: AccountService) -> None:
    [route] = [route for route in routes(closed_service) if route.path == "/api/auth/register"]
    with pytest.raises(errors.Forbidden):
        await route.handler(Call(body=REGISTER, address="127.0.0.1"))
    assert await closed_service.page(0, 0) == ([], 0)


async def test_the_profile_is_the_callers(by_name: dict[str, Route], service: AccountService, clock: FakeClock) -> None:
    token = (await service.register("user@example.com", "securePassword123", "John Doe")).token.token
    principal = await authenticator(service)(token)
    assert principal == Principal("1")
    route = by_name["GET /api/auth/profile"]
    assert await route.handler(Call(principal)) == Reply(
        await UserRpc(service).get_profile(pb.GetProfileRequest(token))
    )
    for nobody in (None, Principal("2")):
        with pytest.raises(errors.Unauthenticated):
            await route.handler(Call(nobody))


async def test_the_profile_is_changed_for_the_caller(
    by_name: dict[str, Route], service: AccountService, clock: FakeClock
) -> None:
    await service.register("user@example.com", "securePassword123", "John Doe")
    created_at = clock.now
    clock.tick(60)
    route = by_name["PATCH /api/auth/profile"]
    reply = await route.handler(Call(Principal("1"), body=pb.UpdateProfileRequest(name="Jane Doe")))
    user = {"id": "1", "email": "user@example.com", "name": "Jane Doe", "created_at": created_at}
    assert reply == Reply(build(pb.UpdateProfileResponse, user=user | {"updated_at": clock.now}))
    with pytest.raises(errors.Unauthenticated):
        await route.handler(Call(None, body=pb.UpdateProfileRequest(name="Jane Doe")))


async def test_a_bad_token_names_no_one(service: AccountService, clock: FakeClock) -> None:
    token = (await service.register("user@example.com", "securePassword123", "John Doe")).token.token
    clock.tick(WEEK)
    for text in ("bad", token):
        with pytest.raises(errors.Unauthenticated):
            await authenticator(service)(text)
