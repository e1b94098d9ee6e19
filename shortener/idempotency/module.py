"""Opens the idempotency module: its secret beside the database, and a task that forgets old answers."""

import asyncio
import logging
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from shortener.core import Core
from shortener.errors import OperatorError
from shortener.idempotency.model import SECRET_SIZE
from shortener.idempotency.service import Replays
from shortener.idempotency.sqlite import SqliteReplayStore
from shortener.storage import files
from shortener.tasks import in_thread, running

log = logging.getLogger(__name__)

SWEEP_SECONDS = 60.0


async def open_replays(core: Core) -> Replays:
    """Open the memory of answers, and the task that forgets the old ones. Raises `OperatorError`."""
    secret = await in_thread("keys", lambda: load_secret(core.data_dir / files.REPLAY_KEY))
    replays = Replays(
        store=SqliteReplayStore(core.database),
        transactions=core.database.transaction,
        clock=core.clock,
        secret=secret,
        limits=core.config.idempotency,
    )
    await core.stack.enter_async_context(swept(replays, every_seconds=SWEEP_SECONDS))
    core.gauges.append(("shortener_idempotency_keys", "Idempotency keys remembered.", {}, lambda: replays.count))
    core.gauges.append(("shortener_replayed_answers_total", "Answers given again.", {}, lambda: replays.replayed))
    return replays


@asynccontextmanager
async def swept(replays: Replays, *, every_seconds: float) -> AsyncIterator[Replays]:
    """Count what is kept, and sweep every `every_seconds` until the block ends."""
    await replays.recount()
    async with running("replay-sweeper", _sweep(replays, every_seconds)):
        yield replays


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
        return parse_secret(path, path.read_bytes())
    except OSError as error:
        raise OperatorError(f"cannot use {path}: {files.reason(error)}") from error


def parse_secret(path: Path, text: bytes) -> bytes:
    """Return the secret in the text of the file at `path`. Raises `OperatorError`."""
    try:
        secret = bytes.fromhex(text.decode("ascii"))
    except ValueError:
        secret = b""
    if len(secret) != SECRET_SIZE:
        raise OperatorError(f"cannot use {path}: it is damaged; restore it, or remove it to begin anew")
    return secret
