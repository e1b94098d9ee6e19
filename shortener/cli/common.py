"""What the commands share: common options, reading the configuration, reaching the service, printing, failing."""

import asyncio
import contextlib
import functools
import inspect
import json
import sys
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn, TypeAlias, TypeVar

import typer

from shortener.config.loading import load

if TYPE_CHECKING:
    from betterproto import Message

    from shortener.cli.client import Api

T = TypeVar("T")
Json: TypeAlias = dict[str, Any]

FAILED = 1
"""Exit status: refused, or not possible now."""
MISUSED = 2
"""Exit status: the command line or the configuration is wrong."""

ConfigPath: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        "--config",
        "-c",
        envvar="SHORTENER_CONFIG",
        help="TOML file; config.toml documents every key. Keys by environment go before it.",
        metavar="PATH",
    ),
]
AsJson: TypeAlias = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of text.")]
Server: TypeAlias = Annotated[
    str | None,
    typer.Option("--server", help="Where url.URLService listens. [default: as configured]", metavar="HOST:PORT"),
]
Offline: TypeAlias = Annotated[
    bool, typer.Option("--offline", help="Work on the data directory itself; no server may run on it.")
]


def fail(message: str, status: int = FAILED) -> NoReturn:
    """Print one line on standard error and end with `status`."""
    typer.echo(f"shortener: {message}", err=True)
    raise typer.Exit(status)


def warn(message: str) -> None:
    """Print one line on standard error about what was done all the same."""
    typer.echo(f"shortener: warning: {message}", err=True)


@dataclass(frozen=True, slots=True)
class Service:
    """How a command reaches the service, as its options say."""

    server: str | None
    offline: bool
    path: Path | None

    def call(self, talk: "Callable[[Api], Awaitable[T]]", *, creates: bool = False) -> T:
        """Run `talk` against the service; `creates` tells that offline a new database will do.

        Raises `OperatorError`, and offline the domain's failures.
        """
        if self.offline and self.server:
            fail("--server and --offline exclude each other", MISUSED)
        settings = load(self.path)
        from shortener.cli import client  # noqa: PLC0415 - not for --help

        if self.offline:
            return asyncio.run(client.call_offline(settings, talk, creates=creates))
        return asyncio.run(client.call_server(settings, self.server, talk))

    def ask(self, talk: "Callable[[Api], Awaitable[Message]]", *, creates: bool = False) -> Json:
        """Run `talk` and return its answer as JSON documents have it. Raises what `call` raises."""
        return document_of(self.call(talk, creates=creates))


@dataclass(frozen=True, slots=True)
class Answer:
    """What a command has to say: one JSON document (None where standard output is taken), and the same as text.

    `text` is printed, or called to print it. `status` is what the command ends with.
    """

    document: Json | None
    text: str | Callable[[], None]
    status: int = 0


def on_service(command: Callable[..., Answer]) -> Callable[..., None]:
    """Give a command the options --server, --offline, --config and --json.

    It takes the `Service` that they name as its first argument, and returns its answer for this to print.
    """

    def run(
        server: Server = None, offline: Offline = False, path: ConfigPath = None, as_json: AsJson = False, **own: Any
    ) -> None:
        _print(command(Service(server, offline, path), **own), as_json=as_json)

    return _with_options(command, run)


def on_config(command: Callable[..., Answer]) -> Callable[..., None]:
    """Give a command the options --config and --json. It takes the configuration as its first argument."""

    def run(path: ConfigPath = None, as_json: AsJson = False, **own: Any) -> None:
        _print(command(load(path), **own), as_json=as_json)

    return _with_options(command, run)


def _with_options(command: Callable[..., Answer], run: Callable[..., None]) -> Callable[..., None]:
    """Return `run` with the options of `command`, but for the first argument, before its own ones."""
    common = [each for each in inspect.signature(run).parameters.values() if each.name != "own"]
    parameters = [*list(inspect.signature(command, eval_str=True).parameters.values())[1:], *common]
    functools.update_wrapper(run, command)
    run.__annotations__ = {each.name: each.annotation for each in parameters}
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined] # read by inspect.signature
    return run


def _print(answer: Answer, *, as_json: bool) -> None:
    try:
        if as_json and answer.document is not None:
            typer.echo(json.dumps(answer.document))
        elif callable(answer.text):
            answer.text()
        else:
            typer.echo(answer.text)
        sys.stdout.flush()
    except BrokenPipeError:  # whoever read has enough
        raise
    except OSError as error:
        fail(f"cannot write standard output: {error.strerror}")
    if answer.status:
        raise typer.Exit(answer.status)


def document_of(answer: "Message") -> Json:
    """Return an answer as JSON documents have it."""
    from shortener.rest import json_codec  # noqa: PLC0415 - not for --help

    return json_codec.message_to_dict(answer)


def date(seconds: int) -> str:
    """Return a Unix time as people read it, in UTC."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M")


@contextlib.contextmanager
def progress(title: str) -> Iterator[Callable[[int, int], None]]:
    """Give a function to call with (done, total); it draws a bar when standard error is a terminal."""
    if not sys.stderr.isatty():
        yield lambda done, total: None
        return
    from rich.console import Console  # noqa: PLC0415 - only where there is somebody to look
    from rich.progress import Progress  # noqa: PLC0415 - as above

    with Progress(console=Console(stderr=True)) as bar:
        task = bar.add_task(title, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
