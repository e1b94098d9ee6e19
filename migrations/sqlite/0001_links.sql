-- Links. A deleted link keeps its row, so that its code never passes to anyone else.
-- id is never reused: an alias taken again by its owner is a new link, with clicks of its own.
CREATE TABLE links (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    short_code TEXT NOT NULL UNIQUE,
    destination TEXT NOT NULL,
    owner_id TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,            -- Unix seconds, 0 = never
    deleted_at INTEGER NOT NULL DEFAULT 0,  -- Unix seconds, 0 = not deleted
    is_alias INTEGER NOT NULL,
    clicks INTEGER NOT NULL DEFAULT 0,      -- recorded clicks: equals the number of counted rows in clicks
    increments INTEGER NOT NULL DEFAULT 0   -- IncrementClicks calls
) STRICT;

CREATE INDEX links_by_owner ON links (owner_id, id) WHERE deleted_at = 0;
