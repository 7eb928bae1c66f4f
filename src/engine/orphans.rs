//! Polls orphaned remote jobs, usually of cancelled jobs, which still use quota. One that has ended
//! frees its quota.

use super::run::Run;
use super::{Engine, EngineConfig};
use crate::job::orphan_has_ended;
use crate::store::{LONGEST_REMOTE_JOB, StoreError};
use std::sync::Arc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// The query about orphaned remote jobs: there is one at a time, beside the loop.
#[derive(Debug, Default)]
pub(super) struct OrphanQuery {
    /// Ends it.
    pub(super) stop: CancellationToken,
    /// The last one, answered or not.
    pub(super) task: Option<JoinHandle<()>>,
}

impl OrphanQuery {
    fn is_under_way(&self) -> bool {
        self.task.as_ref().is_some_and(|task| !task.is_finished())
    }
}

impl Engine {
    /// Begins to poll orphaned remote jobs, unless that is under way. Does not wait for the
    /// answers.
    pub(super) fn begin_orphan_query(&self, run: &mut Run) {
        if run.orphans.is_under_way() {
            return;
        }
        let (engine, config) = (self.clone(), Arc::clone(&run.config));
        let stop = run.orphans.stop.clone();
        run.orphans.task = Some(tokio::spawn(async move {
            tokio::select! {
                () = stop.cancelled() => {}
                polled = engine.poll_orphans(&config) => {
                    if let Err(error) = polled {
                        tracing::warn!(%error, "cannot poll orphaned remote jobs");
                    }
                }
            }
        }));
    }

    /// Polls each orphaned remote job, while jobs wait for quota.
    pub(super) async fn poll_orphans(&self, config: &EngineConfig) -> Result<(), StoreError> {
        let store = &self.shared.store;
        for orphan in store.orphans(self.now() - LONGEST_REMOTE_JOB).await? {
            let source = config.settings.source(&orphan.source);
            let service = source.and_then(|source| config.services.get(&source.account));
            let (Some(source), Some(service)) = (source, service) else { continue };
            let id = orphan.remote_id.as_deref();
            let age = (self.now() - orphan.started_at).to_std().unwrap_or_default();
            let now = self.now();
            let (target, url) = (&source.target, orphan.status_url.as_str());
            let answer = match service.restoring().filter(|_| orphan.is_change) {
                Some(restoring) => restoring.poll_change(target, id, url, now).await,
                None => service.poll(target, id, url, now).await,
            };
            if orphan_has_ended(&answer, age, config.settings.http.lost_after) {
                tracing::info!(source = orphan.source, "an orphaned remote job has ended");
                store.mark_ended(orphan, self.now()).await?;
            }
        }
        Ok(())
    }
}
