"""Every method of user.UserService, over an RPC channel in memory."""

from collections.abc import AsyncIterator

import pytest
from grpclib.const import Status
from grpclib.exceptions import GRPCError

from shortener import errors
from shortener.accounts.api import account_operations, authenticator
from shortener.accounts.service import AccountService
from shortener.caller import TRUSTED, Caller, Kind
from shortener.config.sections import Limits
from shortener.gen import user as pb
from shortener.limits import RateLimits
from shortener.rpc.guard import mounted
from tests.support.channel import channel_for
from tests.support.fakes import FakeClock

WEEK = 604_800
REGISTER = pb.RegisterRequest(email="user@example.com", password="securePassword123", name="John Doe")
CREATE = pb.CreateUserRequest(email="grpc@example.com", username="grpcuser", password="password123")


@pytest.fixture
async def stub(service: AccountService) -> AsyncIterator[pb.UserServiceStub]:
    async with channel_for([mounted(account_operations(service))]) as channel:
        yield pb.UserServiceStub(channel)


async def refused(call: object) -> tuple[Status, str | None]:
    with pytest.raises(GRPCError) as caught:
        await call
    return caught.value.status, caught.value.message


async def test_register(stub: pb.UserServiceStub, clock: FakeClock) -> None:
    assert await stub.register(REGISTER) == pb.RegisterResponse(
        user_id="1",
        email="user@example.com",
        name="John Doe",
        token=f"token:1:user@example.com:{clock.now + WEEK}",
        created_at=clock.now,
    )
    assert await refused(stub.register(REGISTER)) == (Status.ALREADY_EXISTS, "email is already taken")


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        (pb.RegisterRequest(), "email is required"),
        (pb.RegisterRequest(email="user@example.com"), "password is required"),
        (pb.RegisterRequest(email="user@example.com", password="123456"), "name is required"),
        (
            pb.RegisterRequest(email="user@example.com", password="12345", name="x"),
            "password must have at least 6 characters",
        ),
        (
            pb.RegisterRequest(email="user", password="123456", name="x"),
            "email must be an address such as name@example.com",
        ),
    ],
)
async def test_register_names_what_is_wrong(
    stub: pb.UserServiceStub, request_: pb.RegisterRequest, message: str
) -> None:
    assert await refused(stub.register(request_)) == (Status.INVALID_ARGUMENT, message)


async def test_login(stub: pb.UserServiceStub, clock: FakeClock) -> None:
    await stub.register(REGISTER)
    clock.tick(10)
    assert await stub.login(pb.LoginRequest("user@example.com", "securePassword123")) == pb.LoginResponse(
        user_id="1",
        email="user@example.com",
        name="John Doe",
        token=f"token:1:user@example.com:{clock.now + WEEK}",
        expires_at=clock.now + WEEK,
    )


async def test_login_tells_neither_who_nor_why(stub: pb.UserServiceStub) -> None:
    await stub.register(REGISTER)
    expected = (Status.UNAUTHENTICATED, "invalid email or password")
    assert await refused(stub.login(pb.LoginRequest("user@example.com", "wrongPassword"))) == expected
    assert await refused(stub.login(pb.LoginRequest("none@example.com", "securePassword123"))) == expected
    assert await refused(stub.login(pb.LoginRequest("user@example.com"))) == (
        Status.INVALID_ARGUMENT,
        "password is required",
    )


async def test_change_password(stub: pb.UserServiceStub, clock: FakeClock) -> None:
    token = (await stub.register(REGISTER)).token
    change = pb.ChangePasswordRequest(token, "securePassword123", "otherPassword456")
    changed = await stub.change_password(change)
    issued = f"token:1:user@example.com:{clock.now + WEEK}:{clock.now}"
    assert changed == pb.ChangePasswordResponse(issued, clock.now + WEEK)
    ended = (Status.UNAUTHENTICATED, "invalid or expired token")
    assert await refused(stub.change_password(change)) == ended
    assert await stub.validate_token(pb.ValidateTokenRequest(token)) == pb.ValidateTokenResponse()
    assert (await stub.validate_token(pb.ValidateTokenRequest(issued))).valid
    wrong = pb.ChangePasswordRequest(issued, "securePassword123", "otherPassword456")
    assert await refused(stub.change_password(wrong)) == (Status.UNAUTHENTICATED, "invalid email or password")
    assert await refused(stub.change_password(pb.ChangePasswordRequest())) == (
        Status.INVALID_ARGUMENT,
        "token is required",
    )


async def test_set_password(stub: pb.UserServiceStub) -> None:
    token = (await stub.register(REGISTER)).token
    for request in (
        pb.SetPasswordRequest(user_id="1", new_password="first-one"),
        pb.SetPasswordRequest(email="USER@example.com", new_password="second-one"),
    ):
        assert await stub.set_password(request) == pb.SetPasswordResponse("1")
        assert (await stub.login(pb.LoginRequest("user@example.com", request.new_password))).user_id == "1"
    assert await stub.validate_token(pb.ValidateTokenRequest(token)) == pb.ValidateTokenResponse()
    unknown = pb.SetPasswordRequest(user_id="2", new_password="first-one")
    assert await refused(stub.set_password(unknown)) == (Status.NOT_FOUND, "user not found")
    assert await refused(stub.set_password(pb.SetPasswordRequest(user_id="1"))) == (
        Status.INVALID_ARGUMENT,
        "new_password is required",
    )


async def test_where_registration_is_closed_only_trusted_callers_make_accounts(
    closed_service: AccountService,
) -> None:
    operations, limits = account_operations(closed_service), RateLimits(Limits())
    for caller in (TRUSTED, Caller(address="192.0.2.1")):
        users = mounted(operations, caller_of=lambda _, caller=caller: caller, limits=limits)
        async with channel_for([users]) as channel:
            stub = pb.UserServiceStub(channel)
            for make in (lambda: stub.register(REGISTER), lambda: stub.create_user(CREATE)):  # noqa: B023 - called at once
                if not caller.is_trusted:
                    assert await refused(make()) == (Status.PERMISSION_DENIED, "registration is closed")
                else:
                    await make()
            if not caller.is_trusted:
                taken = pb.SetPasswordRequest(user_id="1", new_password="otherPassword456")
                message = "only trusted callers may set passwords"
                assert await refused(stub.set_password(taken)) == (Status.PERMISSION_DENIED, message)
                assert (await stub.login(pb.LoginRequest(REGISTER.email, REGISTER.password))).user_id == "1"


async def test_get_profile(stub: pb.UserServiceStub, clock: FakeClock) -> None:
    token = (await stub.register(REGISTER)).token
    user = pb.User("1", "user@example.com", "John Doe", clock.now, clock.now)
    assert await stub.get_profile(pb.GetProfileRequest(token)) == pb.GetProfileResponse(user)
    assert await refused(stub.get_profile(pb.GetProfileRequest())) == (Status.INVALID_ARGUMENT, "token is required")
    assert await refused(stub.get_profile(pb.GetProfileRequest("bad"))) == (
        Status.UNAUTHENTICATED,
        "invalid or expired token",
    )
    clock.tick(WEEK)
    assert (await refused(stub.get_profile(pb.GetProfileRequest(token))))[0] == Status.UNAUTHENTICATED


async def test_update_profile(stub: pb.UserServiceStub, clock: FakeClock) -> None:
    await stub.create_user(CREATE)
    token = (await stub.register(REGISTER)).token
    created_at = clock.now
    clock.tick(86_400)
    user = pb.User("2", "user@example.com", "Jane Doe", created_at, clock.now)
    update = pb.UpdateProfileRequest(token=token, name="Jane Doe")
    assert await stub.update_profile(update) == pb.UpdateProfileResponse(user)
    clock.tick()
    assert await stub.update_profile(update) == pb.UpdateProfileResponse(user)
    taken = pb.UpdateProfileRequest(token=token, email="GRPC@example.com")
    assert await refused(stub.update_profile(taken)) == (Status.ALREADY_EXISTS, "email is already taken")
    bad = pb.UpdateProfileRequest(token="bad", name="Jane")
    assert (await refused(stub.update_profile(bad)))[0] == Status.UNAUTHENTICATED
    assert (await refused(stub.update_profile(pb.UpdateProfileRequest(name="J"))))[0] == Status.INVALID_ARGUMENT


async def test_validate_token(stub: pb.UserServiceStub, clock: FakeClock) -> None:
    token = (await stub.register(REGISTER)).token
    ends_at = clock.now + WEEK
    valid = pb.ValidateTokenResponse(valid=True, user_id="1", expires_at=ends_at)
    assert await stub.validate_token(pb.ValidateTokenRequest(token)) == valid
    assert await stub.validate_token(pb.ValidateTokenRequest("bad")) == pb.ValidateTokenResponse()
    assert await refused(stub.validate_token(pb.ValidateTokenRequest())) == (
        Status.INVALID_ARGUMENT,
        "token is required",
    )
    clock.tick(WEEK)
    assert await stub.validate_token(pb.ValidateTokenRequest(token)) == pb.ValidateTokenResponse()


async def test_create_user(stub: pb.UserServiceStub, clock: FakeClock) -> None:
    created = pb.UserResponse(1, "grpc@example.com", "grpcuser", "grpcuser", clock.now, clock.now)
    assert await stub.create_user(CREATE) == created
    assert await stub.get_user(pb.GetUserRequest(user_id=1)) == created
    other = pb.CreateUserRequest(email="other@example.com", username="GRPCUSER", password="password123")
    assert await refused(stub.create_user(other)) == (Status.ALREADY_EXISTS, "username is already taken")
    nameless = pb.CreateUserRequest(email="other@example.com", password="password123")
    assert await refused(stub.create_user(nameless)) == (Status.INVALID_ARGUMENT, "username is required")


async def test_get_user(stub: pb.UserServiceStub, clock: FakeClock) -> None:
    await stub.register(REGISTER)
    registered = pb.UserResponse(1, "user@example.com", "", "John Doe", clock.now, clock.now)
    assert await stub.get_user(pb.GetUserRequest(1)) == registered
    assert await refused(stub.get_user(pb.GetUserRequest(2))) == (Status.NOT_FOUND, "user not found")
    for user_id in (0, -1):
        assert await refused(stub.get_user(pb.GetUserRequest(user_id))) == (
            Status.INVALID_ARGUMENT,
            "user_id must be positive",
        )


async def test_list_users(stub: pb.UserServiceStub, clock: FakeClock) -> None:
    assert await stub.list_users(pb.ListUsersRequest()) == pb.UserListResponse()
    users = [
        await stub.create_user(pb.CreateUserRequest(f"{n}@example.com", f"user{n}", "password123")) for n in range(21)
    ]
    newest_first = users[::-1]
    assert await stub.list_users(pb.ListUsersRequest()) == pb.UserListResponse(newest_first[:20], 21, True)
    assert await stub.list_users(pb.ListUsersRequest(offset=20)) == pb.UserListResponse(newest_first[20:], 21, False)
    assert await stub.list_users(pb.ListUsersRequest(limit=21)) == pb.UserListResponse(newest_first, 21, False)
    assert await stub.list_users(pb.ListUsersRequest(2, 18)) == pb.UserListResponse(newest_first[18:20], 21, True)
    assert await stub.list_users(pb.ListUsersRequest(2, 30)) == pb.UserListResponse([], 21, False)
    assert await refused(stub.list_users(pb.ListUsersRequest(limit=-1))) == (
        Status.INVALID_ARGUMENT,
        "limit must not be negative",
    )
    assert (await refused(stub.list_users(pb.ListUsersRequest(offset=-1))))[0] == Status.INVALID_ARGUMENT


def test_the_routes_are_those_of_the_contract(service: AccountService) -> None:
    offered = [(each.path.rpartition("/")[2], each.route) for each in account_operations(service)]
    assert {
        (name, route.method, route.path, route.auth, route.status, route.fills) for name, route in offered if route
    } == {
        ("Register", "POST", "/api/auth/register", False, 201, ()),
        ("Login", "POST", "/api/auth/login", False, 200, ()),
        ("ChangePassword", "POST", "/api/auth/password", True, 200, ("token",)),
        ("GetProfile", "GET", "/api/auth/profile", True, 200, ("token",)),
        ("UpdateProfile", "PATCH", "/api/auth/profile", True, 200, ("token",)),
    }


async def test_a_token_tells_its_account_until_it_ends(service: AccountService, clock: FakeClock) -> None:
    issued = await service.register("user@example.com", "securePassword123", "John Doe")
    authenticate = authenticator(service)
    caller = Caller(Kind.ACCOUNT, account="1", address="192.0.2.1")
    assert await authenticate(issued.token, "192.0.2.1") == caller
    clock.now = issued.expires_at
    for text in ("bad", issued.token):
        with pytest.raises(errors.Unauthenticated):
            await authenticate(text, "192.0.2.1")


async def test_a_new_password_ends_the_old_tokens(service: AccountService) -> None:
    old = (await service.register("user@example.com", "securePassword123", "John Doe")).token
    new = (await service.change_password("1", old="securePassword123", new="otherPassword456")).token
    with pytest.raises(errors.Unauthenticated):
        await authenticator(service)(old, "192.0.2.1")
    assert (await authenticator(service)(new, "192.0.2.1")).account == "1"
