-- The gateway's metadata, format 5. Portable types only. Keys are bytes and
-- compare as bytes. Times are milliseconds since 1970.

CREATE TABLE settings (
    name  TEXT PRIMARY KEY,
    value TEXT NOT NULL
) WITHOUT ROWID;

CREATE TABLE accounts (
    id           BLOB PRIMARY KEY CHECK (length(id) = 16),
    name         TEXT NOT NULL UNIQUE,
    display_name TEXT NOT NULL,
    email        TEXT NOT NULL,
    created_ms   BIGINT NOT NULL,
    owner        BLOB CHECK (owner IS NULL OR length(owner) = 32), -- the wallet whose account it is
    short_since_ms BIGINT                -- since when it cannot pay; null while it can
) WITHOUT ROWID;

-- Grants name accounts by it; any number have none.
CREATE UNIQUE INDEX accounts_email ON accounts (lower(email)) WHERE email <> '';

CREATE TABLE access_keys (
    id         TEXT PRIMARY KEY,
    account    BLOB NOT NULL REFERENCES accounts (id),
    secret     BLOB NOT NULL,            -- sealed with the master key
    created_ms BIGINT NOT NULL,
    policy     TEXT                      -- its own policy (JSON), which must allow, too
) WITHOUT ROWID;

CREATE TABLE buckets (
    id          INTEGER PRIMARY KEY AUTOINCREMENT, -- never used again
    name        TEXT NOT NULL UNIQUE,
    account     BLOB NOT NULL REFERENCES accounts (id),
    wrapped_key BLOB NOT NULL,           -- the bucket key, under the master key
    created_ms  BIGINT NOT NULL,
    versioning  INTEGER NOT NULL DEFAULT 0 CHECK (versioning IN (0, 1, 2)), -- off, enabled, suspended
    config      TEXT NOT NULL DEFAULT '{}', -- JSON: policy, ACL, tags, CORS, ...
    rev         BIGINT NOT NULL DEFAULT 0   -- grows with every change of config
);

-- One row for every key ever seen: the place where writers of a key meet, and
-- the source of its version order.
CREATE TABLE keys (
    bucket   BIGINT NOT NULL,
    key      BLOB NOT NULL,
    head_seq BIGINT NOT NULL,
    PRIMARY KEY (bucket, key)
) WITHOUT ROWID;

CREATE TABLE versions (
    id            INTEGER PRIMARY KEY AUTOINCREMENT,
    bucket        BIGINT NOT NULL,
    key           BLOB NOT NULL,
    seq           BIGINT NOT NULL,
    version_id    TEXT NOT NULL,         -- 'null' in an unversioned bucket
    latest        INTEGER NOT NULL CHECK (latest IN (0, 1)),
    delete_marker INTEGER NOT NULL CHECK (delete_marker IN (0, 1)),
    size          BIGINT NOT NULL CHECK (size >= 0),
    etag          TEXT NOT NULL,
    modified_ms   BIGINT NOT NULL,
    attributes    TEXT NOT NULL,         -- JSON: headers, user metadata, checksum, tags, ACL
    owner         BLOB NOT NULL DEFAULT x'', -- the account that wrote it; none: anybody
    lock_mode     INTEGER NOT NULL DEFAULT 0 CHECK (lock_mode IN (0, 1, 2)), -- none, governance, compliance
    lock_until_ms BIGINT NOT NULL DEFAULT 0,
    legal_hold    INTEGER NOT NULL DEFAULT 0 CHECK (legal_hold IN (0, 1)),
    UNIQUE (bucket, key, seq)
);
CREATE UNIQUE INDEX versions_latest ON versions (bucket, key) WHERE latest = 1;
CREATE UNIQUE INDEX versions_id ON versions (bucket, key, version_id);

-- What a version consists of, in order. A row is also the reference that keeps
-- a content alive.
CREATE TABLE version_parts (
    version     BIGINT NOT NULL REFERENCES versions (id),
    number      INTEGER NOT NULL,
    content     BLOB NOT NULL,
    size        BIGINT NOT NULL,
    wrapped_key BLOB NOT NULL,           -- the data key, under the bucket key
    etag        TEXT NOT NULL,
    checksum    TEXT NOT NULL,           -- JSON
    PRIMARY KEY (version, number)
) WITHOUT ROWID;
CREATE INDEX version_parts_content ON version_parts (content);

-- A run of encrypted bytes, written once: the intent of an upload while it is
-- open, then what versions and parts refer to.
CREATE TABLE contents (
    id            BLOB PRIMARY KEY CHECK (length(id) = 16),
    state         INTEGER NOT NULL CHECK (state IN (0, 1, 2)), -- open, live, condemned
    account       BLOB NOT NULL,
    size          BIGINT NOT NULL,
    scheme        TEXT NOT NULL,
    codec         INTEGER NOT NULL,
    key_commit    BLOB NOT NULL,         -- tells the right data key from a wrong one
    lease_ms      BIGINT NOT NULL,       -- while open: aborted after this
    not_before_ms BIGINT NOT NULL,       -- while condemned: shards go after this
    inline_bytes  BLOB                   -- small contents live here, encrypted
) WITHOUT ROWID;
CREATE INDEX contents_open ON contents (lease_ms) WHERE state = 0;
CREATE INDEX contents_condemned ON contents (not_before_ms) WHERE state = 2;

CREATE TABLE segments (
    content BLOB NOT NULL,
    ordinal INTEGER NOT NULL,
    id      BLOB NOT NULL UNIQUE CHECK (length(id) = 16),
    len     BIGINT NOT NULL,             -- encrypted bytes
    PRIMARY KEY (content, ordinal)
) WITHOUT ROWID;

CREATE TABLE shards (
    segment     BLOB NOT NULL,
    idx         INTEGER NOT NULL,
    node        BIGINT NOT NULL,         -- nodes.num
    incarnation BLOB NOT NULL,
    root        BLOB NOT NULL,
    len         BIGINT NOT NULL,
    state       INTEGER NOT NULL CHECK (state IN (0, 1, 2)), -- pending, stored, missing
    gen         BIGINT NOT NULL,         -- grows with every change of place
    PRIMARY KEY (segment, idx)
) WITHOUT ROWID;
CREATE INDEX shards_node ON shards (node);

-- Shards that a write could not place, that a read, an audit or a census found
-- lost, or whose node is gone.
CREATE TABLE repairs (
    segment   BLOB NOT NULL,
    idx       INTEGER NOT NULL,
    queued_ms BIGINT NOT NULL,
    margin    INTEGER NOT NULL DEFAULT 0, -- shards beyond the needed ones that its segment has
    tries     INTEGER NOT NULL DEFAULT 0,
    due_ms    BIGINT NOT NULL DEFAULT 0,  -- not to be tried before
    absent    INTEGER NOT NULL DEFAULT 0 CHECK (absent IN (0, 1)), -- only because its node does not answer
    PRIMARY KEY (segment, idx)
) WITHOUT ROWID;
CREATE INDEX repairs_margin ON repairs (margin, due_ms);

-- Shards in places that metadata do not refer to: of a repair under way, until
-- its commit takes the row; and where a shard was before it was repaired or
-- moved. They are deleted after their time.
CREATE TABLE leftovers (
    node          BIGINT NOT NULL,
    segment       BLOB NOT NULL,
    idx           INTEGER NOT NULL,
    state         INTEGER NOT NULL CHECK (state IN (0, 1, 2)), -- promised, to be deleted, promised once
    not_before_ms BIGINT NOT NULL,
    PRIMARY KEY (node, segment, idx)
) WITHOUT ROWID;
CREATE INDEX leftovers_due ON leftovers (not_before_ms);
CREATE INDEX leftovers_segment ON leftovers (segment);

-- Shards that a node holds for us and metadata do not know: kept, not deleted,
-- since it may be the metadata that are wrong.
CREATE TABLE strays (
    node     BIGINT NOT NULL,
    segment  BLOB NOT NULL,
    idx      INTEGER NOT NULL,
    len      BIGINT NOT NULL,
    first_ms BIGINT NOT NULL,
    PRIMARY KEY (node, segment, idx)
) WITHOUT ROWID;

CREATE TABLE nodes (
    num         INTEGER PRIMARY KEY AUTOINCREMENT,
    id          BLOB NOT NULL UNIQUE CHECK (length(id) = 32),
    incarnation BLOB NOT NULL,
    -- vetting, active, draining, left, suspended, disqualified, lost
    state       INTEGER NOT NULL DEFAULT 0 CHECK (state BETWEEN 0 AND 6),
    reason      TEXT NOT NULL DEFAULT '',   -- why it is in this state
    since_ms    BIGINT NOT NULL DEFAULT 0,  -- and since when
    seen_ms     BIGINT NOT NULL DEFAULT 0,  -- when it last answered
    passed      BIGINT NOT NULL DEFAULT 0,  -- audits
    alpha       BIGINT NOT NULL DEFAULT 1000000000, -- good outcomes, in millionths, forgetting old ones
    beta        BIGINT NOT NULL DEFAULT 0   -- bad outcomes, likewise
);

-- What happened to a node's standing and why, the newest of each node.
CREATE TABLE node_events (
    id    INTEGER PRIMARY KEY AUTOINCREMENT,
    node  BIGINT NOT NULL,
    at_ms BIGINT NOT NULL,
    kind  TEXT NOT NULL,
    text  TEXT NOT NULL,
    score BIGINT NOT NULL               -- after it, in millionths
);
CREATE INDEX node_events_node ON node_events (node, id);

-- Audits that a node was connected for and did not answer: asked again.
CREATE TABLE challenges (
    node     BIGINT NOT NULL,
    segment  BLOB NOT NULL,
    idx      INTEGER NOT NULL,
    grp      BIGINT NOT NULL,            -- the 16 KiB group of the shard
    tries    INTEGER NOT NULL,
    due_ms   BIGINT NOT NULL,
    PRIMARY KEY (node, segment, idx)
) WITHOUT ROWID;
CREATE INDEX challenges_due ON challenges (due_ms);

-- Shards that nodes lost: for the ledger, and that repair puts them elsewhere.
CREATE TABLE losses (
    segment BLOB NOT NULL,
    idx     INTEGER NOT NULL,
    node    BLOB NOT NULL,
    epoch   BIGINT NOT NULL,
    root    BLOB NOT NULL,
    len     BIGINT NOT NULL,
    data    INTEGER NOT NULL,
    grp     BIGINT NOT NULL,
    claimed_ms BIGINT,                   -- since when the ledger knows, or never will
    PRIMARY KEY (segment, idx, node)
) WITHOUT ROWID;
CREATE INDEX losses_unclaimed ON losses (segment, idx, node) WHERE claimed_ms IS NULL;

-- How the audits of each epoch ended, for its report and the share of time that
-- a node is online.
CREATE TABLE audits_counted (
    epoch     BIGINT NOT NULL,
    node      BIGINT NOT NULL,
    passed    BIGINT NOT NULL,
    offline   BIGINT NOT NULL,
    contained BIGINT NOT NULL,
    failed    BIGINT NOT NULL,
    score     BIGINT NOT NULL,           -- after the last, in millionths
    PRIMARY KEY (epoch, node)
) WITHOUT ROWID;
CREATE INDEX audits_counted_node ON audits_counted (node, epoch);

-- Bytes of shards that each node holds for each account, kept in step with
-- shards by the same transactions.
CREATE TABLE stored (
    node    BIGINT NOT NULL,
    account BLOB NOT NULL,
    bytes   BIGINT NOT NULL,
    PRIMARY KEY (node, account)
) WITHOUT ROWID;

CREATE TABLE uploads (
    id          TEXT PRIMARY KEY,
    bucket      BIGINT NOT NULL,
    key         BLOB NOT NULL,
    account     BLOB NOT NULL,
    state       INTEGER NOT NULL CHECK (state IN (0, 1, 2)), -- open, completed, aborted
    created_ms  BIGINT NOT NULL,
    attributes  TEXT NOT NULL,
    ended_ms    BIGINT NOT NULL,         -- kept for a day after that
    request     TEXT NOT NULL,           -- of a completed one: the hash of its list of parts
    result      TEXT NOT NULL,           -- and its answer, for repeats
    lock        TEXT NOT NULL DEFAULT '{}' -- JSON: lock and owner that the object will have
) WITHOUT ROWID;
CREATE INDEX uploads_ended ON uploads (ended_ms) WHERE state <> 0;
CREATE INDEX uploads_open ON uploads (bucket, key, id) WHERE state = 0;

CREATE TABLE upload_parts (
    upload      TEXT NOT NULL,
    number      INTEGER NOT NULL,
    content     BLOB NOT NULL,
    size        BIGINT NOT NULL,
    wrapped_key BLOB NOT NULL,
    etag        TEXT NOT NULL,
    checksum    TEXT NOT NULL,
    modified_ms BIGINT NOT NULL,
    PRIMARY KEY (upload, number)
) WITHOUT ROWID;
CREATE INDEX upload_parts_content ON upload_parts (content);

-- What was metered: of nodes (lane vouchers) and of accounts, by epoch.
CREATE TABLE metered_nodes (
    epoch    BIGINT NOT NULL,
    node     BLOB NOT NULL,
    counters BLOB NOT NULL,
    PRIMARY KEY (epoch, node)
) WITHOUT ROWID;
CREATE TABLE metered_accounts (
    epoch    BIGINT NOT NULL,
    account  BLOB NOT NULL,
    counters BLOB NOT NULL,
    PRIMARY KEY (epoch, account)
) WITHOUT ROWID;

-- Events that happened and were not delivered yet: written by the transaction
-- that made them happen.
CREATE TABLE outbox (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    bucket     BIGINT NOT NULL,
    target     TEXT NOT NULL,
    record     TEXT NOT NULL,            -- JSON
    tries      INTEGER NOT NULL,
    due_ms     BIGINT NOT NULL           -- not to be tried before
);
CREATE INDEX outbox_due ON outbox (due_ms);
