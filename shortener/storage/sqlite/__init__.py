"""SQLite plumbing: connections, transactions, migrations. Contains no rule of the domain."""
