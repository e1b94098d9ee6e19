-- Visitors: keyed hashes of addresses, numbered so that sets of them fit compressed bitmaps.
CREATE TABLE visitors (
    id INTEGER PRIMARY KEY,
    digest BLOB NOT NULL UNIQUE
) STRICT;

-- Clicks: the raw events, append-only.
CREATE TABLE clicks (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    link_id INTEGER NOT NULL,
    clicked_at INTEGER NOT NULL,            -- Unix seconds
    visitor_id INTEGER,                     -- NULL: no address was given
    country TEXT NOT NULL,                  -- ISO 3166-1 alpha-2, ZZ = unknown
    city TEXT NOT NULL,                     -- '' = unknown
    referrer TEXT NOT NULL,                 -- origin, or 'direct'
    device TEXT NOT NULL,                   -- mobile, desktop, tablet, other
    bot INTEGER NOT NULL,                   -- 1: a recognised bot
    counted INTEGER NOT NULL                -- 0: recorded, but not counted (bots, where configured)
) STRICT;

CREATE INDEX clicks_by_link ON clicks (link_id, clicked_at);

-- Roll-ups: counted clicks per link, period and value of one dimension.
-- span: h (hour), d (day), m (calendar month), in UTC; period: Unix seconds of its start.
-- dimension: device, country, referrer, city (value 'CC|city'; clicks without a city have no row).
CREATE TABLE click_rollups (
    link_id INTEGER NOT NULL,
    span TEXT NOT NULL,
    period INTEGER NOT NULL,
    dimension TEXT NOT NULL,
    value TEXT NOT NULL,
    clicks INTEGER NOT NULL,
    PRIMARY KEY (link_id, span, period, dimension, value)
) STRICT, WITHOUT ROWID;

-- Visitor sets: which visitors clicked a link in a period, as a serialized Roaring bitmap of visitors.id.
CREATE TABLE visitor_sets (
    link_id INTEGER NOT NULL,
    span TEXT NOT NULL,
    period INTEGER NOT NULL,
    visitors INTEGER NOT NULL,              -- how many the set holds
    members BLOB NOT NULL,
    PRIMARY KEY (link_id, span, period)
) STRICT;

-- How far the click journal has been moved into the tables above. One row.
CREATE TABLE journal_position (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    segment INTEGER NOT NULL,
    offset INTEGER NOT NULL
) STRICT;
