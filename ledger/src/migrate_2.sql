-- From format 1 to format 2: longer entries, statements that are found, events.
-- No entry changes; SQLite can change a CHECK only by copying the table.

CREATE TABLE longer (
    idx     INTEGER PRIMARY KEY CHECK (idx >= 0),         -- place in the log
    height  BIGINT NOT NULL REFERENCES blocks (height),
    content BLOB NOT NULL CHECK (length(content) BETWEEN 1 AND 21504),
    lane    BLOB CHECK (length(lane) = 74)                -- of receipts: epoch, gateway, node, lane
);

INSERT INTO longer SELECT idx, height, content, lane FROM entries ORDER BY idx;
DROP TABLE entries;
ALTER TABLE longer RENAME TO entries;

CREATE INDEX entries_by_height ON entries (height);
CREATE INDEX entries_by_lane ON entries (lane) WHERE lane IS NOT NULL;
-- Of usage statements (a 5 and the chain come first): gateway, account, epoch.
CREATE INDEX entries_by_statement ON entries (substr(content, 18, 56))
WHERE substr(content, 1, 1) = x'05';

CREATE TRIGGER entries_follow BEFORE INSERT ON entries
WHEN NEW.idx <> (SELECT coalesce(max(idx) + 1, 0) FROM entries)
BEGIN SELECT RAISE(ABORT, 'entries must follow each other'); END;

CREATE TRIGGER entries_stay BEFORE UPDATE ON entries
BEGIN SELECT RAISE(ABORT, 'entries never change'); END;

CREATE TRIGGER entries_are_kept BEFORE DELETE ON entries
BEGIN SELECT RAISE(ABORT, 'entries are never deleted'); END;

-- What settling did to whom. It follows from the entries: a replay tells it
-- again, and writes what is missing.
CREATE TABLE events (
    id      INTEGER PRIMARY KEY,
    height  BIGINT NOT NULL REFERENCES blocks (height),
    seq     BIGINT NOT NULL,                              -- place in the block's events
    kind    TEXT NOT NULL,
    epoch   BIGINT,
    party   BLOB CHECK (length(party) = 32),              -- key of a node or a gateway
    account BLOB CHECK (length(account) = 16),
    json    TEXT NOT NULL,
    UNIQUE (height, seq)
);
CREATE INDEX events_by_party ON events (party, id) WHERE party IS NOT NULL;
CREATE INDEX events_by_account ON events (account, epoch) WHERE account IS NOT NULL;

-- The last block whose events are told.
CREATE TABLE told (
    id     INTEGER PRIMARY KEY CHECK (id = 1),
    height BIGINT NOT NULL
);
INSERT INTO told (id, height) VALUES (1, -1);
