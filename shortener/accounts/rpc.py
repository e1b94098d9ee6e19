"""user.UserService: the methods of both documents, messages in and messages out, nothing else."""

from grpclib.const import Handler
from grpclib.server import Stream

from shortener.accounts import wire
from shortener.accounts.service import AccountService
from shortener.gen import user as pb
from shortener.rpc.callers import Caller, trusted
from shortener.rpc.guard import received

LOGIN = "/user.UserService/Login"


class UserRpc(pb.UserServiceBase):
    """The service as the RPC servers take it. Raises the domain's errors; `rpc/guard.py` translates them."""

    def __init__(self, accounts: AccountService, *, caller: Caller = trusted) -> None:
        """Serve `accounts`; `caller` tells whose logins are throttled, nobody's unless given."""
        self._accounts = accounts
        self._caller = caller

    async def register(self, register_request: pb.RegisterRequest) -> pb.RegisterResponse:
        """Make an account and a token for it."""
        request = register_request
        return wire.register_response(await self._accounts.register(request.email, request.password, request.name))

    async def login(self, login_request: pb.LoginRequest) -> pb.LoginResponse:
        """Check email and password of a trusted caller and make a token."""
        return await self._login(login_request, address="")

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
        """Make an account with a username."""
        request = create_user_request
        account = await self._accounts.create_user(request.email, request.username, request.password)
        return wire.user_response(account)

    async def get_user(self, get_user_request: pb.GetUserRequest) -> pb.UserResponse:
        """Read an account by its id."""
        return wire.user_response(await self._accounts.get_user(get_user_request.user_id))

    async def list_users(self, list_users_request: pb.ListUsersRequest) -> pb.UserListResponse:
        """Page through all accounts."""
        request = list_users_request
        accounts, total = await self._accounts.page(request.limit, request.offset)
        return wire.user_list_response(accounts, total, request.offset)

    def __mapping__(self) -> dict[str, Handler]:
        """Return the methods by path; Login is not the generated one, because it matters where it comes from."""
        mapping = super().__mapping__()
        mapping[LOGIN] = mapping[LOGIN]._replace(func=self._login_call)
        return mapping

    async def _login_call(self, stream: "Stream[pb.LoginRequest, pb.LoginResponse]") -> None:
        request = await received(stream)
        await stream.send_message(await self._login(request, address=self._caller(stream)))

    async def _login(self, request: pb.LoginRequest, *, address: str) -> pb.LoginResponse:
        return wire.login_response(await self._accounts.login(request.email, request.password, address=address))
