-- How many answers are kept for each caller, so that one of them cannot take the room of all others.
ALTER TABLE replays ADD COLUMN caller BLOB NOT NULL DEFAULT x'';  -- a keyed hash; empty for answers kept before this

CREATE TABLE replay_counts (
    caller BLOB PRIMARY KEY NOT NULL,       -- empty: all callers together
    kept INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

INSERT INTO replay_counts (caller, kept) SELECT x'', count(*) FROM replays;

CREATE TRIGGER replays_kept AFTER INSERT ON replays
BEGIN
    UPDATE replay_counts SET kept = kept + 1 WHERE caller = x'';
    INSERT INTO replay_counts (caller, kept) VALUES (new.caller, 1) ON CONFLICT (caller) DO UPDATE SET kept = kept + 1;
END;

CREATE TRIGGER replays_removed AFTER DELETE ON replays
BEGIN
    UPDATE replay_counts SET kept = kept - 1 WHERE caller = x'';
    UPDATE replay_counts SET kept = kept - 1 WHERE caller = old.caller AND caller <> x'';
    DELETE FROM replay_counts WHERE caller = old.caller AND kept = 0 AND caller <> x'';
END;
