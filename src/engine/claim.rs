//! Claims the jobs that are due, and begins their steps.

use super::Engine;
use super::run::Run;
use crate::archive::panic_message;
use crate::job::{Job, Outcome};
use crate::store::{Claim, StoreError};
use chrono::{DateTime, Utc};
use std::sync::Arc;

/// Submissions and polls in flight at once.
const REQUESTS: usize = 64;
/// Downloads in flight at once.
const FETCHES: usize = 10;

impl Engine {
    /// When the next job is due that there is capacity for.
    pub(super) async fn next_due(&self, run: &Run) -> Result<Option<DateTime<Utc>>, StoreError> {
        let in_flight = run.in_flight.counts();
        let unconfigured: Vec<String> = run.unconfigured.iter().cloned().collect();
        let (requests, fetches) = (in_flight.requests < REQUESTS, in_flight.fetches < FETCHES);
        self.shared.store.next_due(requests, fetches, run.scope.only(), &unconfigured).await
    }

    /// Claims due jobs and begins their steps.
    pub(super) async fn claim(&self, run: &mut Run) -> Result<(), StoreError> {
        let now = self.now();
        let in_flight = run.in_flight.counts();
        let free = |most: usize, taken| u32::try_from(most.saturating_sub(taken)).unwrap_or(0);
        let claim = Claim {
            owner: self.shared.worker.name.clone(),
            requests: free(REQUESTS, in_flight.requests),
            fetches: free(FETCHES, in_flight.fetches),
            only: run.scope.only().map(<[i64]>::to_vec),
            unconfigured: run.unconfigured.iter().cloned().collect(),
            looked: self.shared.looks.recent(now),
            limits: Arc::clone(&run.limits),
        };
        let claimed = self.shared.store.claim(claim, now).await?;
        for job in claimed.unconfigured {
            note_unconfigured(run, &job);
        }
        for change in claimed.changes {
            self.publish(change.job(), change.events());
        }
        for job in claimed.jobs {
            self.launch(run, job);
        }
        Ok(())
    }

    /// Begins a job's step.
    fn launch(&self, run: &mut Run, job: Job) {
        let (engine, config) = (self.clone(), Arc::clone(&run.config));
        run.in_flight.begin(&job.clone(), |handle| async move {
            let step = {
                let (engine, config, job, handle) =
                    (engine.clone(), Arc::clone(&config), job.clone(), handle.clone());
                // A task of its own, so that a panic ends only this step.
                tokio::spawn(async move { engine.work(&config, job, &handle).await })
            };
            let message = match step.await {
                Ok(Err(StoreError::Panicked(message))) => message,
                Ok(result) => return result,
                Err(panicked) => panic_message(panicked),
            };
            let outcome = Outcome::Panicked(message);
            engine.conclude(&config, &job, outcome.into(), &handle).await
        });
    }
}

fn note_unconfigured(run: &mut Run, job: &Job) {
    if run.unconfigured.insert(job.source.clone()) {
        tracing::warn!(
            job = job.id,
            source = job.source,
            "the job's source is not in the configuration; it is left unchanged. Add the source \
             again, or run `nightjar cancel {}`",
            job.id
        );
    }
}
