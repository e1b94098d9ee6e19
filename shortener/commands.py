"""Small commands that talk to the running server, or to the data directory when no server runs."""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn, Optional, TypeAlias, TypeVar

import typer

from shortener import config, errors
from shortener.durations import parse_moment

if TYPE_CHECKING:
    from betterproto import Message

    from shortener.client import Api

T = TypeVar("T")
Json: TypeAlias = dict[str, Any]

# Typer reads Optional[...] on every Python we support.
ConfigPath = Annotated[Optional[Path], typer.Option("--config", "-c", help="TOML file.", metavar="PATH")]  # noqa: UP045
Server = Annotated[
    Optional[str],  # noqa: UP045 - as above
    typer.Option("--server", help="Address of url.URLService; default: as configured.", metavar="HOST:PORT"),
]
User = Annotated[str, typer.Option("--user", envvar="SHORTENER_USER", help="Owner of the links.", metavar="ID")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of text.")]
Code = Annotated[str, typer.Argument(help="Short code or alias.", metavar="CODE")]

user = typer.Typer(help="Accounts.", no_args_is_help=True)


def register(main: typer.Typer) -> None:
    """Add the commands to the program."""
    main.command()(shorten)
    main.command("list")(list_links)
    main.command()(stats)
    main.command()(qr)
    main.add_typer(user, name="user")


def shorten(
    url: Annotated[str, typer.Argument(help="Where the link leads.", metavar="URL")],
    alias: Annotated[str, typer.Option(help="Short code of your choice, 3 to 50 of A-Z a-z 0-9 _ -.")] = "",
    expires: Annotated[str, typer.Option(help="Life span (45s 30m 12h 7d 2w) or UTC date (2030-12-31).")] = "",
    owner: User = "local",
    server: Server = None,
    path: ConfigPath = None,
    as_json: AsJson = False,
) -> None:
    """Make a link and print its short URL."""
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

    answer = _call(path, server, talk)
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
    """Show who clicked a link."""
    from shortener.gen.analytics import GetStatsRequest  # noqa: PLC0415 - not for --help

    def lines(numbers: Json) -> list[str]:
        shares = [("country", "countries", "country_name"), ("referrer", "referrers", "referer")]
        return [
            f"clicks           {numbers['total_clicks']}",
            f"unique visitors  {numbers['unique_visitors']}",
            *(f"{device:<16} {count}" for device, count in numbers["device_stats"].items()),
            *(
                f"{title:<16} {item[name]}  {item['click_count']}  {item['percentage']:.1f} %"
                for title, group, name in shares
                for item in numbers[group]
            ),
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
        _fail(f"--out must end in .png or .svg, not {out.name!r}", 2)
    answer = _call(path, server, lambda api: api.urls.get_url(GetUrlRequest(short_code=code)))
    draw = drawing.draw_png if out.suffix.lower() == ".png" else drawing.draw_svg
    try:
        out.write_bytes(draw(answer.url.short_url))
    except OSError as error:
        _fail(f"{out}: {error.strerror}", 1)
    typer.echo(f"{answer.url.short_url} -> {out}")


@user.command("create")
def create_user(
    email: Annotated[str, typer.Option(help="Email, the name to log in with.")],
    username: Annotated[str, typer.Option(help="3 to 32 of A-Z a-z 0-9 _ . -")],
    password: Annotated[
        str, typer.Option(prompt=True, hide_input=True, confirmation_prompt=True, envvar="SHORTENER_PASSWORD")
    ],
    server: Server = None,
    path: ConfigPath = None,
    as_json: AsJson = False,
) -> None:
    """Make an account; asks for the password unless SHORTENER_PASSWORD holds it."""
    from shortener.gen.user import CreateUserRequest  # noqa: PLC0415 - not for --help

    request = CreateUserRequest(email=email, username=username, password=password)
    answer = _call(path, server, lambda api: api.users.create_user(request))
    _show(answer, as_json, lambda made: [f"account {made['id']}: {made['email']}"])


def _call(path: Path | None, server: str | None, talk: "Callable[[Api], Awaitable[T]]") -> T:
    """Connect, run `talk`, and turn every expected failure into one line and an exit status."""
    from shortener import client, storage  # noqa: PLC0415 - not for --help

    try:
        return asyncio.run(client.call(config.load(path), server, talk))
    except config.ConfigError as error:
        _fail(str(error), 2)
    except (errors.Failure, client.Refused, storage.StorageError) as error:
        _fail(str(error), 1)


def _show(answer: "Message", as_json: bool, lines: Callable[[Json], list[str]]) -> None:
    from shortener.transport import jsonio  # noqa: PLC0415 - not for --help

    document = jsonio.message_to_dict(answer)
    typer.echo(json.dumps(document) if as_json else "\n".join(lines(document)))


def _moment(text: str) -> int:
    try:
        return parse_moment(text, int(time.time())) if text else 0
    except ValueError as error:
        _fail(f"--expires: {error}", 2)


def _date(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M")


def _fail(message: str, status: int) -> NoReturn:
    typer.echo(f"shortener: {message}", err=True)
    raise typer.Exit(status)
