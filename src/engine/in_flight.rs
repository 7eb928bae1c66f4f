//! Steps in flight.

use crate::job::{Job, JobStep};
use std::collections::BTreeMap;
use tokio_util::sync::CancellationToken;

/// Ends a step in flight early.
#[derive(Debug, Clone, Default)]
pub(super) struct StepHandle {
    /// Polls and downloads end: nothing is lost by asking again.
    pub(super) cancel: CancellationToken,
    /// Everything ends, a submission included: its answer is lost.
    pub(super) abort: CancellationToken,
}

/// The steps in flight, by job.
#[derive(Debug, Default)]
pub(super) struct InFlight {
    steps: BTreeMap<i64, (JobStep, StepHandle)>,
}

impl InFlight {
    pub(super) fn begin(&mut self, job: &Job) -> StepHandle {
        let handle = StepHandle::default();
        if let Some(step) = job.step() {
            self.steps.insert(job.id, (step, handle.clone()));
        }
        handle
    }

    pub(super) fn end(&mut self, job: i64) {
        self.steps.remove(&job);
    }

    /// The jobs.
    pub(super) fn jobs(&self) -> Vec<i64> {
        self.steps.keys().copied().collect()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    /// How many submit or poll, and how many fetch.
    pub(super) fn counts(&self) -> (usize, usize) {
        let fetches = self.steps.values().filter(|(step, _)| *step == JobStep::Fetch).count();
        (self.steps.len() - fetches, fetches)
    }

    /// Ends the steps of jobs that are no longer held: they were cancelled, or another worker has
    /// taken them over.
    pub(super) fn keep_only(&self, held: &[i64]) {
        for (job, (_, handle)) in &self.steps {
            if !held.contains(job) {
                handle.cancel.cancel();
            }
        }
    }

    pub(super) fn cancel_all(&self) {
        self.steps.values().for_each(|(_, handle)| handle.cancel.cancel());
    }

    pub(super) fn abort_all(&self) {
        self.steps.values().for_each(|(_, handle)| handle.abort.cancel());
    }
}
