-- What metrics show of the history is counted as it happens, so that no scrape ever reads it.

-- How long archived jobs took, from their making to their end: the number of jobs that took at most
-- `seconds` and more than the next lower bound (see DURATIONS in src/store/history.rs), and their
-- milliseconds together.
CREATE TABLE job_durations (
    source       TEXT NOT NULL,
    seconds      INTEGER NOT NULL,
    jobs         INTEGER NOT NULL,
    milliseconds INTEGER NOT NULL,
    PRIMARY KEY (source, seconds)
) STRICT, WITHOUT ROWID;

CREATE TABLE event_counts (
    source TEXT NOT NULL,
    kind   TEXT NOT NULL,
    events INTEGER NOT NULL,
    PRIMARY KEY (source, kind)
) STRICT, WITHOUT ROWID;

CREATE TRIGGER jobs_count_durations AFTER UPDATE OF state ON jobs
    WHEN NEW.state <> OLD.state AND NEW.state = 'archived'
BEGIN
    INSERT INTO job_durations (source, seconds, jobs, milliseconds)
        SELECT NEW.source, min(value), 1, max(NEW.finished_at - NEW.created_at, 0)
        FROM json_each('[10,30,60,300,900,3600,10800,21600,43200,86400,9000000000000000]')
        WHERE value * 1000 >= NEW.finished_at - NEW.created_at
        ON CONFLICT (source, seconds) DO UPDATE
            SET jobs = jobs + 1, milliseconds = milliseconds + excluded.milliseconds;
END;

CREATE TRIGGER events_count AFTER INSERT ON events
BEGIN
    INSERT INTO event_counts (source, kind, events) VALUES (NEW.source, NEW.kind, 1)
        ON CONFLICT (source, kind) DO UPDATE SET events = events + 1;
END;

INSERT INTO event_counts (source, kind, events)
    SELECT source, kind, count(*) FROM events GROUP BY source, kind;

INSERT INTO job_durations (source, seconds, jobs, milliseconds)
    SELECT source, bound, count(*), sum(max(took, 0)) FROM (
        SELECT source, finished_at - created_at AS took, (
            SELECT min(value)
            FROM json_each('[10,30,60,300,900,3600,10800,21600,43200,86400,9000000000000000]')
            WHERE value * 1000 >= finished_at - created_at
        ) AS bound
        FROM jobs WHERE state = 'archived'
    ) GROUP BY source, bound;
