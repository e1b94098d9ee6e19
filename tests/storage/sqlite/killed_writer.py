"""A process that writes notes until it is killed. Prints a line for each acknowledged one."""

import asyncio
import os
import sys
from pathlib import Path

from tests.support.storage_databases import adding, notes_database


async def write(path: Path) -> None:
    async with notes_database(path, gather_seconds=0.001) as database:

        async def caller(name: int) -> None:
            number = 0
            while True:
                text = f"{os.getpid()} {name} {number}"
                await database.transaction(adding(text))
                os.write(1, f"{text}\n".encode())
                number += 1

        await asyncio.gather(*(caller(name) for name in range(16)))


if __name__ == "__main__":
    asyncio.run(write(Path(sys.argv[1])))
