"""Fill a data directory with links and clicks, through the real stores and their transactions.

    python -m tests.bench.load --data-dir DIR --links 1000000 --clicks 1000000

The server must not be running on the directory. Whatever is in it already stays, so a directory can be filled once.
"""

import argparse
import asyncio
import sys
import time
from collections import Counter
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from shortener.analytics.model import Click
from shortener.analytics.sqlite.clicks import SqliteClickStore
from shortener.config.sections import Storage
from shortener.errors import OperatorError
from shortener.links import LinkDetails, LinkRef
from shortener.links.sqlite import SqliteLinkStore
from shortener.storage.data_dir import lock_data_dir
from shortener.storage.sqlite.database import SqliteDatabase, open_database
from shortener.storage.sqlite.migrate import load_migrations, migrate
from shortener.tx import Tx
from tests.bench.dataset import YEAR_SECONDS, World, short_code

CACHE_BYTES = 256 << 20


async def fill(data_dir: Path, world: World, progress: Progress) -> None:
    """Store the whole world. Raises ValueError when a link of it is already there."""
    with lock_data_dir(data_dir):
        path = data_dir / "shortener.db"
        migrations = load_migrations()
        migrate(path, migrations, busy_timeout_seconds=5.0, clock=lambda: int(time.time()))
        async with open_database(
            path,
            Storage(
                readers=1,
                batch_max=4,
                queue_max=16,
                gather_seconds=0.0,
                busy_timeout_seconds=5.0,
                cache_bytes=CACHE_BYTES,
            ),
        ) as database:
            first_id = await _fill_links(database, world, progress)
            await _fill_clicks(database, world, first_id, progress)


async def _fill_links(database: SqliteDatabase, world: World, progress: Progress) -> int:
    """Store the links and return the id of the first; the others follow it one by one."""
    store = SqliteLinkStore(database)
    bar = progress.add_task("links", total=world.links)

    def add(batch: Sequence[LinkDetails], tx: Tx) -> list[int]:
        added = [link_id for new in batch if (link_id := store.add(tx, new))]
        if len(added) < len(batch):
            raise ValueError("the data directory already holds such links: take an empty one")
        return added

    first_id = 0
    for batch in world.link_batches():
        added = await database.transaction(partial(add, batch))
        first_id = first_id or added[0]
        progress.advance(bar, len(batch))
    return first_id


async def _fill_clicks(database: SqliteDatabase, world: World, first_id: int, progress: Progress) -> None:
    links, clicks = SqliteLinkStore(database), SqliteClickStore(count_bots=True, values_max=1000)
    bar = progress.add_task("clicks", total=world.clicks)

    def append(batch: Sequence[Click], tx: Tx) -> None:
        clicks.append(tx, batch)
        links.add_clicks(tx, Counter[LinkRef](click.ref for click in batch))

    for batch in world.click_batches(first_id):
        await database.transaction(partial(append, batch))
        progress.advance(bar, len(batch))


def a_world(links: int, clicks: int, *, years: float, end: int, spread: str, seed: int) -> World:
    """Return the world of these sizes that ends at `end` (Unix seconds). Raises ValueError."""
    if links < 1 or clicks < 0 or years <= 0:
        raise ValueError("there must be at least one link and some time")
    if spread not in {"zipf", "uniform", "one"}:
        raise ValueError("spread must be zipf, uniform or one")
    return World(links, clicks, end - int(years * YEAR_SECONDS), end, spread, seed)  # type: ignore[arg-type] # just checked


def main() -> None:
    """Read the arguments, fill the directory, and say how fast that was."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.load", description=__doc__.splitlines()[0])
    parser.add_argument("--data-dir", type=Path, required=True, help="made if missing")
    parser.add_argument("--links", type=int, default=1)
    parser.add_argument("--clicks", type=int, default=0)
    parser.add_argument("--years", type=float, default=1.0, help="how far back clicks go (default 1)")
    parser.add_argument("--end", type=int, default=0, help="Unix seconds of the last click (default: now)")
    parser.add_argument("--spread", choices=("zipf", "uniform", "one"), default="zipf", help="clicks over links")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    end = options.end or int(time.time())
    try:
        world = a_world(
            options.links, options.clicks, years=options.years, end=end, spread=options.spread, seed=options.seed
        )
    except ValueError as error:
        parser.error(str(error))
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    started = time.perf_counter()
    try:
        with Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True)) as progress:
            asyncio.run(fill(options.data_dir, world, progress))
    except (ValueError, OperatorError) as error:
        sys.exit(f"error: {error}")
    seconds = time.perf_counter() - started
    Console().print(
        f"{world.links:,} links and {world.clicks:,} clicks in {seconds:.1f} s; the first code is {short_code(0)}"
    )


if __name__ == "__main__":
    main()
