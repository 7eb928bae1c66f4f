//! The engine's main loop: waits for one event, handles it, and works on what is due.

use super::in_flight::InFlight;
use super::orphans::OrphanQuery;
use super::schedule::Agenda;
use super::step::pause;
use super::timers::{Pace, Timer, Timers};
use super::{Engine, EngineConfig};
use crate::store::{AccountLimits, StoreError};
use chrono::{DateTime, Utc};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant, SystemTime};
use tokio_util::sync::CancellationToken;

/// How long to wait before using a failing database again.
const STORAGE_AGAIN: Duration = Duration::from_secs(5);
/// How long a stopping engine waits for the answers to its submissions.
const LAST_ANSWERS: Duration = Duration::from_secs(3);
/// How long it then waits for what cannot be interrupted.
const LAST_WRITES: Duration = Duration::from_millis(1500);

/// What an engine works on.
#[derive(Debug, Clone)]
pub enum Scope {
    /// Every source's schedule and every job, until stopped.
    Everything,
    /// These jobs, until all have ended. What another worker holds is followed.
    Jobs(Vec<i64>),
}

impl Scope {
    pub(super) fn only(&self) -> Option<&[i64]> {
        match self {
            Scope::Everything => None,
            Scope::Jobs(jobs) => Some(jobs),
        }
    }
}

/// What the loop waits for.
#[derive(Debug)]
pub(super) enum Event {
    /// The engine is asked to stop.
    Stop,
    /// The configuration was replaced.
    ConfigChanged(Arc<EngineConfig>),
    /// A timer has fired.
    Timer(Timer),
    /// A job or a scheduled time is due.
    Due,
}

/// The state of one run.
#[derive(Debug)]
pub(super) struct Run {
    pub(super) scope: Scope,
    /// What it works by.
    pub(super) config: Arc<EngineConfig>,
    /// What each source's account allows, by that configuration.
    pub(super) limits: Arc<BTreeMap<String, AccountLimits>>,
    /// Sources with live jobs that are not in that configuration.
    pub(super) unconfigured: BTreeSet<String>,
    pub(super) agenda: Agenda,
    pub(super) in_flight: InFlight,
    pub(super) orphans: OrphanQuery,
    timers: Timers,
    /// Until then nothing falls due, unless another process writes.
    quiet_until: DateTime<Utc>,
    /// Whether any job is live, in any process.
    is_busy: bool,
    /// The state of the database's journal when its changes were last polled.
    wal: Option<(SystemTime, u64)>,
    /// How often the clock had been corrected when the due times were last read.
    pub(super) corrections: u64,
}

impl Run {
    /// Reads again from the database what is due, before anything else is waited for.
    pub(super) fn read_due_times(&mut self) {
        self.quiet_until = DateTime::UNIX_EPOCH;
    }

    /// The same, and accounts again for every schedule.
    pub(super) fn read_all_due_times(&mut self) {
        self.read_due_times();
        if matches!(self.scope, Scope::Everything) {
            self.agenda = Agenda::of(&self.config);
        }
    }

    fn pace(&self) -> Pace {
        match (&self.scope, self.is_busy) {
            (_, true) => Pace::Busy,
            (Scope::Everything, false) => Pace::Idle,
            (Scope::Jobs(_), false) => Pace::Following,
        }
    }
}

impl Engine {
    /// Works until it is stopped, or until its scope is done. Stops within 5 seconds: polls and
    /// downloads end at once and lose nothing, submissions are given 3 seconds.
    ///
    /// # Errors
    /// When the database is unusable, or another file is in its place; transient failures are
    /// retried.
    pub async fn run(&self, scope: Scope, stop: CancellationToken) -> Result<(), StoreError> {
        // A file that is no longer there explains whatever else fails.
        let cause = |error| self.shared.store.check_in_place().err().unwrap_or(error);
        let mut run = self.begin(scope).await.map_err(cause)?;
        let ended = loop {
            let event = self.next_event(&mut run, &stop).await;
            match self.handle(&mut run, event).await.map_err(cause) {
                Ok(ControlFlow::Continue(())) => {}
                Ok(ControlFlow::Break(())) => break Ok(()),
                Err(error) if error.is_storage() => {
                    tracing::error!(%error, "the database cannot be used now; trying again");
                    (run.wal, run.quiet_until) = (None, DateTime::UNIX_EPOCH);
                    tokio::select! {
                        () = stop.cancelled() => break Ok(()),
                        () = pause(STORAGE_AGAIN) => {}
                    }
                }
                Err(error) => break Err(error),
            }
        };
        self.drain(run).await;
        ended
    }

    pub(super) async fn begin(&self, scope: Scope) -> Result<Run, StoreError> {
        let config = self.config();
        let mut run = Run {
            scope,
            config: Arc::clone(&config),
            limits: Arc::default(),
            unconfigured: BTreeSet::new(),
            agenda: Agenda::default(),
            in_flight: InFlight::default(),
            orphans: OrphanQuery::default(),
            timers: Timers::new(self.shared.clock.monotonic()),
            quiet_until: DateTime::UNIX_EPOCH,
            is_busy: true,
            wal: self.shared.store.wal_fingerprint(),
            corrections: 0,
        };
        self.correct_clock(&mut run, true).await?;
        self.apply_config(&mut run, config).await?;
        self.reap_dead_workers().await?;
        self.release_holds().await;
        Ok(run)
    }

    /// Waits for the next event. Ends the steps that have finished before it returns any.
    pub(super) async fn next_event(&self, run: &mut Run, stop: &CancellationToken) -> Event {
        loop {
            if run.in_flight.end_finished() {
                // What the steps have changed may be due at once.
                run.read_due_times();
            }
            if stop.is_cancelled() {
                return Event::Stop;
            }
            if let Some(config) = self.new_config(run) {
                return Event::ConfigChanged(config);
            }
            let (now, pace) = (self.shared.clock.monotonic(), run.pace());
            if let Some(timer) = run.timers.fire(pace, now) {
                return Event::Timer(timer);
            }
            let quiet = (run.quiet_until - self.now()).to_std().unwrap_or_default();
            if quiet.is_zero() {
                return Event::Due;
            }
            tokio::select! {
                () = stop.cancelled() => {}
                Some(_) = run.in_flight.next_finished() => run.read_due_times(),
                () = pause(quiet.min(run.timers.wait(pace, now))) => {}
            }
        }
    }

    /// Handles one event, and works on what is due then. Breaks when there is no more to do. A
    /// timer whose event fails fires again.
    pub(super) async fn handle(
        &self,
        run: &mut Run,
        event: Event,
    ) -> Result<ControlFlow<()>, StoreError> {
        let timer = match event {
            // There is little time, and a stop needs nothing of the database.
            Event::Stop => return Ok(ControlFlow::Break(())),
            Event::Timer(timer) => Some(timer),
            Event::ConfigChanged(_) | Event::Due => None,
        };
        let handled = self.work_on_event(run, event).await;
        if let (Err(_), Some(timer)) = (&handled, timer) {
            run.timers.fire_again(timer);
        }
        handled
    }

    async fn work_on_event(
        &self,
        run: &mut Run,
        event: Event,
    ) -> Result<ControlFlow<()>, StoreError> {
        *self.shared.last_tick.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
        self.shared.store.check_in_place()?;
        self.correct_clock(run, false).await?;
        match event {
            Event::ConfigChanged(config) => self.apply_config(run, config).await?,
            Event::Timer(Timer::PollChanges) => self.poll_changes(run).await?,
            Event::Timer(Timer::Sweep) => self.sweep(run).await?,
            // A stop does not come here.
            Event::Due | Event::Stop => {}
        }
        if self.followed_jobs_ended(run).await? {
            return Ok(ControlFlow::Break(()));
        }
        if run.quiet_until <= self.now() {
            self.work_on_due(run).await?;
        }
        Ok(ControlFlow::Continue(()))
    }

    /// The configuration, if it was replaced since this run has applied one.
    pub(super) fn new_config(&self, run: &Run) -> Option<Arc<EngineConfig>> {
        Some(self.config()).filter(|config| !Arc::ptr_eq(config, &run.config))
    }

    /// Works by a configuration from now on. If that fails, the next event is the same again.
    pub(super) async fn apply_config(
        &self,
        run: &mut Run,
        config: Arc<EngineConfig>,
    ) -> Result<(), StoreError> {
        if matches!(run.scope, Scope::Everything) {
            run.agenda = self.begin_schedules(&config).await?;
        }
        for source in &config.settings.sources {
            self.shared.store.move_to_account(&source.name, &source.account, self.now()).await?;
        }
        self.shared.store.reconsider_quota(self.now()).await?;
        run.unconfigured.clear();
        run.limits = Arc::new(config.limits());
        run.config = config;
        run.read_due_times();
        Ok(())
    }

    /// If any process may have written since the last poll: cancels lost steps, and reads again
    /// what is due.
    async fn poll_changes(&self, run: &mut Run) -> Result<(), StoreError> {
        let wal = self.shared.store.wal_fingerprint();
        if wal != run.wal {
            run.wal = wal;
            run.read_due_times();
            self.cancel_lost_steps(run).await?;
        }
        Ok(())
    }

    /// Checks what the database's changes do not show: wrong times, dead workers, and orphaned
    /// remote jobs.
    async fn sweep(&self, run: &mut Run) -> Result<(), StoreError> {
        run.read_due_times();
        self.sweep_database(run).await?;
        self.begin_orphan_query(run);
        self.cancel_lost_steps(run).await
    }

    /// The part of a sweep that is done before anything else.
    pub(super) async fn sweep_database(&self, run: &mut Run) -> Result<(), StoreError> {
        self.correct_clock(run, true).await?;
        self.reap_dead_workers().await?;
        self.release_holds().await;
        self.release_idle(run).await
    }

    /// Cancels the steps of jobs that this worker no longer holds, usually because they were
    /// cancelled.
    async fn cancel_lost_steps(&self, run: &Run) -> Result<(), StoreError> {
        if !run.in_flight.is_empty() {
            run.in_flight.keep_only(&self.shared.store.held(&self.shared.worker.name).await?);
        }
        Ok(())
    }

    /// Whether all the jobs of the scope have ended. Also frees those of dead workers, so that a
    /// command that follows them does not wait in vain.
    async fn followed_jobs_ended(&self, run: &Run) -> Result<bool, StoreError> {
        let Scope::Jobs(jobs) = &run.scope else { return Ok(false) };
        if !run.in_flight.is_empty() {
            return Ok(false);
        }
        self.reap_dead_workers().await?;
        for job in jobs {
            if let Some(job) = self.shared.store.job(*job).await?
                && !job.state.is_final()
            {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Makes jobs of the scheduled times that are due, begins the steps of due jobs, and computes
    /// until when there is nothing more.
    async fn work_on_due(&self, run: &mut Run) -> Result<(), StoreError> {
        if matches!(run.scope, Scope::Everything) {
            let config = Arc::clone(&run.config);
            self.schedule_due(&config, &mut run.agenda).await?;
        }
        if self.next_due(run).await?.is_some_and(|due| due <= self.now()) {
            self.claim(run).await?;
        }
        let next = self.next_due(run).await?.into_iter().chain(run.agenda.next()).min();
        run.quiet_until = next.unwrap_or(DateTime::<Utc>::MAX_UTC);
        run.is_busy = !run.in_flight.is_empty() || self.shared.store.any_live().await?;
        Ok(())
    }

    /// Ends the steps in flight and frees every claim.
    async fn drain(&self, mut run: Run) {
        run.orphans.stop.cancel();
        run.in_flight.cancel_all();
        if tokio::time::timeout(LAST_ANSWERS, finish_all(&mut run)).await.is_err() {
            run.in_flight.abort_all();
            if tokio::time::timeout(LAST_WRITES, finish_all(&mut run)).await.is_err() {
                tracing::warn!(
                    "stopped while a file was being written; the next start resumes the job"
                );
            }
        }
        // A step that is still writing keeps its job until the process has ended.
        let writing = run.in_flight.jobs();
        let owner = &self.shared.worker.name;
        if let Err(error) = self.shared.store.release_all(owner, &writing).await {
            tracing::warn!(%error, "cannot free the jobs; the next worker will");
        }
    }
}

async fn finish_all(run: &mut Run) {
    while run.in_flight.next_finished().await.is_some() {}
}
