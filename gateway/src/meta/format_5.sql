-- From format 4 to format 5: what schema.sql has and format 4 had not.

ALTER TABLE losses ADD COLUMN is_claimed INTEGER NOT NULL DEFAULT 0 CHECK (is_claimed IN (0, 1));
