-- Answers that are given again: what a call with an idempotency key was answered, for the time it is kept.
-- key and request are keyed hashes; answer holds numbers and short codes, nothing of the request.
CREATE TABLE replays (
    key BLOB PRIMARY KEY NOT NULL,          -- of the method, its caller and the caller's key
    request BLOB NOT NULL,                  -- of what was asked for
    answer TEXT NOT NULL,                   -- a JSON array
    answered_at INTEGER NOT NULL            -- Unix seconds
) STRICT, WITHOUT ROWID;

CREATE INDEX replays_by_time ON replays (answered_at);
