"""The command line: serve, migrate, check-config, version; the small commands live in `commands.py`.

Exit status: 0 done, 1 refused or failed, 2 wrong usage or configuration.
"""

import dataclasses
import json
import sys
from pathlib import Path
from typing import Annotated, NoReturn, Optional

import typer

from shortener import __version__, commands, config
from shortener.sections import Config

main = typer.Typer(
    name="shortener",
    help="A URL shortener in one process: gRPC, REST and fast redirects, with every click counted exactly.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
commands.register(main)

ConfigPath = Annotated[
    Optional[Path],  # noqa: UP045 - typer reads this form on every Python we support
    typer.Option("--config", "-c", help="TOML file; every key stands in config.toml with its default.", metavar="PATH"),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of text.")]


def fail(message: str, status: int) -> NoReturn:
    """Print one line on standard error and end."""
    print(f"shortener: {message}", file=sys.stderr)  # noqa: T201 - this is the command line
    raise typer.Exit(status)


def load_config(path: Path | None) -> Config:
    """Read the configuration, or end with status 2 and one line."""
    try:
        return config.load(path)
    except config.ConfigError as error:
        fail(str(error), 2)


@main.command()
def serve(path: ConfigPath = None) -> None:
    """Run the service until SIGTERM or SIGINT; prints one JSON line on standard output when ready."""
    settings = load_config(path)
    from shortener import log  # noqa: PLC0415 - only this command needs the servers
    from shortener.serving import StartError, run  # noqa: PLC0415 - as above

    log.set_up(settings.log.level, settings.log.format)
    try:
        run(settings)
    except StartError as error:
        fail(str(error), 1)


@main.command()
def migrate(path: ConfigPath = None, as_json: AsJson = False) -> None:
    """Bring the database up to date without serving. `serve` does the same at start."""
    settings = load_config(path)
    from shortener.serving import StartError, run_migrations  # noqa: PLC0415 - only this command needs it

    try:
        applied = run_migrations(settings)
    except StartError as error:
        fail(str(error), 1)
    if as_json:
        typer.echo(json.dumps({"applied": applied}))
    else:
        typer.echo("\n".join(f"applied {name}" for name in applied) or "nothing to do")


@main.command("check-config")
def check_config(path: ConfigPath = None, as_json: AsJson = False) -> None:
    """Check the configuration and print what holds; secrets are not shown."""
    settings = load_config(path)
    shown = {
        section: {key: "***" if key in ("secret", "service_token") and value else value for key, value in keys.items()}
        for section, keys in dataclasses.asdict(settings).items()
    }
    if as_json:
        typer.echo(json.dumps(shown))
        return
    for section, keys in shown.items():
        for key, value in keys.items():
            typer.echo(f"{section}.{key} = {json.dumps(value)}")


@main.command()
def version(as_json: AsJson = False) -> None:
    """Print the version."""
    typer.echo(json.dumps({"version": __version__}) if as_json else f"shortener {__version__}")
