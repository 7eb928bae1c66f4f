-- What a restore is to do and has learnt, as JSON: only restores have one.
ALTER TABLE jobs ADD COLUMN restore TEXT;
-- The version that a backup is of, where that is not what its source asks for.
ALTER TABLE jobs ADD COLUMN version TEXT;
-- What the present remote job was submitted for; null where an older version submitted it.
ALTER TABLE jobs ADD COLUMN requested TEXT;
-- A remote job that changes what the service has is asked about in another way than an export.
ALTER TABLE remote_jobs ADD COLUMN is_change INTEGER NOT NULL DEFAULT 0;

-- Restores are few: these are found without reading the history.
CREATE INDEX jobs_restores ON jobs (source, id) WHERE operation = 'restore';
