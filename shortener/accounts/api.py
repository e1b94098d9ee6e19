"""The operations on accounts, for both wires: messages in and messages out, nothing else."""

from typing import Any

from shortener import errors
from shortener.accounts.model import Account
from shortener.accounts.ports import SignedIn
from shortener.accounts.service import AccountService
from shortener.api import Operation, Route
from shortener.caller import Authenticate, Caller, Kind
from shortener.errors import Code
from shortener.gen import user as pb
from shortener.rpc.codec import build

_SERVICE = "/user.UserService/"


def authenticator(accounts: AccountService) -> Authenticate:
    """Return the function that turns a bearer token into its caller.

    It reads no store: the token alone says who calls. Those of erased accounts are known, and ids never used again.
    """

    async def authenticate(token: str, address: str) -> Caller:
        return Caller(Kind.ACCOUNT, account=accounts.verify_token(token).user_id, address=address)

    return authenticate


class AccountApi:
    """The functions."""

    def __init__(self, accounts: AccountService) -> None:
        self._accounts = accounts

    async def register(self, request: pb.RegisterRequest, caller: Caller) -> pb.RegisterResponse:
        """Make an account and a token for it."""
        signed_in = await self._accounts.register(request.email, request.password, request.name, caller=caller)
        return build(pb.RegisterResponse, **_signed_in(signed_in), created_at=signed_in.account.created_at)

    async def login(self, request: pb.LoginRequest, caller: Caller) -> pb.LoginResponse:
        """Check email and password and make a token."""
        signed_in = await self._accounts.login(request.email, request.password, caller=caller)
        return build(pb.LoginResponse, **_signed_in(signed_in), expires_at=signed_in.expires_at)

    async def change_password(self, request: pb.ChangePasswordRequest, caller: Caller) -> pb.ChangePasswordResponse:
        """Give the holder of a token a new password; all earlier tokens end."""
        user_id = self._accounts.verify_token(request.token).user_id
        signed_in = await self._accounts.change_password(
            user_id, old=request.old_password, new=request.new_password, caller=caller
        )
        return build(pb.ChangePasswordResponse, token=signed_in.token, expires_at=signed_in.expires_at)

    async def set_password(self, request: pb.SetPasswordRequest, caller: Caller) -> pb.SetPasswordResponse:
        """Give an account a new password, for a trusted caller."""
        if not caller.is_trusted:
            raise errors.Forbidden("only trusted callers may set passwords")
        account_id = await self._accounts.set_password(request.user_id, request.email, request.new_password)
        return build(pb.SetPasswordResponse, user_id=str(account_id))

    async def get_profile(self, request: pb.GetProfileRequest, _: Caller) -> pb.GetProfileResponse:
        """Read the account a token belongs to."""
        return build(pb.GetProfileResponse, user=_profile(await self._accounts.profile(request.token)))

    async def update_profile(self, request: pb.UpdateProfileRequest, _: Caller) -> pb.UpdateProfileResponse:
        """Change name and email."""
        account = await self._accounts.update_profile(request.token, name=request.name, email=request.email)
        return build(pb.UpdateProfileResponse, user=_profile(account))

    async def validate_token(self, request: pb.ValidateTokenRequest, _: Caller) -> pb.ValidateTokenResponse:
        """Tell whether a token is valid."""
        if claims := self._accounts.validate(request.token):
            return build(pb.ValidateTokenResponse, valid=True, user_id=claims.user_id, expires_at=claims.expires_at)
        return build(pb.ValidateTokenResponse)

    async def create_user(self, request: pb.CreateUserRequest, caller: Caller) -> pb.UserResponse:
        """Make an account with a username."""
        account = await self._accounts.create_user(request.email, request.username, request.password, caller=caller)
        return build(pb.UserResponse, **_user(account))

    async def get_user(self, request: pb.GetUserRequest, _: Caller) -> pb.UserResponse:
        """Read an account by its id."""
        return build(pb.UserResponse, **_user(await self._accounts.get_user(request.user_id)))

    async def list_users(self, request: pb.ListUsersRequest, _: Caller) -> pb.UserListResponse:
        """Page through all accounts."""
        accounts, total = await self._accounts.page(request.limit, request.offset)
        has_more = request.offset + len(accounts) < total
        return build(pb.UserListResponse, users=[_user(each) for each in accounts], total=total, has_more=has_more)


def _signed_in(signed_in: SignedIn) -> dict[str, Any]:
    """Return the fields that the answers of Register and Login share."""
    account = signed_in.account
    return {"user_id": str(account.id), "email": account.email, "name": account.name, "token": signed_in.token}


def _user(account: Account) -> dict[str, Any]:
    """Return the fields of `pb.UserResponse`."""
    return {name: getattr(account, name) for name in ("id", "email", "username", "name", "created_at", "updated_at")}


def _profile(account: Account) -> dict[str, Any]:
    """Return the fields of `pb.User`, which has no username and the id as a text."""
    fields = _user(account) | {"id": str(account.id)}
    del fields["username"]
    return fields


def account_operations(accounts: AccountService) -> list[Operation]:
    """Return what can be asked about accounts."""
    api = AccountApi(accounts)
    return [
        Operation(_SERVICE + "Register", api.register, _REGISTER, limit="registrations"),
        Operation(_SERVICE + "Login", api.login, _LOGIN, limit=None),  # has a throttle of its own
        Operation(_SERVICE + "ChangePassword", api.change_password, _CHANGE_PASSWORD),
        Operation(_SERVICE + "SetPassword", api.set_password),
        Operation(_SERVICE + "GetProfile", api.get_profile, _PROFILE),
        # It tells as much about who is registered as Register does.
        Operation(_SERVICE + "UpdateProfile", api.update_profile, _UPDATE_PROFILE, limit="registrations"),
        Operation(_SERVICE + "ValidateToken", api.validate_token),
        Operation(_SERVICE + "CreateUser", api.create_user, limit="registrations"),
        Operation(_SERVICE + "GetUser", api.get_user),
        Operation(_SERVICE + "ListUsers", api.list_users),
    ]


_REGISTER = Route(
    "POST",
    "/api/auth/register",
    "Register an account and get a token for it",
    auth=False,
    status=201,
    errors=(Code.INVALID, Code.FORBIDDEN, Code.CONFLICT, Code.EXHAUSTED),
)
_LOGIN = Route(
    "POST",
    "/api/auth/login",
    "Log in and get a token",
    auth=False,
    errors=(Code.INVALID, Code.UNAUTHENTICATED, Code.EXHAUSTED),
)
_CHANGE_PASSWORD = Route(
    "POST",
    "/api/auth/password",
    "Change one's own password and get a new token; all earlier tokens end",
    fills=("token",),
    errors=(Code.INVALID, Code.EXHAUSTED),
)
_PROFILE = Route("GET", "/api/auth/profile", "Look at one's own profile", fills=("token",))
_UPDATE_PROFILE = Route(
    "PATCH",
    "/api/auth/profile",
    "Change one's own name and email; an empty or absent field is left as it is",
    fills=("token",),
    errors=(Code.INVALID, Code.CONFLICT, Code.EXHAUSTED),
)
