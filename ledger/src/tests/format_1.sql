-- The ledger's past, format 1. Nothing here is ever changed or deleted, and
-- all else that the ledger knows follows from it.

CREATE TABLE genesis (
    id      INTEGER PRIMARY KEY CHECK (id = 1),
    content BLOB NOT NULL
);

CREATE TABLE blocks (
    height   INTEGER PRIMARY KEY CHECK (height >= 0),
    header   BLOB NOT NULL CHECK (length(header) = 170),
    finality BLOB NOT NULL
);

CREATE TABLE entries (
    idx     INTEGER PRIMARY KEY CHECK (idx >= 0),         -- place in the log
    height  BIGINT NOT NULL REFERENCES blocks (height),
    content BLOB NOT NULL CHECK (length(content) BETWEEN 1 AND 1024),
    lane    BLOB CHECK (length(lane) = 74)                -- of receipts: epoch, gateway, node, lane
);
CREATE INDEX entries_by_height ON entries (height);
CREATE INDEX entries_by_lane ON entries (lane) WHERE lane IS NOT NULL;

CREATE TRIGGER blocks_follow BEFORE INSERT ON blocks
WHEN NEW.height <> (SELECT coalesce(max(height) + 1, 0) FROM blocks)
BEGIN SELECT RAISE(ABORT, 'blocks must follow each other'); END;

CREATE TRIGGER entries_follow BEFORE INSERT ON entries
WHEN NEW.idx <> (SELECT coalesce(max(idx) + 1, 0) FROM entries)
BEGIN SELECT RAISE(ABORT, 'entries must follow each other'); END;

CREATE TRIGGER genesis_stays BEFORE UPDATE ON genesis
BEGIN SELECT RAISE(ABORT, 'the genesis never changes'); END;

CREATE TRIGGER blocks_stay BEFORE UPDATE ON blocks
BEGIN SELECT RAISE(ABORT, 'blocks never change'); END;

CREATE TRIGGER entries_stay BEFORE UPDATE ON entries
BEGIN SELECT RAISE(ABORT, 'entries never change'); END;

CREATE TRIGGER genesis_is_kept BEFORE DELETE ON genesis
BEGIN SELECT RAISE(ABORT, 'the genesis is never deleted'); END;

CREATE TRIGGER blocks_are_kept BEFORE DELETE ON blocks
BEGIN SELECT RAISE(ABORT, 'blocks are never deleted'); END;

CREATE TRIGGER entries_are_kept BEFORE DELETE ON entries
BEGIN SELECT RAISE(ABORT, 'entries are never deleted'); END;
