-- What repeats for one reason is one line with a count: waits that follow one another for the same
-- reason. `reason` is the sentence apart from what differs each time, such as the next try's time;
-- lines without one never repeat.
ALTER TABLE events ADD COLUMN reason TEXT;
ALTER TABLE events ADD COLUMN count INTEGER NOT NULL DEFAULT 1;
ALTER TABLE events ADD COLUMN last_at INTEGER;

-- Metrics count each of them.
CREATE TRIGGER events_count_repeats AFTER UPDATE OF count ON events WHEN NEW.count > OLD.count
BEGIN
    INSERT INTO event_counts (source, kind, events)
        VALUES (NEW.source, NEW.kind, NEW.count - OLD.count)
        ON CONFLICT (source, kind) DO UPDATE SET events = events + excluded.events;
END;
