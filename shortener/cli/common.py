"""What the commands share: their common options, the configuration they read, progress, and how they fail."""

import contextlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, NoReturn, Optional, TypeAlias

import typer

from shortener.config import loading as config
from shortener.config.sections import Config

FAILED = 1
"""Exit status: refused, or not possible now."""
MISUSED = 2
"""Exit status: the command line or the configuration is wrong."""

ConfigPath: TypeAlias = Annotated[
    Optional[Path],  # noqa: UP045 - typer reads this form on every Python we support
    typer.Option(
        "--config",
        "-c",
        envvar="SHORTENER_CONFIG",
        help="TOML file; config.toml documents every key. Keys by environment go before it.",
        metavar="PATH",
    ),
]
AsJson: TypeAlias = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of text.")]


def fail(message: str, status: int = FAILED) -> NoReturn:
    """Print one line on standard error and end with `status`."""
    typer.echo(f"shortener: {message}", err=True)
    raise typer.Exit(status)


def load_config(path: Path | None) -> Config:
    """Read the configuration. Raises `ConfigError`."""
    return config.load(path)


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
