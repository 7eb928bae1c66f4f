//! Corrects the times in the database when the wall clock was set.

use super::Engine;
use super::run::Run;
use crate::clock::{Clock, ClockSteps};
use crate::store::StoreError;
use chrono::TimeDelta;

/// What is known of the wall clock's steps.
#[derive(Debug)]
pub(super) struct ClockWatch {
    steps: ClockSteps,
    /// Whether the clock has stepped and the database was not corrected yet.
    pending: bool,
    /// How far forward, altogether, of what is pending.
    forward: TimeDelta,
    /// How often anything was corrected.
    corrections: u64,
}

impl ClockWatch {
    pub(super) fn new(clock: &Clock) -> ClockWatch {
        ClockWatch {
            steps: ClockSteps::new(clock),
            pending: false,
            forward: TimeDelta::zero(),
            corrections: 0,
        }
    }
}

impl Engine {
    /// Corrects times that a wrong clock has left, and reads the due times again if there were any.
    /// With `thorough` it looks for them in the database even if the clock was not set.
    pub(super) async fn correct_clock(
        &self,
        run: &mut Run,
        thorough: bool,
    ) -> Result<(), StoreError> {
        let corrections = self.check_clock(thorough).await?;
        if corrections != run.corrections {
            run.corrections = corrections;
            run.read_all_due_times();
        }
        Ok(())
    }

    /// Corrects what a step of the wall clock has left. With `thorough`, also what was left before
    /// this engine began. Says how often there was anything to correct.
    pub(super) async fn check_clock(&self, thorough: bool) -> Result<u64, StoreError> {
        let mut watch = self.shared.clock_watch.lock().await;
        if let Some(step) = watch.steps.step(&self.shared.clock) {
            let seconds = step.num_seconds();
            tracing::warn!(seconds, "the clock has stepped, or the machine was suspended");
            watch.pending = true;
            watch.forward = (watch.forward + step).max(TimeDelta::zero());
        }
        if watch.pending || thorough {
            let corrected = self.shared.store.correct_clock(watch.forward, self.now()).await?;
            if corrected {
                tracing::warn!("the clock was set; due times and deadlines were corrected");
            }
            watch.corrections += u64::from(corrected || watch.pending);
            // Only now: what could not be stored is corrected by the next try.
            (watch.pending, watch.forward) = (false, TimeDelta::zero());
        }
        Ok(watch.corrections)
    }
}
