"""SQLite plumbing. Contains no business logic."""

from shortener.storage.faults import SchemaError, StorageError

__all__ = ["SchemaError", "StorageError"]
