//! A user's cancel, and the outcome of a step that comes after it.

use super::{Change, Job, JobEvent, Mover, RemoteEffect, State};
use chrono::{DateTime, Utc};

/// Cancels a live job; `None` when it has ended already.
pub fn cancel(job: &Job, now: DateTime<Utc>) -> Option<Change> {
    if job.state.is_final() {
        return None;
    }
    let mut change = Change::of(job, Mover::Cancel);
    change.job.state = State::Cancelled;
    change.job.finished_at = Some(now);
    change.job.waiting = None;
    change.events.push(JobEvent::Cancelled);
    Some(change)
}

/// What is still true of a change that came too late, because the job was cancelled or taken over
/// meanwhile: what it says about the archive and about the remote job. `stored` is the job as it is
/// now. `None` when there is nothing to add.
pub fn late(stored: &Job, decided: &Change) -> Option<Change> {
    let mut change = Change { record: decided.record, ..Change::of(stored, Mover::Late) };
    if let Some(snapshot) = &decided.job.snapshot {
        // What is archived stays archived, and the job says so.
        if stored.state != State::Cancelled {
            return None;
        }
        change.job.state = State::Archived;
        change.job.snapshot = Some(snapshot.clone());
        change.events.push(JobEvent::ArchivedBeforeCancel);
        return Some(change);
    }
    decided.record?;
    match &decided.remote {
        RemoteEffect::Keep | RemoteEffect::Unanswered => return None,
        RemoteEffect::Accepted { id, .. } => {
            let present = stored.remote.as_ref().filter(|remote| remote.record == decided.record);
            if present.is_some_and(|remote| remote.status_url.is_some()) {
                // It was stored, although its commit seemed to fail. Without a status URL it was
                // not, even where nothing is being submitted any more: a takeover that fails the
                // job keeps the remote job that it gave up.
                return None;
            }
            // It uses quota until it ends, and can be polled.
            change.events.push(JobEvent::AcceptedLate { id: id.clone() });
        }
        // It was stored, although its commit seemed to fail: the job waits, or waited, for its next
        // submission, and that may have been given the number of the deleted record.
        RemoteEffect::Refused
            if decided.job.state == State::Queued && counts(stored) == counts(&decided.job) =>
        {
            return None;
        }
        RemoteEffect::Refused
        | RemoteEffect::Ended
        | RemoteEffect::Started
        | RemoteEffect::Imported => {}
    }
    change.remote = decided.remote.clone();
    Some(change)
}

/// The counters of which each refusal that is not final changes one.
fn counts(job: &Job) -> (u32, u32) {
    (job.rounds, job.failures)
}
