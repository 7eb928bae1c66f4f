-- What a job does. `restore` is known to the schema before the program knows it, so that it needs no
-- new table then.
ALTER TABLE jobs ADD COLUMN operation TEXT NOT NULL DEFAULT 'backup'
    CHECK (operation IN ('backup', 'restore'));

-- A live job is one that has not finished: the table's own check ties that to its state. So the
-- list of live states stands there alone.
DROP INDEX jobs_one_live;
CREATE UNIQUE INDEX jobs_one_live ON jobs (source) WHERE finished_at IS NULL;
DROP INDEX jobs_due;
CREATE INDEX jobs_due ON jobs (due_at) WHERE finished_at IS NULL;

-- A job that is imported from the archive has ended before it is known.
CREATE TRIGGER jobs_count_imported AFTER INSERT ON jobs WHEN NEW.finished_at IS NOT NULL
BEGIN
    INSERT INTO job_counts (source, state, jobs) VALUES (NEW.source, NEW.state, 1)
        ON CONFLICT (source, state) DO UPDATE SET jobs = jobs + 1;
END;
