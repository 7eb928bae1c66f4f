//! Imports the jobs of archived snapshots that the history lacks.

use super::{Recovery, RecoveryError};
use crate::archive::Snapshot;
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
            if let Some(source) = source {
                self.advance_schedule(store, source, &snapshots).await?;
            }
            let account = source.map_or(String::new(), |source| source.account.clone());
            // Oldest first: of two that claim one scheduled time, the first has it.
            let jobs = snapshots.into_iter().rev().map(|it| archived(it, account.clone()));
            imported += store.import_archived(jobs.collect(), self.clock.now()).await?;
        }
        Ok(imported)
    }

    /// Moves a source's schedule up to its archived snapshots, which are given newest first.
    async fn advance_schedule(
        &self,
        store: &Store,
        source: &Source,
        snapshots: &[Snapshot],
    ) -> Result<(), RecoveryError> {
        let Some(reached) = reached(snapshots, self.clock.now()) else { return Ok(()) };
        let Reached { since, cursor } = reached;
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

fn reached(snapshots: &[Snapshot], now: DateTime<Utc>) -> Option<Reached> {
    let (newest, oldest) = (snapshots.first()?, snapshots.last()?);
    // A clock that was ahead must not keep the schedule quiet until it is as late.
    let times = snapshots.iter().filter_map(|it| it.manifest.scheduled_for);
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
        scheduled_for: manifest.scheduled_for,
        submitted_at: manifest.created_at,
        completed_at: manifest.completed_at,
        remote_id: manifest.remote_id,
        expected: manifest.expected_entities,
        snapshot: snapshot.path,
    }
}
