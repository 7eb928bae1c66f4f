//! The import of archived jobs into a history that lacks them: after the database was lost, or
//! replaced by an older copy.

use super::{
    Change, ErrorKind, Job, JobError, JobEvent, Mover, Operation, RemoteEffect, RemoteJob, State,
    Trigger,
};
use chrono::{DateTime, TimeDelta, Utc};
use std::path::PathBuf;

/// What a snapshot records about the job that made it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArchivedJob {
    /// The job's number.
    pub job: i64,
    /// Its source.
    pub source: String,
    /// The source's account; empty where no configuration names one.
    pub account: String,
    /// The version that it is of, where that is not what its source asks for.
    pub version: Option<String>,
    /// The scheduled time that it accounts for.
    pub scheduled_for: Option<DateTime<Utc>>,
    /// When its remote job was submitted.
    pub submitted_at: DateTime<Utc>,
    /// When the snapshot was complete.
    pub completed_at: DateTime<Utc>,
    /// The remote job's identifier, where the service gave one.
    pub remote_id: Option<String>,
    /// How many entities the service announced.
    pub expected: Option<u64>,
    /// The manifest.
    pub snapshot: PathBuf,
}

/// Makes the job archived that the history knows under the snapshot's number. `None` when it is
/// archived already, is a restore, or belongs to another source.
pub fn import_known(known: &Job, archived: &ArchivedJob) -> Option<Change> {
    // The safety backup of a restore is no end of it.
    let is_other = known.source != archived.source || known.operation != Operation::Backup;
    if is_other || known.state == State::Archived {
        return None;
    }
    let mut change = Change::of(known, Mover::Import);
    let job = &mut change.job;
    job.state = State::Archived;
    job.finished_at = Some(archived.completed_at);
    job.snapshot = Some(archived.snapshot.clone());
    job.waiting = None;
    job.error = None;
    if let Some(remote) = &mut job.remote {
        remote.submitting = false;
    }
    change.events.push(JobEvent::Imported);
    Some(change)
}

/// Ends a restore that is live in an older copy of the history: it may have gone on, and ended,
/// after the copy was made, so it must send nothing more. `None` for every other job.
pub fn end_of_copied(job: &Job, now: DateTime<Utc>) -> Option<Change> {
    if job.operation != Operation::Restore || job.state.is_final() {
        return None;
    }
    let message = format!(
        "the database was rebuilt from an older copy, and what this restore has done since is not \
         known: `nightjar versions {}` shows what is staged and published",
        job.source
    );
    let error = JobError { kind: ErrorKind::Storage, message };
    let mut change = Change::of(job, Mover::Import);
    let next = &mut change.job;
    next.state = State::Failed;
    next.finished_at = Some(now);
    next.waiting = None;
    next.error = Some(error.clone());
    if let Some(remote) = &mut next.remote {
        remote.submitting = false;
    }
    change.events.push(JobEvent::Failed(error));
    Some(change)
}

/// An archived job that the history does not know. A scheduled time has one job: where another one
/// has it (`is_time_taken`), this one goes without.
pub fn import_unknown(archived: &ArchivedJob, is_time_taken: bool) -> Change {
    let trigger = match archived.scheduled_for {
        Some(_) => Trigger::Schedule,
        None => Trigger::Manual,
    };
    let job = Job {
        id: archived.job,
        operation: Operation::Backup,
        version: archived.version.clone(),
        restore: None,
        source: archived.source.clone(),
        account: archived.account.clone(),
        state: State::Archived,
        trigger,
        scheduled_for: archived.scheduled_for.filter(|_| !is_time_taken),
        created_at: archived.submitted_at,
        finished_at: Some(archived.completed_at),
        due_at: archived.completed_at,
        wait: TimeDelta::zero(),
        waiting: None,
        attempts: 1,
        polls: 0,
        rounds: 0,
        failures: 0,
        first_submitted_at: Some(archived.submitted_at),
        remote: Some(RemoteJob {
            submitting: false,
            id: archived.remote_id.clone(),
            expected: archived.expected,
            ..RemoteJob::intended(archived.submitted_at)
        }),
        error: None,
        snapshot: Some(archived.snapshot.clone()),
    };
    // It was started, and counts against the quota for as long as any other.
    Change {
        remote: RemoteEffect::Imported,
        ..Change::new_job(job, Mover::Import, JobEvent::Imported)
    }
}
