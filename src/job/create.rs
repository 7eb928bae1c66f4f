//! The creation of a job, and what becomes of a scheduled time while one is live.

use super::{Change, Job, JobEvent, Mover, Operation, Restore, State, Trigger};
use chrono::{DateTime, TimeDelta, Utc};

/// A job to be created.
#[derive(Debug, Clone)]
pub struct NewJob {
    /// The source's name.
    pub source: String,
    /// The account whose quota it will spend.
    pub account: String,
    /// Why it is created.
    pub trigger: Trigger,
    /// The first line of its timeline.
    pub note: String,
}

/// A scheduled time that a job accounts for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ScheduledTime {
    /// The time.
    pub at: DateTime<Utc>,
    /// How many earlier times were missed before it.
    pub missed: usize,
}

/// Why a job is created for a scheduled time, with the first line of its timeline. `None` where the
/// time was missed and is not made up for: it is only recorded.
pub fn trigger_for(missed: bool, catch_up: bool) -> Option<(Trigger, &'static str)> {
    match (missed, catch_up) {
        (false, _) => Some((Trigger::Schedule, "created by the schedule")),
        (true, true) => Some((Trigger::CatchUp, "catch-up for a missed run")),
        (true, false) => None,
    }
}

/// Creates a job with this number, due at once.
pub fn create(
    id: i64,
    new: NewJob,
    scheduled: Option<ScheduledTime>,
    now: DateTime<Utc>,
) -> Change {
    let missed = scheduled.map_or(0, |scheduled| scheduled.missed);
    let job = Job {
        id,
        operation: Operation::Backup,
        version: None,
        restore: None,
        source: new.source,
        account: new.account,
        state: State::Queued,
        trigger: new.trigger,
        scheduled_for: scheduled.map(|scheduled| scheduled.at),
        created_at: now,
        finished_at: None,
        due_at: now,
        wait: TimeDelta::zero(),
        waiting: None,
        attempts: 0,
        polls: 0,
        rounds: 0,
        failures: 0,
        first_submitted_at: None,
        remote: None,
        error: None,
        snapshot: None,
    };
    Change::new_job(job, Mover::Create, JobEvent::Queued { note: new.note, missed })
}

/// Creates a restore, due at once.
pub fn create_restore(id: i64, new: NewJob, restore: Restore, now: DateTime<Utc>) -> Change {
    let mut change = create(id, new, None, now);
    change.from_stage = restore.stage;
    change.job.operation = Operation::Restore;
    change.job.restore = Some(Box::new(restore));
    change
}

/// Creates a backup of another version than the source itself asks for, due at once.
pub fn create_version(id: i64, new: NewJob, version: String, now: DateTime<Utc>) -> Change {
    let mut change = create(id, new, None, now);
    change.job.version = Some(version);
    change
}

/// What becomes of a scheduled time: a job with this number, or a skip while the source has a live
/// job.
pub fn account_for(
    live: Option<&Job>,
    id: i64,
    new: NewJob,
    scheduled: ScheduledTime,
    now: DateTime<Utc>,
) -> Change {
    match live {
        Some(live) => skip(live, scheduled),
        None => create(id, new, Some(scheduled), now),
    }
}

/// Records in the live job's timeline that a scheduled time of its source is skipped.
fn skip(live: &Job, scheduled: ScheduledTime) -> Change {
    let mut change = Change::of(live, Mover::Skip);
    change.events.push(JobEvent::Skipped { time: scheduled.at, missed: scheduled.missed });
    change
}
