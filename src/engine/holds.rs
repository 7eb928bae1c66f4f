//! The snapshots that restores hold, and their release.

use super::Engine;
use crate::archive::{Archive, Hold};
use crate::failpoint::{self, Point};
use crate::job::{Job, JobHold, releasable};
use crate::manifest::{MANIFEST_SUFFIX, Name};
use crate::store::StoreError;
use chrono::{DateTime, Utc};
use std::io;
use std::path::Path;

/// The source and name of a manifest in this archive; `None` for one elsewhere, which retention
/// never removes.
fn place(archive: &Archive, manifest: &Path) -> Option<(String, Name)> {
    let file = manifest.file_name()?.to_str()?.strip_suffix(MANIFEST_SUFFIX)?;
    let source = manifest.parent()?.file_name()?.to_str()?.to_owned();
    let name: Name = file.parse().ok()?;
    let is_here = |path: &Path| path == archive.folder(&source).join(name.manifest());
    let real = || {
        let folder = archive.folder(&source).canonicalize().ok()?;
        (manifest.parent()?.canonicalize().ok()? == folder).then_some(())
    };
    (is_here(manifest) || real().is_some()).then_some((source, name))
}

/// Holds a snapshot for a job. One that a user holds stays as it is.
pub(super) fn hold(archive: &Archive, hold: &JobHold, now: DateTime<Utc>) -> io::Result<()> {
    let Some((source, name)) = place(archive, &hold.manifest) else { return Ok(()) };
    if archive.hold_of(&source, name).is_some() {
        return Ok(());
    }
    failpoint::hit(Point::HoldSet, &hold.manifest)?;
    archive.hold(&source, name, &Hold { reason: hold.reason.clone(), since: now })
}

/// Releases a job's hold, if it is the job's.
fn release(archive: &Archive, hold: &JobHold) -> io::Result<()> {
    let Some((source, name)) = place(archive, &hold.manifest) else { return Ok(()) };
    if archive.hold_of(&source, name).is_some_and(|held| held.reason == hold.reason) {
        failpoint::hit(Point::HoldRelease, &hold.manifest)?;
        archive.unhold(&source, name)?;
    }
    Ok(())
}

impl Engine {
    /// Releases the holds of restores that have ended. What cannot be released now is released
    /// later.
    pub(super) async fn release_holds(&self) -> Result<(), StoreError> {
        for job in self.shared.store.unreleased().await? {
            let archive = self.shared.archive.clone();
            let holds = releasable(&job);
            let work = move || holds.iter().try_for_each(|hold| release(&archive, hold));
            match tokio::task::spawn_blocking(work).await {
                Ok(Ok(())) => self.shared.store.mark_released(job.id, self.now()).await?,
                Ok(Err(error)) => warn(&job, &error),
                Err(panicked) => warn(&job, &panicked),
            }
        }
        Ok(())
    }
}

fn warn(job: &Job, error: &dyn std::fmt::Display) {
    tracing::warn!(job = job.id, source = job.source, %error, "the holds of a restore stay for now");
}
