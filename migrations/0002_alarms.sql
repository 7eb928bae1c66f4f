-- What somebody has been told is broken. One row for each place that can be broken: a source, an
-- account, a disk. `heard` is 0 until at least one channel took the message.
CREATE TABLE alarms (
    place   TEXT PRIMARY KEY,
    kind    TEXT NOT NULL,
    about   TEXT NOT NULL,
    message TEXT NOT NULL,
    since   INTEGER NOT NULL,
    told_at INTEGER NOT NULL,
    heard   INTEGER NOT NULL DEFAULT 0
) STRICT, WITHOUT ROWID;
