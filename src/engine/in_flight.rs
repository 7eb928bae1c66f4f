//! Steps in flight.

use crate::job::{Job, JobStep};
use crate::store::StoreError;
use std::collections::BTreeMap;
use tokio::task::{JoinError, JoinSet};
use tokio_util::sync::CancellationToken;

/// Ends a step in flight early.
#[derive(Debug, Clone, Default)]
pub(super) struct StepHandle {
    /// Polls and downloads end: nothing is lost by asking again.
    pub(super) cancel: CancellationToken,
    /// Everything ends, a submission included: its answer is lost.
    pub(super) abort: CancellationToken,
}

/// A finished step.
#[derive(Debug)]
pub(super) struct Finished {
    /// Its job.
    pub(super) job: i64,
    /// Whether its outcome could be stored.
    pub(super) result: Result<(), StoreError>,
}

/// A step in flight.
#[derive(Debug)]
struct Step {
    kind: JobStep,
    handle: StepHandle,
}

/// How many steps are in flight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Counts {
    /// Submissions and polls.
    pub(super) requests: usize,
    /// Downloads.
    pub(super) fetches: usize,
}

/// The steps in flight, by job.
#[derive(Debug, Default)]
pub(super) struct InFlight {
    steps: BTreeMap<i64, Step>,
    tasks: JoinSet<Finished>,
}

impl InFlight {
    /// Begins a job's step, as a task that gets the step's handle.
    pub(super) fn begin<F>(&mut self, job: &Job, task: impl FnOnce(StepHandle) -> F)
    where
        F: Future<Output = Finished> + Send + 'static,
    {
        let handle = StepHandle::default();
        self.tasks.spawn(task(handle.clone()));
        if let Some(kind) = job.step() {
            self.steps.insert(job.id, Step { kind, handle });
        }
    }

    /// Waits for the next step to finish, and ends it; `None` when there is none.
    pub(super) async fn next_finished(&mut self) -> Option<Finished> {
        while let Some(task) = self.tasks.join_next().await {
            if let Some(finished) = self.end(task) {
                return Some(finished);
            }
        }
        None
    }

    /// Ends the steps that have finished already. Says whether there were any.
    pub(super) fn end_finished(&mut self) -> bool {
        let mut any = false;
        while let Some(task) = self.tasks.try_join_next() {
            any |= self.end(task).is_some();
        }
        any
    }

    fn end(&mut self, task: Result<Finished, JoinError>) -> Option<Finished> {
        let finished = task.ok()?;
        self.steps.remove(&finished.job);
        if let Err(error) = &finished.result {
            tracing::error!(job = finished.job, %error, "cannot store the outcome of a step");
        }
        Some(finished)
    }

    /// The jobs.
    pub(super) fn jobs(&self) -> Vec<i64> {
        self.steps.keys().copied().collect()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    pub(super) fn counts(&self) -> Counts {
        let fetches = self.steps.values().filter(|step| step.kind == JobStep::Fetch).count();
        Counts { requests: self.steps.len() - fetches, fetches }
    }

    /// Cancels the steps of jobs that are no longer held: they were cancelled, or another worker
    /// has taken them over.
    pub(super) fn keep_only(&self, held: &[i64]) {
        for (job, step) in &self.steps {
            if !held.contains(job) {
                step.handle.cancel.cancel();
            }
        }
    }

    pub(super) fn cancel_all(&self) {
        self.steps.values().for_each(|step| step.handle.cancel.cancel());
    }

    pub(super) fn abort_all(&self) {
        self.steps.values().for_each(|step| step.handle.abort.cancel());
    }
}
