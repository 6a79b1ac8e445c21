-- From format 3 to format 4: what schema.sql has and format 3 had not.

ALTER TABLE accounts ADD COLUMN owner BLOB CHECK (owner IS NULL OR length(owner) = 32);
ALTER TABLE accounts ADD COLUMN short_since_ms BIGINT;

CREATE TABLE losses (
    segment BLOB NOT NULL,
    idx     INTEGER NOT NULL,
    node    BLOB NOT NULL,
    epoch   BIGINT NOT NULL,
    root    BLOB NOT NULL,
    len     BIGINT NOT NULL,
    data    INTEGER NOT NULL,
    grp     BIGINT NOT NULL,
    PRIMARY KEY (segment, idx, node)
) WITHOUT ROWID;
