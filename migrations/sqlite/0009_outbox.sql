-- Events that others want to hear of, written in the transactions they belong to. Whoever delivers them removes them;
-- where nobody does, none are written.
CREATE TABLE outbox (
    id INTEGER PRIMARY KEY AUTOINCREMENT,   -- in the order in which things happened
    kind TEXT NOT NULL,                     -- such as link.created
    link_id INTEGER NOT NULL,
    short_code TEXT NOT NULL,
    at INTEGER NOT NULL                     -- Unix seconds
) STRICT;
