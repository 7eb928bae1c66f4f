-- A source's jobs by the time that each is for: what became of a day is found without reading the
-- history.
CREATE INDEX jobs_by_time ON jobs (source, coalesce(scheduled_for, created_at), state);
