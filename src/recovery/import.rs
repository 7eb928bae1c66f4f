//! Imports the jobs of archived snapshots that the history lacks.

use super::{Recovery, RecoveryError};
use crate::archive::Snapshot;
use crate::job::restoring_job;
use crate::manifest::Role;
use crate::settings::Source;
use crate::store::{ArchivedJob, Store};
use chrono::{DateTime, Utc};

impl Recovery<'_> {
    /// Imports what the archive holds and the history lacks. Returns how many jobs that were.
    pub(super) async fn import(&self, store: &Store) -> Result<usize, RecoveryError> {
        let mut imported = 0;
        for name in self.archive.sources().map_err(|error| self.unreadable(error))? {
            let snapshots: Vec<Snapshot> =
                self.archive.snapshots(&name).map_err(|error| self.unreadable(error))?.collect();
            let source = self.settings.source(&name);
            let ordinary = snapshots.iter().filter(|it| it.manifest.role.is_ordinary());
            if let Some(source) = source
                && let Some(reached) = reached(ordinary, self.clock.now())
            {
                self.advance_schedule(store, source, reached).await?;
            }
            let account = source.map_or(String::new(), |source| source.account.clone());
            // The job that made a safety backup is a restore; how it ended, the archive does not
            // say.
            let snapshots = snapshots.into_iter().filter(|it| it.manifest.role != Role::Safety);
            // Oldest first: of two that claim one scheduled time, the first has it.
            let jobs = snapshots.rev().map(|it| archived(it, account.clone()));
            imported += store.import_archived(jobs.collect(), self.clock.now()).await?;
            self.release_lost_holds(store, &name).await?;
        }
        Ok(imported)
    }

    /// Releases what restores hold that have ended or are not in the history: nothing else would.
    async fn release_lost_holds(&self, store: &Store, source: &str) -> Result<(), RecoveryError> {
        for snapshot in self.archive.snapshots(source).map_err(|error| self.unreadable(error))? {
            let name = snapshot.manifest.name();
            let hold = self.archive.hold_of(source, name);
            let Some(job) = hold.and_then(|hold| restoring_job(&hold.reason)) else { continue };
            let is_live = store.job(job).await?.is_some_and(|job| !job.state.is_final());
            if !is_live && let Err(error) = self.archive.unhold(source, name) {
                tracing::warn!(job, snapshot = %name, %error, "the hold of a restore stays");
            }
        }
        Ok(())
    }

    /// Moves a source's schedule up to its archived snapshots.
    async fn advance_schedule(
        &self,
        store: &Store,
        source: &Source,
        Reached { since, cursor }: Reached,
    ) -> Result<(), RecoveryError> {
        let identity = source.schedule_identity();
        Ok(store.advance_schedule(&source.name, &identity, since, cursor).await?)
    }
}

/// How far archived snapshots have brought a schedule.
struct Reached {
    /// Since when the schedule is known.
    since: DateTime<Utc>,
    /// Up to when it is accounted for.
    cursor: DateTime<Utc>,
}

/// How far these snapshots, newest first, have brought a schedule; `None` without any.
fn reached<'s>(
    snapshots: impl Iterator<Item = &'s Snapshot> + Clone,
    now: DateTime<Utc>,
) -> Option<Reached> {
    let (newest, oldest) = (snapshots.clone().next()?, snapshots.clone().last()?);
    // A clock that was ahead must not keep the schedule quiet until it is as late.
    let times = snapshots.filter_map(|it| it.manifest.scheduled_for);
    let cursor = times.filter(|time| *time <= now).max();
    let cursor = cursor.unwrap_or(newest.manifest.created_at.min(now));
    Some(Reached { since: oldest.manifest.created_at.min(cursor), cursor })
}

/// What a snapshot records about the job that made it.
fn archived(snapshot: Snapshot, account: String) -> ArchivedJob {
    let manifest = snapshot.manifest;
    ArchivedJob {
        job: manifest.job,
        source: manifest.source,
        account,
        version: manifest.origin.version.filter(|_| manifest.role == Role::Version),
        scheduled_for: manifest.scheduled_for,
        submitted_at: manifest.created_at,
        completed_at: manifest.completed_at,
        remote_id: manifest.remote_id,
        expected: manifest.expected_entities,
        snapshot: snapshot.path,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::archive::{Hold, SnapshotMeta};
    use crate::clock::Clock;
    use crate::recovery::{Check, Reindexed};
    use crate::store::Filter;
    use crate::tests::fixtures::{file_with, settings, snapshot_meta};
    use chrono::{TimeDelta, TimeZone};

    #[tokio::test]
    async fn holds_of_restores_that_no_history_knows_are_released() {
        let folder = tempfile::TempDir::new().unwrap();
        let settings = settings(folder.path());
        let noon = Utc.with_ymd_and_hms(2026, 11, 25, 12, 0, 0).unwrap();
        let recovery = Recovery::new(&settings, Clock::manual(noon).0);
        recovery.archive.prepare().unwrap();
        let reasons = [
            "job 9 restores this snapshot to stores",
            "safety backup of job 9: what stores published before the restore",
            "job 9 restores nothing",
            "mine",
        ];
        for (job, reason) in (1..).zip(reasons) {
            let meta = snapshot_meta(job, noon);
            let name = crate::manifest::Name::new(meta.created_at, job);
            file_with(&recovery.archive, meta, 5).await;
            let hold = Hold { reason: reason.into(), since: noon };
            recovery.archive.hold("stores", name, &hold).unwrap();
        }
        recovery.reindex().await.unwrap();
        let held: Vec<String> = (1..=4)
            .map(|job| crate::manifest::Name::new(noon, job))
            .filter_map(|name| Some(recovery.archive.hold_of("stores", name)?.reason))
            .collect();
        assert_eq!(held, reasons[1..]);
    }

    #[tokio::test]
    async fn a_safety_backup_becomes_no_job_and_another_version_moves_no_schedule() {
        let folder = tempfile::TempDir::new().unwrap();
        let settings = settings(folder.path());
        let noon = Utc.with_ymd_and_hms(2026, 11, 25, 12, 0, 0).unwrap();
        let at = |day: i64| noon + TimeDelta::days(day);
        let recovery = Recovery::new(&settings, Clock::manual(at(9)).0);
        recovery.archive.prepare().unwrap();
        let file = async |job: i64, day, role| {
            let meta = SnapshotMeta { role, ..snapshot_meta(job, at(day)) };
            file_with(&recovery.archive, meta, 5).await;
        };
        file(1, 0, Role::Version).await;
        file(2, 1, Role::Ordinary).await;
        file(3, 2, Role::Safety).await;
        file(4, 3, Role::Version).await;
        let Reindexed::Rebuilt(rebuilt) = recovery.reindex().await.unwrap() else {
            panic!("there was no database")
        };
        assert_eq!(rebuilt.imported, 3);
        let store = recovery.open(Check::Quick, None).await.unwrap();
        let jobs = store.jobs(&Filter { limit: 9, ..Filter::default() }).await.unwrap();
        assert_eq!(jobs.iter().map(|job| job.id).collect::<Vec<_>>(), [4, 2, 1]);
        let cursor = store.cursor("stores").await.unwrap().unwrap();
        assert_eq!((cursor.since, cursor.cursor), (at(1), at(1)));
    }
}
