"""Commands about links: shorten, list, link show, link delete, stats, qr."""

import re
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple, TypeAlias
from urllib.parse import urlsplit

import typer

from shortener.cli import display
from shortener.cli.common import MISUSED, Answer, Json, Service, date, document_of, fail, on_service, warn
from shortener.cli.durations import parse_moment, parse_past
from shortener.config.loading import is_loopback
from shortener.errors import OperatorError

if TYPE_CHECKING:
    from betterproto import Message

    from shortener.cli.client import Api

ROWS_MAX = 10
"""Countries and referrers shown as text; --json has all of them."""
_GRANULARITIES = (("hour", 2 * 86_400), ("day", 180 * 86_400))
"""How finely a series is shown, and up to how many seconds; longer ones by weeks."""
_WITHOUT_SCHEME = re.compile(
    r"(?:(?P<scheme>https?):/?|//)?(?P<rest>(?:localhost|[^\s/?#@:.]+(?:\.[^\s/?#@:.]+)+\.?)(?::[0-9]{1,5})?(?:[/?#]\S*)?)",
    re.IGNORECASE,
)
"""A host with a dot, or localhost, and what may follow it; before it at most `//`, `http:` or `http:/`."""
_AROUND_URLS = " \t\r\n<>\"'"


class LinkName(NamedTuple):
    """What somebody typed or pasted to name a link: its short code, and the host where that came with a URL."""

    code: str
    host: str
    text: str


def parse_link_name(text: str) -> LinkName:
    """Return the link that `text` names: a short code, or a short URL with or without its scheme.

    Raises `typer.BadParameter` for a URL without a code.
    """
    text = text.strip(_AROUND_URLS)
    if "/" not in text:
        return LinkName(text, "", text)
    try:
        parts = urlsplit(text if "://" in text or text.startswith("/") else f"//{text}")
        host = parts.hostname or ""
    except ValueError:
        raise typer.BadParameter(f"{text} is no URL") from None
    code = parts.path.rstrip("/").rpartition("/")[2]
    if not code:
        raise typer.BadParameter(f"{text} has no short code in it")
    return LinkName(code, host, text)


User = Annotated[str, typer.Option("--user", envvar="SHORTENER_USER", help="Owner of the links.", metavar="ID")]
Code = Annotated[
    LinkName,
    typer.Argument(
        parser=parse_link_name, help="Short code or alias, or the whole short URL.", metavar="CODE", show_default=False
    ),
]
OutPath: TypeAlias = Annotated[
    Path | None, typer.Option("--out", "-o", help="File to write: .png or .svg; - is standard output.", metavar="FILE")
]

link = typer.Typer(help="Single links.", no_args_is_help=True, rich_markup_mode=None)


def register(main: typer.Typer) -> None:
    """Add the commands to the program."""
    main.command()(shorten)
    main.command("list")(list_links)
    main.command()(stats)
    main.command()(qr)
    main.add_typer(link, name="link")


@on_service
def shorten(
    service: Service,
    url: Annotated[str, typer.Argument(help="Where the link leads: an absolute http or https URL.", metavar="URL")],
    alias: Annotated[
        str, typer.Option(help="Short code of your choice: 3 to 50 of A-Z a-z 0-9 _ -.", metavar="CODE")
    ] = "",
    expires: Annotated[
        str, typer.Option(help="Life span (45s 30m 12h 7d 2w), or date or time (2030-12-31, UTC).", metavar="WHEN")
    ] = "",
    owner: User = "local",
) -> Answer:
    """Make a link and print its short URL.

    Talks to the running server, as all these commands do; with --offline they open the data directory instead.
    """
    from shortener.gen.url import CreateCustomUrlRequest, CreateUrlRequest  # noqa: PLC0415 - not for --help

    if offered := with_scheme(url):
        fail(f"long_url must be an absolute http or https URL: did you mean {offered} ?")
    expires_at = _moment("--expires", expires, parse_moment)

    async def talk(api: "Api") -> "Message":
        common: Json = {"long_url": url, "user_id": owner, "expires_at": expires_at, "omit_qr_code": True}
        if alias:
            return await api.urls.create_custom_url(CreateCustomUrlRequest(alias=alias, **common))
        return await api.urls.create_url(CreateUrlRequest(**common))

    made = service.ask(talk, creates=True)
    if expires_at and expires_at <= time.time():
        warn(f"--expires {expires} is in the past, so the link has expired already")
    return Answer(made, made["short_url"])


def with_scheme(url: str) -> str:
    """Return the URL with the scheme that its author left out or misspelt, "" for any other text."""
    found = _WITHOUT_SCHEME.fullmatch(url.strip())
    return f"{(found['scheme'] or 'https').lower()}://{found['rest']}" if found else ""


@on_service
def list_links(
    service: Service,
    limit: Annotated[int, typer.Option(help="Links to show at most.", min=1, max=1000)] = 20,
    offset: Annotated[int, typer.Option(help="Links to skip.", min=0)] = 0,
    owner: User = "local",
) -> Answer:
    """List the links of one owner, newest first."""
    from shortener.gen.url import ListUrLsRequest  # noqa: PLC0415 - not for --help

    page = service.ask(lambda api: api.urls.list_ur_ls(ListUrLsRequest(limit, offset, owner)))

    def show() -> None:
        rows = [
            (
                date(link["created_at"]),
                str(link["clicks"]),
                link["short_url"],
                f"{'' if link['is_active'] else '(expired) '}{link['long_url']}",
            )
            for link in page["urls"]
        ]
        display.table(("created", ">clicks", "short URL", "leads to"), rows, accent=2)
        typer.echo(f"{len(rows)} of {page['total']}")

    return Answer(page, show)


@link.command("show")
@on_service
def show_link(service: Service, code: Code) -> Answer:
    """Show where a link leads, and what else is known of it."""
    answer = service.ask(lambda api: _get(api, code))
    link = answer["url"]
    facts = {
        "short URL": link["short_url"],
        "leads to": link["long_url"],
        "state": "active" if link["is_active"] else "expired",
        "clicks": str(link["clicks"]),
        "created": date(link["created_at"]),
        "expires": date(link["expires_at"]) if link["expires_at"] else "never",
    }
    return Answer(answer, lambda: display.facts(facts))


@link.command("delete")
@on_service
def delete_link(
    service: Service,
    code: Code,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask at a terminal.")] = False,
) -> Answer:
    """Stop a link at once and for good.

    Its code stays taken: its owner alone can have an alias again.
    """
    from shortener.gen.url import DeleteUrlRequest  # noqa: PLC0415 - not for --help

    link = service.ask(lambda api: _get(api, code))["url"]
    named = f"{link['short_url']} -> {link['long_url']}"
    if not yes and sys.stdin.isatty():
        typer.confirm(f"Delete {named} for good?", abort=True, err=True)
    answer = service.ask(lambda api: api.urls.delete_url(DeleteUrlRequest(short_code=link["short_code"])))
    return Answer(answer, f"deleted {named}")


@on_service
def stats(
    service: Service,
    code: Code,
    since: Annotated[
        str,
        typer.Option(help="Only clicks of the last 12h, 30d or 8w, or since 2030-12-31; with a chart.", metavar="WHEN"),
    ] = "",
) -> Answer:
    """Show how often a link was clicked.

    And on what devices, and from where; --since adds the clicks of each hour, day or week, at a terminal as a chart.
    """
    from shortener.gen.analytics import GetStatsRequest, GetTimeSeriesRequest  # noqa: PLC0415 - not for --help

    now = int(time.time())
    start = _moment("--since", since, parse_past)
    granularity = next((name for name, seconds in _GRANULARITIES if now - start <= seconds), "week")

    async def talk(api: "Api") -> tuple["Message", "Message | None"]:
        short_code = await _code(api, code)
        numbers = await api.analytics.get_stats(GetStatsRequest(short_code=short_code, start_time=start))
        if not since:
            return numbers, None
        request = GetTimeSeriesRequest(short_code=short_code, start_time=start, granularity=granularity)
        return numbers, await api.analytics.get_time_series(request)

    answer, series = service.call(talk)
    numbers = document_of(answer)
    if series is not None:
        numbers |= {"granularity": granularity} | document_of(series)
    return Answer(numbers, lambda: _show_stats(numbers))


def _show_stats(numbers: Json) -> None:
    typer.echo(f"clicks           {numbers['total_clicks']}")
    typer.echo(f"unique visitors  {numbers['unique_visitors']}")
    if granularity := numbers.get("granularity"):
        counts = [(point["timestamp"], point["clicks"]) for point in numbers["points"]]
        display.series(f"clicks by {granularity}", counts, by_hour=granularity == "hour")
    devices = sorted(numbers["device_stats"].items(), key=lambda device: -device[1])
    shares = [display.Share(name, count, 100 * count / numbers["total_clicks"]) for name, count in devices if count]
    display.shares("devices", shares, rows_max=ROWS_MAX)
    for title, name in (("countries", "country_name"), ("referrers", "referer")):
        shares = [display.Share(row[name], row["click_count"], row["percentage"]) for row in numbers[title]]
        display.shares(title, shares, rows_max=ROWS_MAX)


@on_service
def qr(service: Service, code: Code, out: OutPath = None) -> Answer:
    """Draw the QR code of a link.

    At a terminal it is drawn there; elsewhere standard output is a PNG file.
    """
    from shortener.links.qr import draw_png, draw_svg, modules, rows  # noqa: PLC0415 - not for --help

    file = None if str(out) == "-" else out
    if file is not None and file.suffix.lower() not in (".png", ".svg"):
        fail(f"--out must end in .png or .svg, not {file.name!r}", MISUSED)
    short_url = str(service.ask(lambda api: _get(api, code))["url"]["short_url"])
    drawn = modules(short_url)

    def show() -> None:
        if out is None and display.is_terminal():
            display.qr(rows(drawn))
            typer.echo(short_url)
        elif file is None:
            sys.stdout.buffer.write(draw_png(drawn))
        else:
            typer.echo(f"{short_url} -> {file}")

    if file is not None:
        try:
            file.write_bytes((draw_png if file.suffix.lower() == ".png" else draw_svg)(drawn))
        except OSError as error:
            fail(f"cannot write {file}: {error.strerror}")
    return Answer({"short_url": short_url, "file": str(file or "")}, show)


async def _get(api: "Api", name: LinkName) -> "Message":
    """Return the link that was named. Raises `OperatorError` when it was pasted from elsewhere."""
    from shortener.gen.url import GetUrlRequest  # noqa: PLC0415 - not for --help

    answer = await api.urls.get_url(GetUrlRequest(short_code=name.code))
    own = answer.url.short_url
    if name.host and not is_loopback(name.host) and name.host != urlsplit(own).hostname:
        raise OperatorError(
            f"{name.text} is not of this server, whose short URLs begin with {own.removesuffix(name.code)}"
        )
    return answer


async def _code(api: "Api", name: LinkName) -> str:
    """Return the short code that was named. Of a pasted URL the host is looked at, too."""
    if name.host and not is_loopback(name.host):
        await _get(api, name)
    return name.code


def _moment(option: str, text: str, parse: Callable[[str, int], int]) -> int:
    """Return the Unix time that an option names, 0 where it is left out."""
    try:
        return parse(text, int(time.time())) if text else 0
    except ValueError as error:
        fail(f"{option}: {error}", MISUSED)
