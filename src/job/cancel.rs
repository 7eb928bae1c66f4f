//! A user's cancel, and the outcome of a step that comes after it.

use super::{Change, Job, JobEvent, Mover, Operation, RemoteEffect, Restore, Stage, State};
use chrono::{DateTime, Utc};

/// Cancels a live job; `None` when it has ended already, or it is too late.
pub fn cancel(job: &Job, now: DateTime<Utc>) -> Option<Change> {
    if job.state.is_final() || is_too_late_to_cancel(job) {
        return None;
    }
    let mut change = end(job, now);
    change.events.push(JobEvent::Cancelled);
    change.events.extend(left_behind(job).map(JobEvent::Note));
    Some(change)
}

/// Whether a live job has asked the service to publish a version: it goes on until it knows which
/// one is published.
pub fn is_too_late_to_cancel(job: &Job) -> bool {
    let is_queued = job.state == State::Queued;
    let publishes = |it: &Restore| it.is_publishing(job.is_submitting(), is_queued);
    !job.state.is_final() && job.restore.as_deref().is_some_and(publishes)
}

/// What an unfinished restore leaves at the service.
pub(super) fn left_behind(job: &Job) -> Option<String> {
    let restore = job.restore.as_ref()?;
    if let (true, Some(version)) = (restore.published_elsewhere, &restore.version) {
        return Some(format!("version {version} was published, but not by this restore"));
    }
    match (restore.stage, &restore.version, &restore.unsettled) {
        (Stage::Backup | Stage::Check | Stage::Safety, ..) => None,
        (Stage::BeforeLoad, _, None) => None,
        (Stage::Load, ..) if job.state == State::Queued && !job.is_submitting() => None,
        (Stage::BeforeLoad | Stage::Load, ..) => Some(
            "the service may have a staged version of this load, or may still make one; nothing \
             was published"
                .to_owned(),
        ),
        (Stage::Publish | Stage::RollBack, Some(version), _)
            if restore.is_publishing(job.is_submitting(), job.state == State::Queued) =>
        {
            Some(format!(
                "whether version {version} is published now is not known: \
                 `nightjar versions {}` shows it",
                job.source
            ))
        }
        (Stage::BeforePublish | Stage::BeforeRollBack, Some(version), Some(_)) => Some(format!(
            "whether version {version} is published now is not known: `nightjar versions {}` \
             shows it",
            job.source
        )),
        (Stage::Verify | Stage::BeforePublish | Stage::Publish, Some(version), _) => {
            Some(format!("version {version} stays staged; nothing was published"))
        }
        _ => Some("nothing was published".to_owned()),
    }
}

/// Ends a backup of another version that is not submitted yet, because the ordinary backup of its
/// source comes first; `None` for every other job.
pub fn supersede(job: &Job, now: DateTime<Utc>) -> Option<Change> {
    if job.version.is_none() || job.state != State::Queued || job.remote.is_some() {
        return None;
    }
    let mut change = end(job, now);
    change.events.push(JobEvent::Superseded);
    Some(change)
}

fn end(job: &Job, now: DateTime<Utc>) -> Change {
    let mut change = Change::of(job, Mover::Cancel);
    change.job.state = State::Cancelled;
    change.job.finished_at = Some(now);
    change.job.waiting = None;
    change
}

/// What is still true of a change that came too late, because the job was cancelled or taken over
/// meanwhile: what it says about the archive and about the remote job. `stored` is the job as it is
/// now. `None` when there is nothing to add.
pub fn late(stored: &Job, decided: &Change) -> Option<Change> {
    let mut change = Change { record: decided.record, ..Change::of(stored, Mover::Late) };
    if stored.operation == Operation::Backup
        // A look before a backup archives nothing of the job's own.
        && decided.by != Mover::Look
        && let Some(snapshot) = &decided.job.snapshot
    {
        // What is archived stays archived, and the job says so.
        if stored.state != State::Cancelled {
            return None;
        }
        change.job.state = State::Archived;
        change.job.snapshot = Some(snapshot.clone());
        change.events.push(JobEvent::ArchivedBeforeCancel);
        return Some(change);
    }
    if decided.from_stage == Stage::Safety
        && let Some(safety) = decided.job.snapshot.as_ref().filter(|_| stored.snapshot.is_none())
    {
        // It stays held, so the job names it.
        change.job.snapshot = Some(safety.clone());
        change.remote = decided.remote.clone();
        let note = "the safety backup was in the archive before the restore ended; it stays held";
        change.events.push(JobEvent::Note(note.to_owned()));
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
