-- Tokens are valid while they carry this; each change of the password raises it.
ALTER TABLE accounts ADD COLUMN token_version INTEGER NOT NULL DEFAULT 0;

-- Read at start: few accounts ever have one.
CREATE INDEX accounts_token_version ON accounts (id, token_version) WHERE token_version > 0;
