"""SQLite plumbing. Contains no business logic."""

from shortener.storage.sqlite.faults import InUseError, SchemaError, StorageError

__all__ = ["InUseError", "SchemaError", "StorageError"]
