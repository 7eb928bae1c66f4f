-- Instants are milliseconds since 1970-01-01T00:00:00Z.

CREATE TABLE jobs (
    id                 INTEGER PRIMARY KEY AUTOINCREMENT,
    source             TEXT NOT NULL,
    account            TEXT NOT NULL,
    state              TEXT NOT NULL
        CHECK (state IN ('queued', 'waiting', 'ready', 'archived', 'failed', 'cancelled')),
    trigger            TEXT NOT NULL CHECK (trigger IN ('schedule', 'manual', 'catch_up')),
    scheduled_for      INTEGER,
    created_at         INTEGER NOT NULL,
    finished_at        INTEGER,
    due_at             INTEGER NOT NULL,
    hold_kind          TEXT,
    hold_message       TEXT,
    lease_owner        TEXT,
    lease_until        INTEGER,
    attempts           INTEGER NOT NULL DEFAULT 0,
    polls              INTEGER NOT NULL DEFAULT 0,
    rounds             INTEGER NOT NULL DEFAULT 0,
    failures           INTEGER NOT NULL DEFAULT 0,
    remote             INTEGER,
    submitting         INTEGER NOT NULL DEFAULT 0,
    remote_id          TEXT,
    status_url         TEXT,
    result_url         TEXT,
    first_submitted_at INTEGER,
    submitted_at       INTEGER,
    expected           INTEGER,
    missing_since      INTEGER,
    error_kind         TEXT,
    error_message      TEXT,
    snapshot           TEXT,
    CHECK ((finished_at IS NULL) = (state IN ('queued', 'waiting', 'ready')))
) STRICT;

-- A source has at most one live job, and a scheduled time at most one job, whoever writes.
CREATE UNIQUE INDEX jobs_one_live ON jobs (source)
    WHERE state IN ('queued', 'waiting', 'ready');
CREATE UNIQUE INDEX jobs_one_per_time ON jobs (source, scheduled_for)
    WHERE scheduled_for IS NOT NULL;
-- What is due: live jobs alone, so that the history costs the loop nothing.
CREATE INDEX jobs_due ON jobs (due_at)
    WHERE state IN ('queued', 'waiting', 'ready');
CREATE INDEX jobs_leased ON jobs (lease_owner) WHERE lease_owner IS NOT NULL;
CREATE INDEX jobs_history ON jobs (source, id);
CREATE INDEX jobs_by_state ON jobs (state, id);

-- One row for each remote job that exists or may exist: what quotas are counted from. The row is
-- written before the request is sent, and taken back when the service refuses.
CREATE TABLE remote_jobs (
    id         INTEGER PRIMARY KEY,
    job        INTEGER NOT NULL REFERENCES jobs (id),
    account    TEXT NOT NULL,
    started_at INTEGER NOT NULL,
    -- known once the service has answered: by these it can still be asked about when its job has
    -- ended without it
    remote_id  TEXT,
    status_url TEXT,
    ended_at   INTEGER
) STRICT;
CREATE INDEX remote_jobs_started ON remote_jobs (account, started_at);
CREATE INDEX remote_jobs_running ON remote_jobs (account, started_at) WHERE ended_at IS NULL;
CREATE INDEX remote_jobs_of ON remote_jobs (job);

-- The timeline: a row for each transition, skip and oddity.
CREATE TABLE events (
    id      INTEGER PRIMARY KEY,
    job     INTEGER REFERENCES jobs (id),
    source  TEXT NOT NULL,
    at      INTEGER NOT NULL,
    kind    TEXT NOT NULL,
    message TEXT NOT NULL
) STRICT;
CREATE INDEX events_of_job ON events (job, id);

-- How far each source's schedule is accounted for.
CREATE TABLE schedules (
    source   TEXT PRIMARY KEY,
    schedule TEXT NOT NULL,
    since    INTEGER NOT NULL,
    cursor   INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Ended jobs are counted as they end, so that no reader ever scans the history.
CREATE TABLE job_counts (
    source TEXT NOT NULL,
    state  TEXT NOT NULL,
    jobs   INTEGER NOT NULL,
    PRIMARY KEY (source, state)
) STRICT, WITHOUT ROWID;
CREATE TRIGGER jobs_count_ended AFTER UPDATE OF state ON jobs
    WHEN NEW.state <> OLD.state AND NEW.state IN ('archived', 'failed', 'cancelled')
BEGIN
    INSERT INTO job_counts (source, state, jobs) VALUES (NEW.source, NEW.state, 1)
        ON CONFLICT (source, state) DO UPDATE SET jobs = jobs + 1;
END;
