//! Maintenance: periodic tasks. Each task is a name, a schedule and a function ([`TASKS`]); the
//! last run of each is stored, so that a run missed while the machine was off is made up for soon
//! after the next start.
//!
//! Tasks run one after another beside the engine, never inside its loop. A lock on a file in the
//! state folder keeps two processes from running them at once. A task that fails is logged, and
//! retried later. Tasks that remove things wait for a day when the clock may be wrong.

mod caution;
mod discover;
mod due;
mod tasks;
#[cfg(test)]
mod tests;

pub use discover::Services;
pub use due::Rhythm;
pub use tasks::{COPY, DISCOVER, HISTORY, OF_DATABASE, RETENTION, TASKS, Task};

use crate::archive::Archive;
use crate::clock::Clock;
use crate::settings::Settings;
use crate::store::lock::{self, Held};
use crate::store::{Filter, LastRun, Store, StoreError};
use caution::{Caution, Known};
use chrono::{DateTime, Utc};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use tasks::Context;
use tokio_util::sync::CancellationToken;

/// How long after its start a daemon looks for tasks that were missed: backups that were missed go
/// first.
const AFTER_START: Duration = Duration::from_secs(5);
/// How often a daemon looks whether a task is due.
const INTERVAL: Duration = Duration::from_secs(60);
/// The lock of the process that runs tasks, in the state folder.
const LOCK: &str = "maintenance.lock";

/// Runs the tasks of one state folder.
#[derive(Debug)]
pub struct Maintenance {
    store: Store,
    archive: Archive,
    clock: Clock,
    /// Runs that could not be stored, because the disk is full or read-only. They are stored later,
    /// and keep a failing task from being tried in a circle until then.
    unsaved: BTreeMap<&'static str, LastRun>,
    /// Whether tasks that remove things wait.
    caution: Caution,
    /// The clients of the accounts.
    services: Services,
    /// The tasks that are due because this process has started, whenever they last ran.
    at_start: BTreeSet<&'static str>,
    /// Whether the last look failed: then the next failure is not logged again.
    complained: bool,
}

impl Maintenance {
    /// Maintenance of this database and this archive.
    pub fn new(store: Store, archive: Archive, clock: Clock) -> Maintenance {
        let caution = Caution::new(&clock);
        Maintenance {
            store,
            archive,
            clock,
            unsaved: BTreeMap::new(),
            caution,
            services: Services::default(),
            at_start: BTreeSet::new(),
            complained: false,
        }
    }

    /// Runs every task when it is due, by the settings of that moment, until stopped. A running
    /// task is then no longer waited for: it ends with the process at the latest, and keeps the
    /// lock until then. Its next run removes what it has left.
    pub async fn keep_running(
        mut self,
        settings: impl Fn() -> Settings,
        services: impl Fn() -> Services,
        stop: &CancellationToken,
    ) {
        self.at_start = TASKS.iter().filter(|task| task.at_start).map(|task| task.name).collect();
        self.keep_running_these(&TASKS, AFTER_START, settings, services, stop).await;
    }

    async fn keep_running_these(
        mut self,
        tasks: &[Task],
        mut wait: Duration,
        settings: impl Fn() -> Settings,
        services: impl Fn() -> Services,
        stop: &CancellationToken,
    ) {
        while tokio::time::timeout(wait, stop.cancelled()).await.is_err() {
            let settings = settings();
            self.services = services();
            tokio::select! {
                () = stop.cancelled() => return,
                _ = self.run_due(&settings, tasks) => {}
            }
            wait = INTERVAL;
        }
    }

    /// Runs those of these tasks that are due, one after another. Says which ran, well or not. What
    /// goes wrong is logged.
    pub async fn run_due(&mut self, settings: &Settings, tasks: &[Task]) -> Vec<&'static str> {
        let Some(stored) = self.stored().await else { return Vec::new() };
        self.look_at_clock(settings, tasks, &stored).await;
        let now = self.clock.now();
        if !tasks.iter().any(|task| self.due(task, &stored, settings, now).is_some()) {
            self.save_unsaved().await;
            return Vec::new();
        }
        match lock::try_take(&settings.state_dir.join(LOCK)) {
            Ok(Ok(lock)) => {
                self.complained = false;
                self.run_due_holding(lock, settings, tasks).await
            }
            // Another process runs them: what it does not finish is still due afterwards.
            Ok(Err(_)) => Vec::new(),
            Err(error) => {
                let folder = settings.state_dir.display();
                self.complain(format!("maintenance cannot use the state folder {folder}: {error}"));
                Vec::new()
            }
        }
    }

    /// The same while this process holds the lock: another one may have run the tasks just before.
    async fn run_due_holding(
        &mut self,
        lock: Held,
        settings: &Settings,
        tasks: &[Task],
    ) -> Vec<&'static str> {
        let lock = Arc::new(lock);
        let Some(stored) = self.stored().await else { return Vec::new() };
        let mut ran = Vec::new();
        for task in tasks {
            // The time is read before the clock is looked at: a leap after this does not matter.
            let now = self.clock.now();
            self.caution.look(&self.clock);
            if let Some(last) = self.due(task, &stored, settings, now) {
                let run = self.run(task, &last, settings, now, Arc::clone(&lock)).await;
                self.save(task.name, run).await;
                self.at_start.remove(task.name);
                ran.push(task.name);
            }
        }
        ran
    }

    /// The last run of every task, as it is stored.
    async fn stored(&mut self) -> Option<BTreeMap<String, LastRun>> {
        match self.store.maintenance_runs().await {
            Ok(stored) => Some(stored),
            Err(error) => {
                self.complain(format!("cannot read when maintenance last ran: {error}"));
                None
            }
        }
    }

    /// Notices leaps of the clock, and at the first time what tells of earlier ones.
    async fn look_at_clock(
        &mut self,
        settings: &Settings,
        tasks: &[Task],
        stored: &BTreeMap<String, LastRun>,
    ) {
        self.caution.look(&self.clock);
        let new: Vec<&Task> =
            tasks.iter().filter(|it| it.removes && self.caution.is_new(it.name)).collect();
        if new.is_empty() {
            return;
        }
        let newest = match self.newest(settings).await {
            Ok(newest) => newest,
            Err(error) => return self.complain(format!("cannot read the newest job: {error}")),
        };
        let now = self.clock.now();
        let tried = |task: &Task| stored.get(task.name).and_then(|last| last.tried_at);
        for task in new {
            let known = Known { newest, own: tried(task), other: tried(&COPY) };
            self.caution.begin(task.name, caution::doubt(&known, now), &self.clock);
        }
    }

    /// The latest of the dates of each configured source's newest snapshot and of the newest job.
    async fn newest(&self, settings: &Settings) -> Result<Option<DateTime<Utc>>, StoreError> {
        let jobs = self.store.jobs(&Filter { limit: 1, ..Filter::default() }).await?;
        let sources: Vec<String> = settings.sources.iter().map(|it| it.name.clone()).collect();
        let archive = self.archive.clone();
        let snapshots = tokio::task::spawn_blocking(move || {
            // A folder that cannot be read says nothing, and nothing is removed from it.
            let newest = |source: &String| archive.names(source).ok()?.first().copied();
            sources.iter().filter_map(newest).map(|name| name.created_at()).max()
        });
        let snapshots = snapshots.await.unwrap_or_default();
        Ok(jobs.first().map(|job| job.created_at).max(snapshots))
    }

    /// The last run of a task that is due at `now` and does not wait.
    fn due(
        &mut self,
        task: &Task,
        stored: &BTreeMap<String, LastRun>,
        settings: &Settings,
        now: DateTime<Utc>,
    ) -> Option<LastRun> {
        let last = self.unsaved.get(task.name).or(stored.get(task.name));
        let last = last.cloned().unwrap_or_default();
        let is_due = self.at_start.contains(task.name)
            || task.rhythm.next(&last, now, settings.timezone) <= now;
        (is_due && !(task.removes && self.caution.waits(task.name, &self.clock))).then_some(last)
    }

    /// Runs a task, begun at that time, and says what is known of its runs then.
    async fn run(
        &self,
        task: &Task,
        last: &LastRun,
        settings: &Settings,
        begun: DateTime<Utc>,
        lock: Arc<Held>,
    ) -> LastRun {
        let context = Context {
            store: self.store.clone(),
            archive: self.archive.clone(),
            settings: settings.clone(),
            services: self.services.clone(),
            now: begun,
            _lock: lock,
        };
        // A task of its own, so that a panic ends only this run.
        let outcome = tokio::spawn((task.run)(context)).await;
        match outcome.unwrap_or_else(|error| Err(format!("it panicked: {error}"))) {
            Ok(done) => {
                tracing::info!(task = task.name, "maintenance: {done}");
                LastRun { succeeded_at: Some(begun), tried_at: Some(begun), failures: 0 }
            }
            Err(error) => {
                let run = LastRun {
                    succeeded_at: last.succeeded_at,
                    tried_at: Some(begun),
                    failures: last.failures.saturating_add(1),
                };
                let next = task.rhythm.next(&run, begun, settings.timezone);
                tracing::error!(task = task.name, next_try = %next, "maintenance failed: {error}");
                run
            }
        }
    }

    async fn save(&mut self, task: &'static str, run: LastRun) {
        match self.store.record_maintenance(task, &run).await {
            Ok(()) => {
                self.unsaved.remove(task);
            }
            Err(error) => {
                tracing::warn!(task, %error, "cannot store that maintenance ran; trying again");
                self.unsaved.insert(task, run);
            }
        }
    }

    /// Tries to store what could not be stored before.
    async fn save_unsaved(&mut self) {
        for (task, run) in std::mem::take(&mut self.unsaved) {
            if self.store.record_maintenance(task, &run).await.is_err() {
                self.unsaved.insert(task, run);
            }
        }
    }

    /// Logs what keeps every task from running, once while it lasts.
    fn complain(&mut self, message: String) {
        if !self.complained {
            tracing::error!("{message}; trying again every minute");
        }
        self.complained = true;
    }
}
