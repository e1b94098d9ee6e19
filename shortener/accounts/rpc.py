"""user.UserService: the methods of both documents, messages in and messages out, nothing else."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from grpclib.const import Handler
from grpclib.server import Stream

from shortener import errors
from shortener.accounts import wire
from shortener.accounts.service import AccountService
from shortener.gen import user as pb
from shortener.rpc.callers import Caller, trusted
from shortener.rpc.codec import build
from shortener.rpc.guard import received

_SERVICE = "/user.UserService/"


class UserRpc(pb.UserServiceBase):
    """The service as the RPC servers take it. Raises the domain's errors; `rpc/guard.py` translates them."""

    def __init__(self, accounts: AccountService, *, caller: Caller = trusted) -> None:
        """Serve `accounts`; `caller` tells who is not trusted, nobody unless given."""
        self._accounts = accounts
        self._caller = caller

    async def register(self, register_request: pb.RegisterRequest) -> pb.RegisterResponse:
        """Make an account and a token for it, for a trusted caller."""
        return await self._register(register_request, "")

    async def login(self, login_request: pb.LoginRequest) -> pb.LoginResponse:
        """Check email and password of a trusted caller and make a token."""
        return await self._login(login_request, "")

    async def change_password(self, change_password_request: pb.ChangePasswordRequest) -> pb.ChangePasswordResponse:
        """Give the holder of a token a new password, for a trusted caller."""
        return await self._change_password(change_password_request, "")

    async def set_password(self, set_password_request: pb.SetPasswordRequest) -> pb.SetPasswordResponse:
        """Give an account a new password, for a trusted caller."""
        return await self._set_password(set_password_request, "")

    async def get_profile(self, get_profile_request: pb.GetProfileRequest) -> pb.GetProfileResponse:
        """Read the account a token belongs to."""
        return wire.profile_response(await self._accounts.profile(get_profile_request.token))

    async def update_profile(self, update_profile_request: pb.UpdateProfileRequest) -> pb.UpdateProfileResponse:
        """Change name and email."""
        request = update_profile_request
        account = await self._accounts.update_profile(request.token, name=request.name, email=request.email)
        return wire.update_profile_response(account)

    async def validate_token(self, validate_token_request: pb.ValidateTokenRequest) -> pb.ValidateTokenResponse:
        """Tell whether a token is valid."""
        return wire.validate_token_response(self._accounts.validate(validate_token_request.token))

    async def create_user(self, create_user_request: pb.CreateUserRequest) -> pb.UserResponse:
        """Make an account with a username, for a trusted caller."""
        return await self._create_user(create_user_request, "")

    async def get_user(self, get_user_request: pb.GetUserRequest) -> pb.UserResponse:
        """Read an account by its id."""
        return wire.user_response(await self._accounts.get_user(get_user_request.user_id))

    async def list_users(self, list_users_request: pb.ListUsersRequest) -> pb.UserListResponse:
        """Page through all accounts."""
        request = list_users_request
        accounts, total = await self._accounts.page(request.limit, request.offset)
        return wire.user_list_response(accounts, total, request.offset)

    def __mapping__(self) -> dict[str, Handler]:
        """Return the methods by path; those to which it matters where a call comes from are not the generated ones."""
        by_address: Mapping[str, Callable[[Any, str], Awaitable[Any]]] = {
            "Register": self._register,
            "Login": self._login,
            "CreateUser": self._create_user,
            "ChangePassword": self._change_password,
            "SetPassword": self._set_password,
        }
        mapping = super().__mapping__()
        for name, method in by_address.items():
            mapping[_SERVICE + name] = mapping[_SERVICE + name]._replace(func=self._with_address(method))
        return mapping

    def _with_address(
        self, method: Callable[[Any, str], Awaitable[Any]]
    ) -> Callable[[Stream[Any, Any]], Awaitable[None]]:
        async def call(stream: Stream[Any, Any]) -> None:
            await stream.send_message(await method(await received(stream), self._caller(stream)))

        return call

    async def _register(self, request: pb.RegisterRequest, address: str) -> pb.RegisterResponse:
        signed_in = await self._accounts.register(request.email, request.password, request.name, address=address)
        return wire.register_response(signed_in)

    async def _login(self, request: pb.LoginRequest, address: str) -> pb.LoginResponse:
        return wire.login_response(await self._accounts.login(request.email, request.password, address=address))

    async def _create_user(self, request: pb.CreateUserRequest, address: str) -> pb.UserResponse:
        account = await self._accounts.create_user(request.email, request.username, request.password, address=address)
        return wire.user_response(account)

    async def _change_password(self, request: pb.ChangePasswordRequest, address: str) -> pb.ChangePasswordResponse:
        user_id = self._accounts.verify_token(request.token).user_id
        signed_in = await self._accounts.change_password(
            user_id, old=request.old_password, new=request.new_password, address=address
        )
        return wire.change_password_response(signed_in)

    async def _set_password(self, request: pb.SetPasswordRequest, address: str) -> pb.SetPasswordResponse:
        if address:
            raise errors.Forbidden("only trusted callers may set passwords")
        account_id = await self._accounts.set_password(request.user_id, request.email, request.new_password)
        return build(pb.SetPasswordResponse, user_id=str(account_id))
