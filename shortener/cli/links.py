"""Small commands that talk to the running server, or to the data directory when no server runs."""

import asyncio
import json
import os
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Optional, TypeAlias, TypeVar

import typer

from shortener.cli.common import MISUSED, AsJson, ConfigPath, fail, load_config
from shortener.cli.durations import parse_moment

if TYPE_CHECKING:
    from betterproto import Message

    from shortener.cli.client import Api

T = TypeVar("T")
Json: TypeAlias = dict[str, Any]
POLL_SECONDS = 0.2
ROWS_MAX = 10
"""Countries and referrers shown as text; --json has all of them."""

Server = Annotated[
    Optional[str],  # noqa: UP045 - typer reads this form on every Python we support
    typer.Option("--server", help="Where url.URLService listens. [default: as configured]", metavar="HOST:PORT"),
]
User = Annotated[str, typer.Option("--user", envvar="SHORTENER_USER", help="Owner of the links.", metavar="ID")]
Code = Annotated[str, typer.Argument(help="Short code or alias.", metavar="CODE")]
Account = Annotated[str, typer.Argument(help="The account: its id, or its email.", metavar="ID|EMAIL")]

user = typer.Typer(help="Accounts.", no_args_is_help=True, rich_markup_mode=None)


def register(main: typer.Typer) -> None:
    """Add the commands to the program."""
    main.command()(shorten)
    main.command("list")(list_links)
    main.command()(stats)
    main.command()(qr)
    main.add_typer(user, name="user")


def shorten(
    url: Annotated[str, typer.Argument(help="Where the link leads: an absolute http or https URL.", metavar="URL")],
    alias: Annotated[
        str, typer.Option(help="Short code of your choice: 3 to 50 of A-Z a-z 0-9 _ -.", metavar="CODE")
    ] = "",
    expires: Annotated[
        str, typer.Option(help="Life span (45s 30m 12h 7d 2w), or date or time (2030-12-31, UTC).", metavar="WHEN")
    ] = "",
    owner: User = "local",
    server: Server = None,
    path: ConfigPath = None,
    as_json: AsJson = False,
) -> None:
    """Make a link and print its short URL.

    Talks to the running server, or opens the data directory when none runs, as all these commands do.
    """
    from shortener.gen.url import CreateCustomUrlRequest, CreateUrlRequest  # noqa: PLC0415 - not for --help

    expires_at = _moment(expires)

    async def talk(api: "Api") -> "Message":
        if alias:
            custom = CreateCustomUrlRequest(
                alias=alias, long_url=url, user_id=owner, expires_at=expires_at, omit_qr_code=True
            )
            return await api.urls.create_custom_url(custom)
        request = CreateUrlRequest(long_url=url, user_id=owner, expires_at=expires_at, omit_qr_code=True)
        return await api.urls.create_url(request)

    answer = _call(path, server, talk, creates=True)
    _show(answer, as_json, lambda made: [made["short_url"]])


def list_links(
    limit: Annotated[int, typer.Option(help="Links to show at most.", min=1, max=1000)] = 20,
    offset: Annotated[int, typer.Option(help="Links to skip.", min=0)] = 0,
    owner: User = "local",
    server: Server = None,
    path: ConfigPath = None,
    as_json: AsJson = False,
) -> None:
    """List the links of one owner, newest first."""
    from shortener.gen.url import ListUrLsRequest  # noqa: PLC0415 - not for --help

    def lines(page: Json) -> list[str]:
        rows = [
            f"{_date(link['created_at'])}  {link['clicks']:>8}  {'' if link['is_active'] else '(expired) '}"
            f"{link['short_url']}  {link['long_url']}"
            for link in page["urls"]
        ]
        return [*rows, f"{len(rows)} of {page['total']}"]

    answer = _call(path, server, lambda api: api.urls.list_ur_ls(ListUrLsRequest(limit, offset, owner)))
    _show(answer, as_json, lines)


def stats(code: Code, server: Server = None, path: ConfigPath = None, as_json: AsJson = False) -> None:
    """Show how often a link was clicked, on what devices, and from where."""
    from shortener.gen.analytics import GetStatsRequest  # noqa: PLC0415 - not for --help

    def lines(numbers: Json) -> list[str]:
        devices = sorted(numbers["device_stats"].items(), key=lambda device: -device[1])
        total = numbers["total_clicks"]
        return [
            f"clicks           {total}",
            f"unique visitors  {numbers['unique_visitors']}",
            *_shares("devices", ((name, count, 100 * count / total) for name, count in devices if count)),
            *_shares("countries", (_share(item, "country_name") for item in numbers["countries"])),
            *_shares("referrers", (_share(item, "referer") for item in numbers["referrers"])),
        ]

    answer = _call(path, server, lambda api: api.analytics.get_stats(GetStatsRequest(short_code=code)))
    _show(answer, as_json, lines)


def qr(
    code: Code,
    out: Annotated[Path, typer.Option("--out", "-o", help="File to write; .png or .svg.", metavar="FILE")],
    server: Server = None,
    path: ConfigPath = None,
) -> None:
    """Write the QR code of a link to a file."""
    from shortener.gen.url import GetUrlRequest  # noqa: PLC0415 - not for --help
    from shortener.links import qr as drawing  # noqa: PLC0415 - not for --help

    if out.suffix.lower() not in (".png", ".svg"):
        fail(f"--out must end in .png or .svg, not {out.name!r}", MISUSED)
    answer = _call(path, server, lambda api: api.urls.get_url(GetUrlRequest(short_code=code)))
    draw = drawing.draw_png if out.suffix.lower() == ".png" else drawing.draw_svg
    try:
        out.write_bytes(draw(answer.url.short_url))
    except OSError as error:
        fail(f"cannot write {out}: {error.strerror}")
    typer.echo(f"{answer.url.short_url} -> {out}")


@user.command("create")
def create_user(
    email: Annotated[str, typer.Option(help="Email to log in with.", metavar="EMAIL", show_default=False)],
    username: Annotated[str, typer.Option(help="3 to 32 of A-Z a-z 0-9 _ . -", metavar="NAME", show_default=False)],
    server: Server = None,
    path: ConfigPath = None,
    as_json: AsJson = False,
) -> None:
    """Make an account.

    The password is asked for, unless SHORTENER_PASSWORD holds it or standard input brings it as its first line.
    """
    from shortener.gen.user import CreateUserRequest  # noqa: PLC0415 - not for --help

    request = CreateUserRequest(email=email, username=username, password=_password())
    answer = _call(path, server, lambda api: api.users.create_user(request), creates=True)
    _show(answer, as_json, lambda made: [f"account {made['id']}: {made['email']}"])


@user.command("export")
def export_user(
    account: Account,
    out: Annotated[Path, typer.Option("--out", "-o", help="File to write; - is standard output.", metavar="FILE")],
    clicks: Annotated[bool, typer.Option("--clicks", help="Add the raw clicks to each link.")] = False,
    server: Server = None,
    path: ConfigPath = None,
) -> None:
    """Write all that is kept about an account to a file, as one JSON document with a link a line."""
    from shortener.cli.outfile import OutFile  # noqa: PLC0415 - as above
    from shortener.gen.user import ExportUserRequest  # noqa: PLC0415 - not for --help

    async def talk(api: "Api") -> str:
        with OutFile(out) as file:
            request = ExportUserRequest(**_named(account), with_clicks=clicks)
            answer = await api.users.export_user(request)
            file.write(answer.part)
            while answer.next_cursor:
                request.cursor = answer.next_cursor
                answer = await api.users.export_user(request)
                file.write(answer.part)
        return answer.user_id

    try:
        user_id = _call(path, server, talk)
    except OSError as error:
        fail(f"cannot write {out}: {error.strerror}")
    typer.echo(f"account {user_id} -> {out}", err=str(out) == "-")


@user.command("erase")
def erase_user(
    account: Account,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    server: Server = None,
    path: ConfigPath = None,
) -> None:
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

    async def talk(api: "Api") -> str:
        answer = await api.users.erase_user(EraseUserRequest(**_named(account)))
        while not answer.finished:
            await asyncio.sleep(POLL_SECONDS)
            answer = await api.users.erase_user(EraseUserRequest(user_id=answer.user_id))
        return answer.user_id

    typer.echo(f"account {_call(path, server, talk)} erased")


def _named(account: str) -> dict[str, str]:
    return {"email" if "@" in account else "user_id": account}


def _password() -> str:
    if password := os.environ.get("SHORTENER_PASSWORD"):
        return password
    if sys.stdin.isatty():
        return str(typer.prompt("Password", hide_input=True, confirmation_prompt=True, err=True))
    password = sys.stdin.readline().rstrip("\r\n")
    if not password:
        fail("no password: set SHORTENER_PASSWORD or write it to standard input", MISUSED)
    return password


def _call(path: Path | None, server: str | None, talk: "Callable[[Api], Awaitable[T]]", *, creates: bool = False) -> T:
    """Connect and run `talk`."""
    settings = load_config(path)
    from shortener.cli import client  # noqa: PLC0415 - not for --help

    return asyncio.run(client.call(settings, server, talk, creates=creates))


def _show(answer: "Message", as_json: bool, lines: Callable[[Json], list[str]]) -> None:
    from shortener.rest import json_codec as jsonio  # noqa: PLC0415 - not for --help

    document = jsonio.message_to_dict(answer)
    typer.echo(json.dumps(document) if as_json else "\n".join(lines(document)))


def _moment(text: str) -> int:
    try:
        return parse_moment(text, int(time.time())) if text else 0
    except ValueError as error:
        fail(f"--expires: {error}", MISUSED)


def _date(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M")


def _share(item: Json, name: str) -> tuple[str, int, float]:
    return item[name], item["click_count"], item["percentage"]


def _shares(title: str, rows: Iterator[tuple[str, int, float]]) -> list[str]:
    """Return a table of names, counts and percentages under a title; nothing for no rows."""
    table = list(rows)
    width = max((len(name) for name, _, _ in table[:ROWS_MAX]), default=0)
    lines = [f"  {name:<{width}}  {count:>8}  {percentage:5.1f} %" for name, count, percentage in table[:ROWS_MAX]]
    more = len(table) - ROWS_MAX
    return [*([title] if lines else []), *lines, *([f"  and {more} more"] if more > 0 else [])]
