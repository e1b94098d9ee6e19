"""SQLite plumbing. Contains no business logic."""
