-- From format 2 to format 3: what schema.sql has and format 2 had not.

-- Until now every node that answered was used.
ALTER TABLE nodes ADD COLUMN state INTEGER NOT NULL DEFAULT 0 CHECK (state BETWEEN 0 AND 6);
ALTER TABLE nodes ADD COLUMN reason TEXT NOT NULL DEFAULT '';
ALTER TABLE nodes ADD COLUMN since_ms BIGINT NOT NULL DEFAULT 0;
ALTER TABLE nodes ADD COLUMN seen_ms BIGINT NOT NULL DEFAULT 0;
ALTER TABLE nodes ADD COLUMN passed BIGINT NOT NULL DEFAULT 0;
ALTER TABLE nodes ADD COLUMN alpha BIGINT NOT NULL DEFAULT 1000000000;
ALTER TABLE nodes ADD COLUMN beta BIGINT NOT NULL DEFAULT 0;
UPDATE nodes SET state = 1;

CREATE TABLE node_events (
    id    INTEGER PRIMARY KEY AUTOINCREMENT,
    node  BIGINT NOT NULL,
    at_ms BIGINT NOT NULL,
    kind  TEXT NOT NULL,
    text  TEXT NOT NULL,
    score BIGINT NOT NULL
);
CREATE INDEX node_events_node ON node_events (node, id);

CREATE TABLE challenges (
    node     BIGINT NOT NULL,
    segment  BLOB NOT NULL,
    idx      INTEGER NOT NULL,
    grp      BIGINT NOT NULL,
    tries    INTEGER NOT NULL,
    due_ms   BIGINT NOT NULL,
    PRIMARY KEY (node, segment, idx)
) WITHOUT ROWID;
CREATE INDEX challenges_due ON challenges (due_ms);

ALTER TABLE repairs ADD COLUMN margin INTEGER NOT NULL DEFAULT 0;
ALTER TABLE repairs ADD COLUMN tries INTEGER NOT NULL DEFAULT 0;
ALTER TABLE repairs ADD COLUMN due_ms BIGINT NOT NULL DEFAULT 0;
ALTER TABLE repairs ADD COLUMN absent INTEGER NOT NULL DEFAULT 0 CHECK (absent IN (0, 1));
CREATE INDEX repairs_margin ON repairs (margin, due_ms);

CREATE TABLE leftovers (
    node          BIGINT NOT NULL,
    segment       BLOB NOT NULL,
    idx           INTEGER NOT NULL,
    state         INTEGER NOT NULL CHECK (state IN (0, 1, 2)),
    not_before_ms BIGINT NOT NULL,
    PRIMARY KEY (node, segment, idx)
) WITHOUT ROWID;
CREATE INDEX leftovers_due ON leftovers (not_before_ms);
CREATE INDEX leftovers_segment ON leftovers (segment);

CREATE TABLE strays (
    node     BIGINT NOT NULL,
    segment  BLOB NOT NULL,
    idx      INTEGER NOT NULL,
    len      BIGINT NOT NULL,
    first_ms BIGINT NOT NULL,
    PRIMARY KEY (node, segment, idx)
) WITHOUT ROWID;

CREATE TABLE audits_counted (
    epoch     BIGINT NOT NULL,
    node      BIGINT NOT NULL,
    passed    BIGINT NOT NULL,
    offline   BIGINT NOT NULL,
    contained BIGINT NOT NULL,
    failed    BIGINT NOT NULL,
    score     BIGINT NOT NULL,
    PRIMARY KEY (epoch, node)
) WITHOUT ROWID;
CREATE INDEX audits_counted_node ON audits_counted (node, epoch);
