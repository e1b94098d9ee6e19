"""A process that migrates a database to the current schema, then by further steps that rewrite every click.

python -m tests.promises.migration_process DATABASE
"""

import hashlib
import sys
from collections.abc import Sequence
from pathlib import Path

from shortener.storage.sqlite.migrate import Migration, load_migrations, migrate

_HEAVY = {
    "by_visitor": "CREATE INDEX clicks_by_visitor ON clicks (visitor_id, clicked_at);",
    "language": "ALTER TABLE clicks ADD COLUMN language TEXT NOT NULL DEFAULT '';\n"
    "UPDATE clicks SET language = lower(country);",
    "rebuilt": "CREATE TABLE clicks_new (id INTEGER PRIMARY KEY, link_id INTEGER, facts TEXT) STRICT;\n"
    "INSERT INTO clicks_new SELECT id, link_id, country || referrer || device || language FROM clicks;\n"
    "DROP TABLE clicks;\nALTER TABLE clicks_new RENAME TO clicks;",
}


def steps() -> list[Migration]:
    """The program's own migrations, and the heavy ones behind them."""
    own = load_migrations()
    heavy = [
        Migration(len(own) + number, name, script, hashlib.sha256(script.encode()).hexdigest())
        for number, (name, script) in enumerate(_HEAVY.items(), 1)
    ]
    return own + heavy


def apply(path: Path, migrations: Sequence[Migration]) -> int:
    """Bring the database up to these; return how many were missing."""
    done = migrate(path, migrations, busy_timeout_seconds=5.0, clock=lambda: 1_800_000_000)
    return len(done)


if __name__ == "__main__":
    sys.stdout.write(f"{apply(Path(sys.argv[1]), steps())}\n")
