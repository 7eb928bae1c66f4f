//! Steps in flight.

use crate::job::{Job, JobStep};
use crate::printable;
use crate::store::StoreError;
use futures_util::FutureExt;
use std::any::Any;
use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
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
    /// Its number among the steps of this process.
    pub(super) serial: u64,
    /// Its job.
    pub(super) job: i64,
    /// Whether its outcome could be stored.
    pub(super) result: Result<(), StoreError>,
}

/// A step in flight.
#[derive(Debug)]
struct Step {
    serial: u64,
    /// Whether it reads a result.
    is_fetch: bool,
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
    /// How many steps have begun.
    begun: u64,
}

impl InFlight {
    /// Begins a job's step, as a task that gets the step's handle. The task returns whether its
    /// outcome could be stored.
    pub(super) fn begin<F>(&mut self, job: &Job, task: impl FnOnce(StepHandle) -> F)
    where
        F: Future<Output = Result<(), StoreError>> + Send + 'static,
    {
        self.begun += 1;
        let (job_id, serial, handle) = (job.id, self.begun, StepHandle::default());
        let task = AssertUnwindSafe(task(handle.clone())).catch_unwind();
        self.tasks.spawn(async move {
            let panicked = |panic: Box<dyn Any + Send>| printable::panic_message(&*panic);
            let result = task.await.map_err(panicked).map_err(StoreError::Panicked).flatten();
            Finished { serial, job: job_id, result }
        });
        if !job.state.is_final() {
            let is_fetch = job.step().is_some_and(JobStep::downloads);
            self.steps.insert(job_id, Step { serial, is_fetch, handle });
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
        // A step frees its job when it stores its outcome. The job may have been claimed again
        // since: then the job's present step is another one.
        if self.steps.get(&finished.job).is_some_and(|step| step.serial == finished.serial) {
            self.steps.remove(&finished.job);
        }
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
        let fetches = self.steps.values().filter(|step| step.is_fetch).count();
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::{NewJob, Trigger, create};
    use chrono::DateTime;

    fn job(id: i64) -> Job {
        let new = NewJob {
            source: "one".into(),
            account: "contoso".into(),
            trigger: Trigger::Manual,
            note: String::new(),
        };
        create(id, new, None, DateTime::UNIX_EPOCH).into_job()
    }

    #[tokio::test]
    async fn the_end_of_a_step_leaves_the_next_step_of_its_job_in_flight() {
        let mut in_flight = InFlight::default();
        in_flight.begin(&job(7), |_| async { Ok(()) });
        // Its outcome is stored, and the job is claimed again, before the loop has joined the task.
        let mut again = StepHandle::default();
        in_flight.begin(&job(7), |handle| {
            again = handle.clone();
            async move {
                handle.cancel.cancelled().await;
                Ok(())
            }
        });
        assert_eq!(in_flight.next_finished().await.unwrap().job, 7);
        assert_eq!(in_flight.jobs(), [7]);
        assert_eq!(in_flight.counts(), Counts { requests: 1, fetches: 0 });
        in_flight.keep_only(&[]);
        assert!(again.cancel.is_cancelled(), "a job that is lost ends its step");
        assert_eq!(in_flight.next_finished().await.unwrap().job, 7);
        assert!(in_flight.is_empty());
        assert!(in_flight.next_finished().await.is_none());
    }

    #[tokio::test]
    async fn a_step_that_panics_is_no_longer_in_flight() {
        let mut in_flight = InFlight::default();
        in_flight.begin(&job(7), |_| async { panic!("index out of bounds") });
        let result = in_flight.next_finished().await.unwrap().result;
        assert!(matches!(&result, Err(StoreError::Panicked(why)) if why.contains("of bounds")));
        assert!(in_flight.is_empty());
    }
}
