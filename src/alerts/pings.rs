//! Which pings the life of a backup makes.

use crate::job::{EventKind, Job, JobEvent, State};
use crate::notify::{Phase, run_id};
use tokio::sync::mpsc;

/// How many backups may begin or end before the first of them is pinged.
const QUEUE: usize = 1024;

/// A backup that began or ended.
#[derive(Debug, PartialEq, Eq)]
pub struct BackupEvent {
    pub(super) source: String,
    pub(super) phase: Phase,
    /// The same for all pings of one job.
    pub(super) run: String,
    pub(super) text: String,
}

impl BackupEvent {
    /// The event of a job that has just changed, if it began or ended. Only the ordinary backup of
    /// a source is watched by a check.
    pub(super) fn of(job: &Job, events: &[JobEvent]) -> Option<BackupEvent> {
        if !job.is_ordinary_backup() {
            return None;
        }
        let (phase, text) = phase(job, events)?;
        let made = job.created_at.timestamp_millis();
        let run = run_id(&format!("{}/{}/{made}", job.source, job.id));
        Some(BackupEvent { source: job.source.clone(), phase, run, text })
    }
}

/// The events that were not pinged yet.
#[derive(Debug)]
pub struct BackupEvents(mpsc::Receiver<BackupEvent>);

impl BackupEvents {
    /// The next one. Nothing is lost when this is dropped while it waits.
    pub async fn next(&mut self) -> Option<BackupEvent> {
        self.0.recv().await
    }

    /// The next one that is there already.
    pub(super) fn try_next(&mut self) -> Option<BackupEvent> {
        self.0.try_recv().ok()
    }
}

/// A bounded queue of events.
pub(super) fn queue() -> (mpsc::Sender<BackupEvent>, BackupEvents) {
    let (events, queue) = mpsc::channel(QUEUE);
    (events, BackupEvents(queue))
}

/// The ping for a job that has just changed, if any, and its text.
fn phase(job: &Job, events: &[JobEvent]) -> Option<(Phase, String)> {
    let message = |kind| events.iter().find(|event| event.kind() == kind).map(JobEvent::message);
    match job.state {
        State::Archived => {
            let how = message(EventKind::Archived).or(message(EventKind::Unchanged));
            Some((Phase::Success, how?))
        }
        State::Failed => {
            let error = job.error.as_ref()?;
            Some((Phase::Fail, format!("job {}: {}: {}", job.id, error.kind, error.message)))
        }
        State::Waiting if job.attempts == 1 => Some((Phase::Start, message(EventKind::Submitted)?)),
        _ => None,
    }
}
