-- From format 4 to format 5: what schema.sql has and format 4 had not.

ALTER TABLE losses ADD COLUMN claimed_ms BIGINT;
CREATE INDEX losses_unclaimed ON losses (segment, idx, node) WHERE claimed_ms IS NULL;
