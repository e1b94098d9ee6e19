"""The command line: serve, migrate, check-config, version; the other commands are in `links`, `users` and `data`.

Exit status: 0 done, 1 refused or failed, 2 wrong usage or configuration, 130 interrupted. Every error is one line on
standard error.
"""

import dataclasses
import json
import os
import sys
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from shortener.cli import data, links, users
from shortener.cli.common import FAILED, MISUSED, Answer, AsJson, ConfigPath, fail, on_config, progress
from shortener.config.loading import load
from shortener.config.sections import Config
from shortener.errors import Failure, OperatorError
from shortener.version import __version__

_SECRETS = ("secret", "service_token")


class _Program(TyperGroup):
    """The program as a whole: it says what went wrong in one line, like every command of it."""

    def main(self, *args: Any, **options: Any) -> Any:  # as typer declares it
        """Run, and end the process with the exit status."""
        options |= {"prog_name": "shortener", "standalone_mode": False}
        try:
            status = super().main(*args, **options)
        except (KeyboardInterrupt, typer.Abort):
            status = 130
        except typer.TyperException as error:
            status = _misused(error)
        except OperatorError as error:
            typer.echo(f"shortener: {error}", err=True)
            status = error.status
        except Failure as failure:  # from a service that runs in this process
            typer.echo(f"shortener: {failure}", err=True)
            status = FAILED
        sys.exit(status if isinstance(status, int) else 0)


def _misused(error: typer.TyperException) -> int:
    message = error.format_message().strip()
    context: typer.Context | None = getattr(error, "ctx", None)
    if "\n" in message:  # the help, for a group of commands that is called without one
        typer.echo(message, err=True)
    else:
        command = context.command_path if context else "shortener"
        typer.echo(f"shortener: {message.rstrip('.')} (see `{command} --help`)", err=True)
    return MISUSED


main = typer.Typer(
    name="shortener",
    cls=_Program,
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def _show_version(wanted: bool) -> None:
    if wanted:
        version(as_json=False)
        raise typer.Exit


@main.callback()
def program(
    _: Annotated[
        bool, typer.Option("--version", "-V", is_eager=True, callback=_show_version, help="Print the version.")
    ] = False,
) -> None:
    """Shorten URLs in one process: gRPC, REST and fast redirects, with every click counted exactly.

    Configuration: defaults, then the file of --config, then SHORTENER_<SECTION>_<KEY> in the environment.
    """


@main.command()
def serve(path: ConfigPath = None) -> None:
    """Run the service until SIGTERM or Ctrl-C.

    Prints one JSON line on standard output when every listener accepts, at a terminal a few lines with addresses to
    click, and log lines on standard error.
    """
    settings = load(path)
    from shortener.observe import log  # noqa: PLC0415 - only this command needs the servers
    from shortener.server.sockets import bind  # noqa: PLC0415 - as above
    from shortener.server.systemd import take_over  # noqa: PLC0415 - as above

    log.set_up(settings.log.level, settings.log.format)
    # Bound before the bulk of the program is even loaded: a busy port shows itself at once, callers can queue.
    with bind(settings, take_over(os.environ)) as sockets:
        from shortener.server.process import run  # noqa: PLC0415 - as above

        run(settings, sockets)


@main.command()
@on_config
def migrate(settings: Config) -> Answer:
    """Bring the database up to date without serving.

    Each migration is one transaction. `serve` does the same at start.
    """
    from shortener.server.process import run_migrations  # noqa: PLC0415 - only this command needs it

    with progress("migrating") as report:
        applied = run_migrations(settings, report)
    return Answer({"applied": applied}, "\n".join(f"applied {name}" for name in applied) or "nothing to do")


@main.command("check-config")
@on_config
def check_config(settings: Config) -> Answer:
    """Check whether `serve` could start.

    Says what would prevent it, or else prints what is configured, without secrets. Changes nothing.
    """
    from shortener.server.check import check_start  # noqa: PLC0415 - only this command needs it

    try:
        check_start(settings)
    except OperatorError as error:
        fail(str(error), MISUSED)
    shown = {
        section: {key: "***" if key in _SECRETS and value else value for key, value in keys.items()}
        for section, keys in dataclasses.asdict(settings).items()
    }
    lines = (f"{section}.{key} = {json.dumps(value)}" for section, keys in shown.items() for key, value in keys.items())
    return Answer(shown, "\n".join(lines))


for commands in (links, users, data):
    commands.register(main)


@main.command()
def version(as_json: AsJson = False) -> None:
    """Print the version."""
    typer.echo(json.dumps({"version": __version__}) if as_json else f"shortener {__version__}")
