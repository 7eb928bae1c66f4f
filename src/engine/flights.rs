//! Steps under way.

use crate::job::{Job, Step};
use std::collections::BTreeMap;
use tokio_util::sync::CancellationToken;

/// How a step under way is told to end early.
#[derive(Debug, Clone, Default)]
pub(super) struct Flight {
    /// Polls and downloads end: nothing is lost by asking again.
    pub(super) abandon: CancellationToken,
    /// Everything ends, a submission included: its answer is lost.
    pub(super) hurry: CancellationToken,
}

/// The steps under way, by job.
#[derive(Debug, Default)]
pub(super) struct Flights {
    aloft: BTreeMap<i64, (Step, Flight)>,
}

impl Flights {
    pub(super) fn begin(&mut self, job: &Job) -> Flight {
        let flight = Flight::default();
        if let Some(step) = job.step() {
            self.aloft.insert(job.id, (step, flight.clone()));
        }
        flight
    }

    pub(super) fn end(&mut self, job: i64) {
        self.aloft.remove(&job);
    }

    /// The jobs.
    pub(super) fn jobs(&self) -> Vec<i64> {
        self.aloft.keys().copied().collect()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.aloft.is_empty()
    }

    /// How many submit or poll, and how many fetch.
    pub(super) fn counts(&self) -> (usize, usize) {
        let fetches = self.aloft.values().filter(|(step, _)| *step == Step::Fetch).count();
        (self.aloft.len() - fetches, fetches)
    }

    /// Ends the steps of jobs that are no longer held: they were cancelled, or somebody else has
    /// taken them over.
    pub(super) fn keep_only(&self, held: &[i64]) {
        for (job, (_, flight)) in &self.aloft {
            if !held.contains(job) {
                flight.abandon.cancel();
            }
        }
    }

    pub(super) fn abandon_all(&self) {
        self.aloft.values().for_each(|(_, flight)| flight.abandon.cancel());
    }

    pub(super) fn hurry_all(&self) {
        self.aloft.values().for_each(|(_, flight)| flight.hurry.cancel());
    }
}
