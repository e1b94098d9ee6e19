"""The gateway's routes for one's own data: take it along, or have it removed."""

from collections.abc import AsyncIterator

from shortener import errors
from shortener.accounts import AccountService
from shortener.errors import Code
from shortener.gen import user as pb
from shortener.limits.shares import Shares
from shortener.privacy.erasure import Erasure
from shortener.privacy.export import Exporter
from shortener.privacy.rpc import erased
from shortener.rest.routes import Call, Query, Reply, Route

_TYPE = "application/json"


def routes(accounts: AccountService, exporter: Exporter, erasure: Erasure, *, exports_max: int) -> list[Route]:
    """Return the routes of export and erasure.

    At most `exports_max` documents are written at the same time, those of one account in half of the places at most.
    """
    running = Shares(exports_max, "exports are running", retry_after_seconds=5)

    async def documents(account_id: int, *, with_clicks: bool) -> AsyncIterator[bytes]:
        with running.held(str(account_id)):
            async for text in exporter.parts(account_id, with_clicks=with_clicks):
                yield text.encode()

    async def export(call: Call) -> Reply:
        account = await accounts.profile_of(call.caller_id())
        with_clicks = _flag("with_clicks", call.text("with_clicks"))
        name = f"shortener-account-{account.id}.json"
        return Reply(
            stream=documents(account.id, with_clicks=with_clicks),
            content_type=_TYPE,
            headers={"Content-Disposition": f'attachment; filename="{name}"'},
        )

    async def erase(call: Call) -> Reply:
        assert isinstance(call.body, pb.EraseAccountRequest)
        account_id = await accounts.check_password(call.caller_id(), call.body.password, address=call.address)
        return Reply(await erased(erasure, account_id))

    return [
        Route(
            "GET",
            "/api/auth/export",
            export,
            "Get all that is kept about one's own account, as one JSON document",
            query=(
                Query("with_clicks", str, "Whether each link comes with its raw clicks", choices=("false", "true")),
            ),
            errors=(Code.INVALID, Code.EXHAUSTED),
            media_types=(_TYPE,),
        ),
        Route(
            "POST",
            "/api/auth/erase",
            erase,
            "Remove one's own account with all its links and their statistics, for good",
            body=pb.EraseAccountRequest,
            reply=pb.EraseUserResponse,
            errors=(Code.INVALID, Code.EXHAUSTED),
        ),
    ]


def _flag(name: str, text: str) -> bool:
    if text not in ("", "false", "true"):
        raise errors.Invalid(f"{name} must be true or false", field=name)
    return text == "true"
