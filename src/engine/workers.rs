//! Takes over from workers that have died.

use super::Engine;
use super::run::Run;
use crate::archive::Archive;
use crate::store::{StoreError, lock};

/// Removes what dead workers have left, at a start: their locks, and unfinished downloads in the
/// archive.
pub fn remove_leftovers(worker: &lock::Worker, archive: &Archive) {
    worker.sweep();
    match archive.sweep(|name| worker.is_alive(name)) {
        Ok(0) => {}
        Ok(files) => tracing::info!(files, "removed unfinished files of interrupted downloads"),
        Err(error) => tracing::warn!(
            %error, "unfinished files of interrupted downloads cannot be removed now"
        ),
    }
}

impl Engine {
    /// Frees the jobs of dead workers and removes their unfinished files.
    pub(super) async fn reap_dead_workers(&self) -> Result<(), StoreError> {
        for owner in self.shared.store.lease_owners().await? {
            if !self.shared.worker.is_alive(&owner) {
                let freed = self.shared.store.release_all(&owner, &[]).await?;
                tracing::warn!(worker = owner, jobs = freed, "took over from a worker that died");
                self.remove_files_of(owner).await;
            }
        }
        Ok(())
    }

    /// Removes the unfinished files of a worker that died.
    async fn remove_files_of(&self, worker: String) {
        let archive = self.shared.archive.clone();
        let swept = tokio::task::spawn_blocking(move || archive.sweep(|name| name != worker)).await;
        if let Ok(Err(error)) = swept {
            tracing::warn!(%error, "the unfinished files of a dead worker stay for now");
        }
    }

    /// Frees jobs that this worker holds without working on them: the end of a step could not be
    /// stored, or the step was cancelled. No other worker may take them while this one is alive.
    pub(super) async fn release_idle(&self, run: &Run) -> Result<(), StoreError> {
        let (store, owner) = (&self.shared.store, &self.shared.worker.name);
        let at_work = run.in_flight.jobs();
        if store.held(owner).await?.iter().any(|job| !at_work.contains(job)) {
            store.release_all(owner, &at_work).await?;
        }
        Ok(())
    }
}
