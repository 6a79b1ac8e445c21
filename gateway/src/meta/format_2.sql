-- From format 1 to format 2: what schema.sql has and format 1 had not.

-- Until now two accounts could have one address: the older one keeps it.
UPDATE accounts SET email = '' WHERE EXISTS (
    SELECT 1 FROM accounts AS older
    WHERE lower(older.email) = lower(accounts.email)
      AND (older.created_ms, older.id) < (accounts.created_ms, accounts.id)
);
CREATE UNIQUE INDEX accounts_email ON accounts (lower(email)) WHERE email <> '';

ALTER TABLE access_keys ADD COLUMN policy TEXT;

ALTER TABLE buckets ADD COLUMN versioning INTEGER NOT NULL DEFAULT 0 CHECK (versioning IN (0, 1, 2));
ALTER TABLE buckets ADD COLUMN config TEXT NOT NULL DEFAULT '{}';
ALTER TABLE buckets ADD COLUMN rev BIGINT NOT NULL DEFAULT 0;

ALTER TABLE versions ADD COLUMN owner BLOB NOT NULL DEFAULT x'';
ALTER TABLE versions ADD COLUMN lock_mode INTEGER NOT NULL DEFAULT 0 CHECK (lock_mode IN (0, 1, 2));
ALTER TABLE versions ADD COLUMN lock_until_ms BIGINT NOT NULL DEFAULT 0;
ALTER TABLE versions ADD COLUMN legal_hold INTEGER NOT NULL DEFAULT 0 CHECK (legal_hold IN (0, 1));
-- Until now only the owner of a bucket could write to it.
UPDATE versions SET owner = (SELECT account FROM buckets WHERE buckets.id = versions.bucket);

ALTER TABLE uploads ADD COLUMN lock TEXT NOT NULL DEFAULT '{}';

CREATE TABLE outbox (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    bucket     BIGINT NOT NULL,
    target     TEXT NOT NULL,
    record     TEXT NOT NULL,
    tries      INTEGER NOT NULL,
    due_ms     BIGINT NOT NULL
);
CREATE INDEX outbox_due ON outbox (due_ms);
