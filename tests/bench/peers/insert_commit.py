"""One INSERT and one COMMIT after the other, each on the disk before the next: prints how many a second.

python -m tests.bench.peers.insert_commit FOLDER SECONDS
"""

import secrets
import sqlite3
import sys
import time
from pathlib import Path

MIGRATION = Path(__file__).parents[3] / "migrations" / "sqlite" / "0001_links.sql"
INSERT = """INSERT INTO links (short_code, destination, owner_id, created_at, updated_at, expires_at, is_alias)
    VALUES (?, ?, ?, ?, ?, ?, ?)"""


def main() -> None:
    folder, seconds = Path(sys.argv[1]), float(sys.argv[2])
    database = sqlite3.connect(folder / f"single-{secrets.token_hex(4)}.db", isolation_level=None)
    database.execute("PRAGMA journal_mode = WAL").fetchall()
    database.execute("PRAGMA synchronous = FULL")
    database.executescript(MIGRATION.read_text())
    done, started = 0, time.perf_counter()
    while time.perf_counter() - started < seconds:
        now = int(time.time())
        database.execute("BEGIN IMMEDIATE")
        database.execute(INSERT, (secrets.token_hex(4), "https://example.com/path", "bench", now, now, 0, 0))
        database.execute("COMMIT")
        done += 1
    sys.stdout.write(f"{done / (time.perf_counter() - started)}\n")
    database.close()


if __name__ == "__main__":
    main()
