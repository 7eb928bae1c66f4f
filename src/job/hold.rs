//! The snapshots that a restore keeps from being removed: the one that it restores until it ends,
//! its safety backup until it has ended well.

use super::{Change, Job, Mover, State};
use std::path::{Path, PathBuf};

/// A snapshot that a job holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobHold {
    /// Its manifest.
    pub manifest: PathBuf,
    /// The reason of its hold. One with another reason is not the job's.
    pub reason: String,
}

/// The hold of the snapshot that a job restores; `None` where it restores none.
pub fn hold_of_restored(job: &Job) -> Option<JobHold> {
    let snapshot = job.restore.as_ref()?.snapshot.as_ref()?;
    let reason = format!("job {} restores this snapshot to {}", job.id, job.source);
    Some(JobHold { manifest: snapshot.manifest.clone(), reason })
}

/// The job that holds the snapshot which it restores for this reason; `None` for any other hold.
pub fn restoring_job(reason: &str) -> Option<i64> {
    let (job, rest) = reason.strip_prefix("job ")?.split_once(' ')?;
    job.parse().ok().filter(|_| rest.starts_with("restores this snapshot to "))
}

/// The hold of a job's safety backup, whose manifest this is.
pub fn hold_of_safety(job: &Job, manifest: &Path) -> JobHold {
    let reason = format!(
        "safety backup of job {}: what {} published before the restore",
        job.id, job.source
    );
    JobHold { manifest: manifest.to_owned(), reason }
}

/// The holds that an ended restore no longer needs. A safety backup stays held when the restore did
/// not end well. Empty once they are released.
pub fn releasable(job: &Job) -> Vec<JobHold> {
    let is_due = |job: &Job| job.restore.as_ref().is_some_and(|restore| !restore.released);
    if !job.state.is_final() || !is_due(job) {
        return Vec::new();
    }
    let safety = job.snapshot.as_deref().filter(|_| job.state == State::Archived);
    let safety = safety.map(|manifest| hold_of_safety(job, manifest));
    hold_of_restored(job).into_iter().chain(safety).collect()
}

/// Records that an ended restore's holds are released; `None` when they were.
pub fn released(job: &Job) -> Option<Change> {
    if !job.state.is_final() || job.restore.as_ref().is_none_or(|restore| restore.released) {
        return None;
    }
    let mut change = Change::of(job, Mover::Release);
    if let Some(restore) = &mut change.job.restore {
        restore.released = true;
    }
    Some(change)
}
