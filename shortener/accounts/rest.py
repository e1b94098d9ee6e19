"""The gateway's /api/auth routes, and how it learns who calls; JSON bodies are the RPCs' messages, nothing else."""

from shortener.accounts import wire
from shortener.accounts.service import AccountService
from shortener.errors import Code
from shortener.gen import user as pb
from shortener.rest.auth import Authenticate, Principal
from shortener.rest.routes import Call, Reply, Route

_PROFILE_PATH = "/api/auth/profile"
_NO_STORE = {"Cache-Control": "no-store"}  # answers that carry a token (RFC 6750 section 5.3)


def authenticator(accounts: AccountService) -> Authenticate:
    """Return the function that turns a bearer token into its principal.

    It reads no store: the token alone says who calls. Those of erased accounts are known, and ids never used again.
    """

    async def authenticate(token: str) -> Principal:
        return Principal(accounts.verify_token(token).user_id)

    return authenticate


def routes(accounts: AccountService) -> list[Route]:
    """Return the routes of registration, login, password and profile."""

    async def register(call: Call) -> Reply:
        assert isinstance(call.body, pb.RegisterRequest)
        body = call.body
        signed_in = await accounts.register(body.email, body.password, body.name, address=call.address)
        return Reply(wire.register_response(signed_in), status=201, headers=_NO_STORE)

    async def login(call: Call) -> Reply:
        assert isinstance(call.body, pb.LoginRequest)
        signed_in = await accounts.login(call.body.email, call.body.password, address=call.address)
        return Reply(wire.login_response(signed_in), headers=_NO_STORE)

    async def change_password(call: Call) -> Reply:
        assert isinstance(call.body, pb.ChangePasswordRequest)
        signed_in = await accounts.change_password(
            call.caller_id(), old=call.body.old_password, new=call.body.new_password, address=call.address
        )
        return Reply(wire.change_password_response(signed_in), headers=_NO_STORE)

    async def get_profile(call: Call) -> Reply:
        return Reply(wire.profile_response(await accounts.profile_of(call.caller_id())))

    async def update_profile(call: Call) -> Reply:
        assert isinstance(call.body, pb.UpdateProfileRequest)
        account = await accounts.update_profile_of(call.caller_id(), name=call.body.name, email=call.body.email)
        return Reply(wire.update_profile_response(account))

    return [
        Route(
            "POST",
            "/api/auth/register",
            register,
            "Register an account and get a token for it",
            auth=False,
            body=pb.RegisterRequest,
            reply=pb.RegisterResponse,
            status=201,
            errors=(Code.INVALID, Code.FORBIDDEN, Code.CONFLICT, Code.EXHAUSTED),
            limit="registrations",
        ),
        Route(
            "POST",
            "/api/auth/login",
            login,
            "Log in and get a token",
            auth=False,
            body=pb.LoginRequest,
            reply=pb.LoginResponse,
            errors=(Code.INVALID, Code.UNAUTHENTICATED, Code.EXHAUSTED),
        ),
        Route(
            "POST",
            "/api/auth/password",
            change_password,
            "Change one's own password and get a new token; all earlier tokens end",
            body=pb.ChangePasswordRequest,
            body_hides=frozenset({"token"}),
            reply=pb.ChangePasswordResponse,
            errors=(Code.INVALID, Code.EXHAUSTED),
        ),
        Route("GET", _PROFILE_PATH, get_profile, "Look at one's own profile", reply=pb.GetProfileResponse),
        Route(
            "PATCH",
            _PROFILE_PATH,
            update_profile,
            "Change one's own name and email; an empty or absent field is left as it is",
            body=pb.UpdateProfileRequest,
            body_hides=frozenset({"token"}),
            reply=pb.UpdateProfileResponse,
            errors=(Code.INVALID, Code.CONFLICT, Code.EXHAUSTED),
            limit="registrations",  # it tells as much about who is registered
        ),
    ]
