"""user.UserService whole: the methods of accounts, and those about all that an account owns."""

from shortener.accounts import AccountService
from shortener.accounts.rpc import UserRpc
from shortener.gen import user as pb
from shortener.privacy.erasure import Erasure
from shortener.privacy.export import Exporter
from shortener.rpc.callers import Caller, trusted
from shortener.rpc.codec import build


class PrivacyRpc(UserRpc):
    """The service as the RPC servers take it."""

    def __init__(
        self, accounts: AccountService, exporter: Exporter, erasure: Erasure, *, caller: Caller = trusted
    ) -> None:
        super().__init__(accounts, caller=caller)
        self._exporter = exporter
        self._erasure = erasure

    async def export_user(self, export_user_request: pb.ExportUserRequest) -> pb.ExportUserResponse:
        """Give a part of all that is kept about an account."""
        request = export_user_request
        account_id = await self._accounts.find_id(request.user_id, request.email)
        part = await self._exporter.part(account_id, request.cursor, with_clicks=request.with_clicks)
        return build(pb.ExportUserResponse, user_id=str(account_id), part=part.text, next_cursor=part.next_cursor)

    async def erase_user(self, erase_user_request: pb.EraseUserRequest) -> pb.EraseUserResponse:
        """Remove an account with all it owns, for good."""
        account_id = await self._accounts.find_id(erase_user_request.user_id, erase_user_request.email)
        return await erased(self._erasure, account_id)


async def erased(erasure: Erasure, account_id: int) -> pb.EraseUserResponse:
    """Erase an account and return the answer; both edges answer with this."""
    return build(pb.EraseUserResponse, user_id=str(account_id), finished=await erasure.erase(account_id))
