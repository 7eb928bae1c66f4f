//! The engine: the only place that waits. It accounts for scheduled times, claims due jobs,
//! performs the one effect that each job's state asks for, lets [`crate::job::decide`] compute the
//! decision, and applies it.
//!
//! ```text
//! schedule ──▶ claim ──▶ step (submit, poll, fetch) ──▶ decide ──▶ apply
//! ```
//!
//! The daemon and every `backup` in the foreground are engines on the same store; leases keep them
//! from working on the same job. Only a worker's lock shows whether it has died: a worker that is
//! slow or stopped keeps its jobs, whatever the clocks say.

mod claim;
mod clock_watch;
mod compare;
mod config;
mod document;
mod fetch;
mod holds;
mod in_flight;
mod orphans;
mod restore;
mod resumable;
mod run;
mod schedule;
mod step;
#[cfg(test)]
mod tests;
mod ticking;
mod timers;
mod unchanged;
mod verify;
mod versions;
mod workers;

pub use config::{ConnectError, EngineConfig};
pub use run::Scope;
pub use ticking::Ticking;
pub use workers::remove_leftovers;

use crate::archive::Archive;
use crate::clock::Clock;
use crate::job::{Job, JobEvent};
use crate::service::ExportService;
use crate::store::{Store, lock};
use chrono::{DateTime, Utc};
use clock_watch::ClockWatch;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// What an engine is doing, for display.
#[derive(Debug)]
pub enum Notice<'a> {
    /// A job moved, or the service answered about it.
    Moved {
        /// The job as it is now.
        job: &'a Job,
        /// What was added to its timeline.
        events: &'a [JobEvent],
    },
    /// A result is arriving.
    Receiving {
        /// The job's number.
        job: i64,
        /// Bytes so far, decoded.
        bytes: u64,
        /// The announced length, where the service gave one.
        length: Option<u64>,
    },
}

/// Receives what an engine is doing.
pub type Observer = Arc<dyn Fn(Notice<'_>) + Send + Sync>;

/// An engine. Clones are the same engine.
#[derive(Clone)]
pub struct Engine {
    shared: Arc<Shared>,
}

struct Shared {
    store: Store,
    archive: Archive,
    worker: lock::Worker,
    clock: Clock,
    /// When it began: times before that were missed, not met.
    started: DateTime<Utc>,
    config: Mutex<Arc<EngineConfig>>,
    observer: Observer,
    /// When the loop last ran.
    last_tick: Mutex<Instant>,
    /// Bytes of results so far, decoded.
    received: AtomicU64,
    /// Attempts to make a snapshot so far.
    attempts: AtomicU64,
    clock_watch: tokio::sync::Mutex<ClockWatch>,
    /// What was listed before live jobs were submitted.
    looks: unchanged::Looks,
    /// Held while a download is compared: one at a time, because it takes memory.
    comparing: tokio::sync::Mutex<()>,
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine").field("worker", &self.shared.worker.name).finish_non_exhaustive()
    }
}

impl Engine {
    /// An engine at rest.
    pub fn new(
        store: Store,
        archive: Archive,
        worker: lock::Worker,
        clock: Clock,
        config: EngineConfig,
        observer: Observer,
    ) -> Engine {
        let started = clock.now();
        let config = Mutex::new(Arc::new(config));
        let clock_watch = tokio::sync::Mutex::new(ClockWatch::new(&clock));
        let last_tick = Mutex::new(Instant::now());
        Engine {
            shared: Arc::new(Shared {
                store,
                archive,
                worker,
                clock,
                started,
                config,
                observer,
                last_tick,
                received: AtomicU64::new(0),
                attempts: AtomicU64::new(0),
                clock_watch,
                looks: unchanged::Looks::default(),
                comparing: tokio::sync::Mutex::default(),
            }),
        }
    }

    /// How long ago the loop last ran: a few seconds at most while it works.
    pub fn since_last_tick(&self) -> Duration {
        self.shared.last_tick.lock().unwrap_or_else(PoisonError::into_inner).elapsed()
    }

    /// How many bytes of results this engine has received, decoded.
    pub fn received_bytes(&self) -> u64 {
        self.shared.received.load(Ordering::Relaxed)
    }

    /// Replaces the configuration and the services. Steps in flight still follow the old one.
    pub fn set_config(&self, config: EngineConfig) {
        *self.shared.config.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(config);
    }

    /// The client of each account, by its name.
    pub fn services(&self) -> BTreeMap<String, Arc<dyn ExportService>> {
        self.config().services.clone()
    }

    fn config(&self) -> Arc<EngineConfig> {
        Arc::clone(&self.shared.config.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn now(&self) -> DateTime<Utc> {
        self.shared.clock.now()
    }

    fn notify(&self, notice: Notice<'_>) {
        (self.shared.observer)(notice);
    }
}
