-- Accounts that were erased: nothing but the id, so that its tokens are refused for ever. The row in accounts is gone.
CREATE TABLE erased_accounts (
    id INTEGER PRIMARY KEY,                 -- what accounts.id was; AUTOINCREMENT there never gives it again
    erased_at INTEGER NOT NULL,             -- Unix seconds
    pending INTEGER NOT NULL                -- 1: links and clicks are still being removed
) STRICT;

CREATE INDEX erased_accounts_pending ON erased_accounts (id) WHERE pending = 1;

-- Ids of links that are nobody's any more: their clicks, roll-ups and visitor sets are still to be removed.
-- An erased link itself keeps its row, with neither destination nor owner, so that its code stays taken.
CREATE TABLE click_purges (
    link_id INTEGER PRIMARY KEY
) STRICT;

-- Whoever takes an own deleted alias again begins anew: what was counted before belongs to no link.
CREATE TRIGGER links_forgotten AFTER DELETE ON links
BEGIN
    INSERT INTO click_purges (link_id) VALUES (old.id);
END;

-- Those that were taken again before: one seek for each link that has clicks.
WITH RECURSIVE clicked (link_id) AS (
    SELECT MIN(link_id) FROM clicks
    UNION ALL
    SELECT (SELECT MIN(link_id) FROM clicks WHERE link_id > clicked.link_id) FROM clicked WHERE link_id IS NOT NULL
)
INSERT INTO click_purges (link_id)
SELECT link_id FROM clicked WHERE link_id IS NOT NULL AND NOT EXISTS (SELECT 1 FROM links WHERE id = link_id);

-- What an owner has deleted is exported and erased too. Only deletions write here.
CREATE INDEX links_deleted_by_owner ON links (owner_id, id) WHERE deleted_at <> 0;
