"""Commands that keep the data safe and small: backup, restore, verify, compact."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from shortener.cli.common import FAILED, Answer, on_config, progress
from shortener.config.sections import Config

FINDINGS_MAX = 100
"""Findings shown as text; --json has all of them."""


def register(main: typer.Typer) -> None:
    """Add the commands to the program."""
    for command in (backup, restore, verify, compact):
        main.command()(command)


@on_config
def backup(
    settings: Config,
    directory: Annotated[Path, typer.Argument(help="Where to: a new or empty directory.", metavar="DIR")],
) -> Answer:
    """Copy all data into a directory of its own.

    Database, click journal and keys are copied as they are at one moment. The server may run; it is neither stopped
    nor held up. DIR is whole or not there at all.
    """
    from shortener.backup.backup import back_up  # noqa: PLC0415 - not for --help

    with progress("copying") as report:
        made = back_up(Path(settings.storage.data_dir), directory, report)
    document = {"directory": str(directory), "files": len(made.files), "bytes": made.size}
    return Answer(document, f"{len(made.files)} files, {_megabytes(made.size)} -> {directory}")


@on_config
def restore(
    settings: Config,
    directory: Annotated[Path, typer.Argument(help="A directory that `backup` has made.", metavar="DIR")],
    force: Annotated[
        bool, typer.Option("--force", help="Replace the data that the data directory holds already.")
    ] = False,
) -> Answer:
    """Put a backup into the data directory.

    Its checksums are compared before. The directory must be new or without data, and no server may run on it.
    """
    from shortener.backup.restore import restore as put_back  # noqa: PLC0415 - not for --help

    data_dir = Path(settings.storage.data_dir)
    with progress("restoring") as report:
        listed = put_back(directory, data_dir, force=force, progress=report)
    document = {"data_dir": str(data_dir), "files": len(listed.files), "bytes": listed.size}
    return Answer(document, f"{len(listed.files)} files, {_megabytes(listed.size)} -> {data_dir}")


@on_config
def verify(
    settings: Config,
    directory: Annotated[
        Path | None, typer.Argument(help="A backup to check. [default: the configured data directory]", metavar="[DIR]")
    ] = None,
) -> Answer:
    """Check the data, or a backup of it.

    Looks at pages, counts, click journal and keys, and changes nothing; a server may run. Prints one line for each
    finding, and ends with status 1 when there is any.
    """
    from shortener.backup.verify import verify as check  # noqa: PLC0415 - not for --help

    has_own_secret = not (settings.auth.secret or settings.auth.secret_file)
    with progress("verifying") as report:
        place = directory or Path(settings.storage.data_dir)
        found = check(place, has_own_secret=has_own_secret, progress=report)
    if not found.findings:
        counts = f"{found.links} links, {found.accounts} accounts, {found.clicks} clicks"
        return Answer(asdict(found), f"all is well: {counts}, {found.waiting} more in the journal")
    lines = list(found.findings[:FINDINGS_MAX])
    if len(found.findings) > FINDINGS_MAX:
        lines.append(f"and {len(found.findings) - FINDINGS_MAX} more")
    return Answer(asdict(found), "\n".join(lines), FAILED)


@on_config
def compact(settings: Config) -> Answer:
    """Write the database anew: nothing that was deleted or erased is left in it, and unused space is given back.

    The server must be stopped. The disk must have room for the database once more.
    """
    from shortener.backup.compact import compact as write_anew  # noqa: PLC0415 - not for --help

    with progress("compacting") as report:
        before, after = write_anew(Path(settings.storage.data_dir), report)
    return Answer({"bytes_before": before, "bytes_after": after}, f"{_megabytes(before)} -> {_megabytes(after)}")


def _megabytes(size: int) -> str:
    return f"{size / 1e6:,.1f} MB"
