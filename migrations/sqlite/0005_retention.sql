-- Raw clicks older than this have been removed from clicks, or are being removed. What they added to links.clicks,
-- click_rollups and visitor_sets stays. From removed_before on, clicks is complete. One row.
CREATE TABLE click_retention (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    removed_before INTEGER NOT NULL         -- Unix seconds, the start of an hour; 0 = nothing was ever removed
) STRICT;

INSERT INTO click_retention (one, removed_before) VALUES (1, 0);
