"""The operations on all that an account owns, for both wires: take it along, or have it removed."""

from collections.abc import AsyncIterator
from dataclasses import dataclass

from shortener import errors
from shortener.accounts import AccountService
from shortener.api import Content, Operation, Query, Route
from shortener.caller import Caller
from shortener.errors import Code
from shortener.gen import user as pb
from shortener.limits.shares import Shares
from shortener.privacy.erasure import Erasure
from shortener.privacy.export import Exporter
from shortener.rpc.codec import build

_SERVICE = "/user.UserService/"
_TYPE = "application/json"


@dataclass(slots=True)
class ExportRequest:
    """Asks for one's own document."""

    with_clicks: str = ""


class PrivacyApi:
    """The functions. At most `exports_max` documents are streamed at once, half of them for one account at most."""

    def __init__(self, accounts: AccountService, exporter: Exporter, erasure: Erasure, *, exports_max: int) -> None:
        self._accounts = accounts
        self._exporter = exporter
        self._erasure = erasure
        self._running = Shares(exports_max, "exports are running", retry_after_seconds=5)

    async def export_user(self, request: pb.ExportUserRequest, _: Caller) -> pb.ExportUserResponse:
        """Give a part of all that is kept about an account."""
        account_id = await self._accounts.find_id(request.user_id, request.email)
        part = await self._exporter.part(account_id, request.cursor, with_clicks=request.with_clicks)
        return build(pb.ExportUserResponse, user_id=str(account_id), part=part.text, next_cursor=part.next_cursor)

    async def erase_user(self, request: pb.EraseUserRequest, _: Caller) -> pb.EraseUserResponse:
        """Remove an account with all it owns, for good."""
        return await self._erased(await self._accounts.find_id(request.user_id, request.email))

    async def export_account(self, request: ExportRequest, caller: Caller) -> Content:
        """Give all that is kept about the caller, as one document."""
        account = await self._accounts.profile_of(caller.account)
        if request.with_clicks not in ("", "false", "true"):
            raise errors.Invalid("with_clicks must be true or false", field="with_clicks")
        return Content(
            _TYPE,
            self._document(account.id, with_clicks=request.with_clicks == "true"),
            {"Content-Disposition": f'attachment; filename="shortener-account-{account.id}.json"'},
        )

    async def erase_account(self, request: pb.EraseAccountRequest, caller: Caller) -> pb.EraseUserResponse:
        """Remove the account of a caller who knows its password."""
        account = await self._accounts.check_password(caller.account, request.password, caller=caller)
        return await self._erased(account.id)

    async def _document(self, account_id: int, *, with_clicks: bool) -> AsyncIterator[bytes]:
        with self._running.held(str(account_id)):
            async for text in self._exporter.parts(account_id, with_clicks=with_clicks):
                yield text.encode()

    async def _erased(self, account_id: int) -> pb.EraseUserResponse:
        return build(pb.EraseUserResponse, user_id=str(account_id), finished=await self._erasure.erase(account_id))


def privacy_operations(
    accounts: AccountService, exporter: Exporter, erasure: Erasure, *, exports_max: int
) -> list[Operation]:
    """Return what can be asked about all that an account owns."""
    api = PrivacyApi(accounts, exporter, erasure, exports_max=exports_max)
    return [
        Operation(_SERVICE + "ExportUser", api.export_user),
        Operation(_SERVICE + "EraseUser", api.erase_user),
        Operation("", api.export_account, _EXPORT),
        Operation("", api.erase_account, _ERASE),
    ]


_EXPORT = Route(
    "GET",
    "/api/auth/export",
    "Get all that is kept about one's own account, as one JSON document",
    query=(Query("with_clicks", str, "Whether each link comes with its raw clicks", choices=("false", "true")),),
    errors=(Code.INVALID, Code.EXHAUSTED),
    media_types=(_TYPE,),
)
_ERASE = Route(
    "POST",
    "/api/auth/erase",
    "Remove one's own account with all its links and their statistics, for good",
    errors=(Code.INVALID, Code.EXHAUSTED),
)
