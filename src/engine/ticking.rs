//! A daemon whose loop a test drives.

use super::Engine;
use super::run::{Event, Run, Scope};
use crate::store::StoreError;
use chrono::{DateTime, Utc};
use std::sync::Arc;

/// A daemon whose loop a test drives.
#[derive(Debug)]
pub struct Ticking {
    engine: Engine,
    run: Run,
}

impl Engine {
    /// Runs everything that is due now to its end, once: for tests with a mock clock. Returns the
    /// number of steps.
    ///
    /// # Errors
    /// When the database cannot be used, or a step's outcome could not be stored.
    pub async fn tick(&self) -> Result<usize, StoreError> {
        self.ticking().await?.tick().await
    }

    /// A daemon for tests with a mock clock, which drive its loop.
    ///
    /// # Errors
    /// When the database cannot be used.
    pub async fn ticking(&self) -> Result<Ticking, StoreError> {
        Ok(Ticking { engine: self.clone(), run: self.begin(Scope::Everything).await? })
    }
}

impl Ticking {
    /// One tick: runs everything that is due now to its end. Returns the number of steps.
    ///
    /// # Errors
    /// When the database cannot be used, or a step's outcome could not be stored.
    pub async fn tick(&mut self) -> Result<usize, StoreError> {
        if let Some(config) = self.engine.new_config(&self.run) {
            self.engine.apply_config(&mut self.run, config).await?;
        }
        self.run.read_due_times();
        let _ = self.engine.handle(&mut self.run, Event::Due).await?;
        let mut steps = 0;
        while let Some(finished) = self.run.in_flight.next_finished().await {
            steps += 1;
            finished.result?;
        }
        Ok(steps)
    }

    /// The daemon's periodic sweep, run now: reaps dead workers and polls orphaned remote jobs.
    ///
    /// # Errors
    /// When the database cannot be used.
    pub async fn sweep_now(&mut self) -> Result<(), StoreError> {
        self.engine.sweep_database(&mut self.run).await?;
        let config = Arc::clone(&self.run.config);
        self.engine.poll_orphans(&config).await
    }

    /// When the next job or scheduled time is due.
    ///
    /// # Errors
    /// When the database cannot be used.
    pub async fn next(&self) -> Result<Option<DateTime<Utc>>, StoreError> {
        let due = self.engine.next_due(&self.run).await?;
        Ok(due.into_iter().chain(self.run.agenda.next()).min())
    }
}
