-- How much changed from one content of a source to another. It follows from the two contents alone:
-- the archive says which two are needed, and what is missing here is counted again.
CREATE TABLE comparisons (
    source    TEXT NOT NULL,
    -- the SHA-256 of each content, in lower-case hexadecimal digits
    new       TEXT NOT NULL,
    old       TEXT NOT NULL,
    -- the rules of comparison that it was counted by
    rules     INTEGER NOT NULL,
    -- entities; all are null where the two cannot be compared
    added     INTEGER,
    removed   INTEGER,
    changed   INTEGER,
    unchanged INTEGER,
    PRIMARY KEY (source, new, old)
) STRICT, WITHOUT ROWID;
