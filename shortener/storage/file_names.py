"""What the files of the data directory are called that hold something worth keeping."""

from typing import Final

DATABASE: Final = "shortener.db"
JOURNAL: Final = "journal"
"""A directory: the clicks that may not be in the database yet."""
SECRET: Final = "secret"  # noqa: S105 - a file's name
"""Signs tokens."""
VISITOR_KEY: Final = "visitor.key"
REPLAY_KEY: Final = "idempotency.key"
KEYS: Final = (SECRET, VISITOR_KEY, REPLAY_KEY)
