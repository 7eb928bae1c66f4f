-- A job belongs to its worker until the worker lets it go or dies, and the lock that each worker holds
-- says whether it lives. No clock has a say in that, so a lease has no end.
ALTER TABLE jobs DROP COLUMN lease_until;

-- For how long a job was put off when `due_at` was set: after the clock was set back it is due no
-- later than this from then.
ALTER TABLE jobs ADD COLUMN wait_ms INTEGER NOT NULL DEFAULT 0;
UPDATE jobs SET wait_ms = max(0, due_at - CAST(unixepoch('subsec') * 1000 AS INTEGER))
    WHERE state IN ('queued', 'waiting', 'ready');

-- A job that was cancelled while its snapshot was being filed counts once, as archived.
DROP TRIGGER jobs_count_ended;
CREATE TRIGGER jobs_count_ended AFTER UPDATE OF state ON jobs
    WHEN NEW.state <> OLD.state AND NEW.state IN ('archived', 'failed', 'cancelled')
BEGIN
    UPDATE job_counts SET jobs = jobs - 1 WHERE source = OLD.source AND state = OLD.state;
    INSERT INTO job_counts (source, state, jobs) VALUES (NEW.source, NEW.state, 1)
        ON CONFLICT (source, state) DO UPDATE SET jobs = jobs + 1;
END;
