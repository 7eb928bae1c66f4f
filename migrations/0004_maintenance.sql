-- When each maintenance task last ran. Instants are milliseconds since 1970-01-01T00:00:00Z.
CREATE TABLE maintenance (
    task         TEXT PRIMARY KEY,
    -- when its last successful run began; null before there was one
    succeeded_at INTEGER,
    -- when its last run began, successful or not
    tried_at     INTEGER NOT NULL,
    -- how many runs failed since the last successful one
    failures     INTEGER NOT NULL DEFAULT 0
) STRICT, WITHOUT ROWID;
