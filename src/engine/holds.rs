//! The snapshots that restores hold, and their release.

use super::Engine;
use crate::archive::{Archive, Hold};
use crate::failpoint::{self, Point};
use crate::job::{Job, JobHold, hold_of_restored, releasable};
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

/// Releases a job's hold, if it is the job's. Where a live restore needs the same snapshot, the
/// hold becomes that one's instead.
fn release(
    archive: &Archive,
    hold: &JobHold,
    needed: &[JobHold],
    now: DateTime<Utc>,
) -> io::Result<()> {
    let Some((source, name)) = place(archive, &hold.manifest) else { return Ok(()) };
    if archive.hold_of(&source, name).is_none_or(|held| held.reason != hold.reason) {
        return Ok(());
    }
    failpoint::hit(Point::HoldRelease, &hold.manifest)?;
    let is_same = |other: &&JobHold| {
        place(archive, &other.manifest).is_some_and(|place| place == (source.clone(), name))
    };
    match needed.iter().find(is_same) {
        Some(other) => {
            archive.hold(&source, name, &Hold { reason: other.reason.clone(), since: now })
        }
        None => archive.unhold(&source, name).map(drop),
    }
}

impl Engine {
    /// Releases the holds of restores that have ended. What cannot be released now is released
    /// later: that keeps nothing else from going on.
    pub(super) async fn release_holds(&self) {
        if let Err(error) = self.try_release_holds().await {
            tracing::warn!(%error, "the holds of ended restores stay for now");
        }
    }

    async fn try_release_holds(&self) -> Result<(), StoreError> {
        let store = &self.shared.store;
        for job in store.unreleased().await? {
            // Read for each: what another restore needs is held for that one from now on.
            let live = store.live_jobs().await?;
            let needed: Vec<JobHold> = live.iter().filter_map(hold_of_restored).collect();
            let (archive, holds, now) = (self.shared.archive.clone(), releasable(&job), self.now());
            let work =
                move || holds.iter().try_for_each(|hold| release(&archive, hold, &needed, now));
            match tokio::task::spawn_blocking(work).await {
                Ok(Ok(())) => store.mark_released(job.id, self.now()).await?,
                Ok(Err(error)) => warn(&job, &error),
                Err(panicked) => warn(&job, &panicked),
            }
        }
        Ok(())
    }

    /// Holds the snapshot that a job restores, or releases it again if the job has ended meanwhile:
    /// nothing else would.
    pub(super) async fn hold_restored(&self, job: &Job) -> io::Result<()> {
        let Some(wanted) = hold_of_restored(job) else { return Ok(()) };
        let (archive, now) = (self.shared.archive.clone(), self.now());
        let work = move || hold(&archive, &wanted, now);
        tokio::task::spawn_blocking(work).await.map_err(io::Error::other)??;
        match self.shared.store.job(job.id).await {
            Ok(Some(stored)) if stored.state.is_final() => self.release_again(&stored).await,
            Ok(_) => Ok(()),
            Err(error) => Err(io::Error::other(error)),
        }
    }

    async fn release_again(&self, ended: &Job) -> io::Result<()> {
        let Some(held) = hold_of_restored(ended) else { return Ok(()) };
        let live = self.shared.store.live_jobs().await.map_err(io::Error::other)?;
        let needed: Vec<JobHold> = live.iter().filter_map(hold_of_restored).collect();
        let (archive, now) = (self.shared.archive.clone(), self.now());
        let work = move || release(&archive, &held, &needed, now);
        tokio::task::spawn_blocking(work).await.map_err(io::Error::other)?
    }
}

fn warn(job: &Job, error: &dyn std::fmt::Display) {
    tracing::warn!(job = job.id, source = job.source, %error, "the holds of a restore stay for now");
}
