"""Commands about accounts: user create, list, password, export, erase."""

import asyncio
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TextIO

import typer

from shortener.cli import display
from shortener.cli.common import MISUSED, Answer, Service, date, fail, on_service
from shortener.storage.files import open_private

if TYPE_CHECKING:
    from betterproto import Message

    from shortener.cli.client import Api

POLL_SECONDS = 0.2

Account = Annotated[str, typer.Argument(help="The account: its id, or its email.", metavar="ID|EMAIL")]

user = typer.Typer(help="Accounts.", no_args_is_help=True, rich_markup_mode=None)


def register(main: typer.Typer) -> None:
    """Add the commands to the program."""
    main.add_typer(user, name="user")


@user.command("create")
@on_service
def create_user(
    service: Service,
    email: Annotated[str, typer.Option(help="Email to log in with.", metavar="EMAIL", show_default=False)],
    username: Annotated[str, typer.Option(help="3 to 32 of A-Z a-z 0-9 _ . -", metavar="NAME", show_default=False)],
) -> Answer:
    """Make an account.

    The password is asked for, unless SHORTENER_PASSWORD holds it or standard input brings it as its first line.
    """
    from shortener.gen.user import CreateUserRequest  # noqa: PLC0415 - not for --help

    request = CreateUserRequest(email=email, username=username, password=_password("Password"))
    made = service.ask(lambda api: api.users.create_user(request), creates=True)
    return Answer(made, f"account {made['id']}: {made['email']}")


@user.command("list")
@on_service
def list_users(
    service: Service,
    limit: Annotated[int, typer.Option(help="Accounts to show at most.", min=1, max=1000)] = 20,
    offset: Annotated[int, typer.Option(help="Accounts to skip.", min=0)] = 0,
) -> Answer:
    """List the accounts, newest first."""
    from shortener.gen.user import ListUsersRequest  # noqa: PLC0415 - not for --help

    page = service.ask(lambda api: api.users.list_users(ListUsersRequest(limit, offset)))

    def show() -> None:
        rows = [
            (str(each["id"]), date(each["created_at"]), each["email"], each["username"] or "-", each["name"])
            for each in page["users"]
        ]
        display.table((">id", "created", "email", "username", "name"), rows, accent=2)
        typer.echo(f"{len(rows)} of {page['total']}")

    return Answer(page, show)


@user.command("password")
@on_service
def set_password(service: Service, account: Account) -> Answer:
    """Give an account a new password. All its tokens end.

    The password is asked for, unless SHORTENER_PASSWORD holds it or standard input brings it as its first line.
    """
    from shortener.gen.user import SetPasswordRequest  # noqa: PLC0415 - not for --help

    request = SetPasswordRequest(**_named(account), new_password=_password("New password"))
    answer = service.ask(lambda api: api.users.set_password(request))
    return Answer(answer, f"account {answer['user_id']} has a new password")


@user.command("export")
@on_service
def export_user(
    service: Service,
    account: Account,
    out: Annotated[Path, typer.Option("--out", "-o", help="File to write; - is standard output.", metavar="FILE")],
    clicks: Annotated[bool, typer.Option("--clicks", help="Add the raw clicks to each link.")] = False,
) -> Answer:
    """Write all that is kept about an account to a file, as one JSON document with a link a line."""
    from shortener.gen.user import ExportUserRequest  # noqa: PLC0415 - not for --help

    async def talk(api: "Api") -> str:
        with _out_file(out) as file:
            request = ExportUserRequest(**_named(account), with_clicks=clicks)
            while True:
                answer = await api.users.export_user(request)
                file.write(answer.part)
                if not answer.next_cursor:
                    return answer.user_id
                request.cursor = answer.next_cursor

    try:
        user_id = service.call(talk)
    except OSError as error:
        fail(f"cannot write {out}: {error.strerror}")
    is_stdout = str(out) == "-"
    shown = None if is_stdout else {"user_id": user_id, "file": str(out)}
    return Answer(shown, lambda: typer.echo(f"account {user_id} -> {out}", err=is_stdout))


@contextmanager
def _out_file(path: Path) -> Iterator[TextIO]:
    """Lend a text file that appears at `path` when the block ends well, with mode 0600; `-` is standard output.

    What was there before is replaced. Raises OSError.
    """
    if str(path) == "-":
        yield sys.stdout
        sys.stdout.flush()
        return
    draft = path.with_name(f"{path.name}.{os.getpid()}.part")
    with open(draft, "x", encoding="utf-8", opener=open_private) as file:
        try:
            yield file
            file.close()
            draft.replace(path)
        finally:
            draft.unlink(missing_ok=True)


@user.command("erase")
@on_service
def erase_user(
    service: Service, account: Account, yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False
) -> Answer:
    """Remove an account with all its links and their statistics, for good.

    The short codes stay taken, for nobody. Ends when everything is gone; what is interrupted goes on by itself.
    """
    from shortener.gen.user import EraseUserRequest  # noqa: PLC0415 - not for --help

    if not yes:
        if not sys.stdin.isatty():
            fail("--yes is required where nobody can be asked", MISUSED)
        typer.confirm(
            f"Erase account {account} with all its links and their statistics, for good?", abort=True, err=True
        )

    async def talk(api: "Api") -> "Message":
        answer = await api.users.erase_user(EraseUserRequest(**_named(account)))
        while not answer.finished:
            await asyncio.sleep(POLL_SECONDS)
            answer = await api.users.erase_user(EraseUserRequest(user_id=answer.user_id))
        return answer

    gone = service.ask(talk)
    return Answer(gone, f"account {gone['user_id']} erased")


def _named(account: str) -> dict[str, str]:
    return {"email" if "@" in account else "user_id": account}


def _password(prompt: str) -> str:
    if password := os.environ.get("SHORTENER_PASSWORD"):
        return password
    if sys.stdin.isatty():
        return str(typer.prompt(prompt, hide_input=True, confirmation_prompt=True, err=True))
    password = sys.stdin.readline().rstrip("\r\n")
    if not password:
        fail("no password: set SHORTENER_PASSWORD or write it to standard input", MISUSED)
    return password
