"""Opens replays for use: their secret beside the database, their number, and a task that forgets the old ones."""

import asyncio
import logging
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from shortener.clock import Clock
from shortener.config.sections import Idempotency
from shortener.errors import OperatorError
from shortener.idempotency.model import SECRET_SIZE
from shortener.idempotency.service import Replays
from shortener.idempotency.sqlite import SqliteReplayStore
from shortener.storage import files
from shortener.storage.sqlite.faults import reason
from shortener.storage.sqlite.sql import Database
from shortener.tasks import cancel, in_thread

log = logging.getLogger(__name__)

SWEEP_SECONDS = 60.0


@asynccontextmanager
async def open_replays(
    database: Database, data_dir: Path, limits: Idempotency, *, clock: Clock
) -> AsyncIterator[Replays]:
    """Remember answers in `database` until the block ends, and forget the old ones. Raises `OperatorError`.

    Their secret is a file in `data_dir`, which the caller owns.
    """
    secret = await in_thread("keys", lambda: load_secret(data_dir / files.REPLAY_KEY))
    replays = Replays(
        store=SqliteReplayStore(database),
        transactions=database.transaction,
        clock=clock,
        secret=secret,
        limits=limits,
    )
    async with swept(replays, every_seconds=SWEEP_SECONDS):
        yield replays


@asynccontextmanager
async def swept(replays: Replays, *, every_seconds: float) -> AsyncIterator[Replays]:
    """Count what is kept, and sweep every `every_seconds` until the block ends."""
    await replays.recount()
    task = asyncio.create_task(_sweep(replays, every_seconds), name="replay-sweeper")
    try:
        yield replays
    finally:
        await cancel(task)


async def _sweep(replays: Replays, every_seconds: float) -> None:
    while True:
        await asyncio.sleep(every_seconds)
        try:
            await replays.sweep()
        except Exception as error:  # noqa: BLE001 - a disk that is full or busy now may not be so in a minute
            log.warning("outdated idempotency keys cannot be removed", extra={"reason": repr(error)[:200]})


def load_secret(path: Path) -> bytes:
    """Return the secret in the file at `path`, which is made (mode 0600) when there is none. Waits for the disk.

    Without it, the answers that are kept are not found again. Raises `OperatorError`.
    """
    try:
        if not path.exists():
            files.create(path, f"{secrets.token_hex(SECRET_SIZE)}\n".encode())
        path.chmod(0o600)  # should a restored backup have opened it to others
        secret = bytes.fromhex(path.read_bytes().decode("ascii"))
    except OSError as error:
        raise OperatorError(f"cannot use {path}: {reason(error)}") from error
    except ValueError:
        secret = b""
    if len(secret) != SECRET_SIZE:
        raise OperatorError(f"cannot use {path}: it is damaged; restore it, or remove it to begin anew")
    return secret
