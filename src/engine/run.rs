//! The engine's main loop.

use super::in_flight::{InFlight, StepHandle};
use super::schedule::Agenda;
use super::step::pause;
use super::{Engine, EngineConfig};
use crate::archive::panic_message;
use crate::job::{FailureKind, Job, Outcome, Progress};
use crate::store::{AccountLimits, Claim, LONGEST_REMOTE_JOB, StoreError};
use chrono::{DateTime, TimeDelta, Utc};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant, SystemTime};
use tokio::task::{JoinError, JoinHandle, JoinSet};
use tokio_util::sync::CancellationToken;

/// Submissions and polls in flight at once.
const REQUESTS: usize = 64;
/// Downloads in flight at once.
const FETCHES: usize = 10;
/// The interval of the sweep, which checks the wall clock, reaps dead workers and asks about orphaned
/// remote jobs.
const SWEEP: Duration = Duration::from_secs(60);
/// The same while jobs are live.
const SWEEP_BUSY: Duration = Duration::from_secs(15);
/// How long to wait before using a failing database again.
const STORAGE_AGAIN: Duration = Duration::from_secs(5);
/// How often to poll for other processes' writes.
const POLL_CHANGES: Duration = Duration::from_secs(1);
/// The same for a daemon without live jobs.
const POLL_CHANGES_IDLE: Duration = Duration::from_secs(6);
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
    fn only(&self) -> Option<&[i64]> {
        match self {
            Scope::Everything => None,
            Scope::Jobs(jobs) => Some(jobs),
        }
    }
}

/// A finished step: its job, and whether its outcome could be stored.
type Finished = (i64, Result<(), StoreError>);

/// The state of one run.
#[derive(Debug)]
pub(super) struct Run {
    scope: Scope,
    config: Arc<EngineConfig>,
    limits: Arc<BTreeMap<String, AccountLimits>>,
    agenda: Agenda,
    in_flight: InFlight,
    steps: JoinSet<Finished>,
    /// Sources with live jobs that are not in the configuration.
    unconfigured: BTreeSet<String>,
    /// Until then nothing falls due, unless another process writes.
    quiet_until: DateTime<Utc>,
    /// Whether any job is live, in any process.
    busy: bool,
    last_wal: Option<(SystemTime, u64)>,
    /// Whether any process has written since the steps in flight were last checked.
    unchecked: bool,
    /// When that check was, by the monotonic clock.
    last_poll: Duration,
    /// When the last sweep was, by the monotonic clock.
    last_sweep: Duration,
    /// How often the clock had been corrected when the due times were last read.
    corrections: u64,
    /// Ends the query about orphaned remote jobs.
    pub(super) orphan_query_stop: CancellationToken,
    /// The query about orphaned remote jobs, until it is answered: there is one at a time.
    pub(super) orphan_query: Option<JoinHandle<()>>,
}

impl Engine {
    /// Works until it is stopped, or until its scope is done. Stops within 5 seconds: polls and
    /// downloads end at once and lose nothing, submissions are given 3 seconds.
    ///
    /// # Errors
    /// When the database is unusable, or another file is in its place; transient failures are retried.
    pub async fn run(&self, scope: Scope, stop: CancellationToken) -> Result<(), StoreError> {
        // A file that is no longer there explains whatever else fails.
        let cause = |error| self.shared.store.check_in_place().err().unwrap_or(error);
        let mut run = self.begin(scope).await.map_err(cause)?;
        let ended = loop {
            let every = if run.busy { SWEEP_BUSY } else { SWEEP };
            let sweep = self.since(run.last_sweep) >= every;
            match self.iterate(&mut run, sweep).await.map_err(cause) {
                Ok(true) => break Ok(()),
                Ok(false) => {}
                Err(error) if error.is_storage() => {
                    tracing::error!(%error, "the database cannot be used now; trying again");
                    tokio::select! {
                        () = stop.cancelled() => break Ok(()),
                        () = pause(STORAGE_AGAIN) => continue,
                    }
                }
                Err(error) => break Err(error),
            }
            let rest = matches!(run.scope, Scope::Everything) && !run.busy;
            let interval = if rest { POLL_CHANGES_IDLE } else { POLL_CHANGES };
            let wait = (run.quiet_until - self.now()).to_std().unwrap_or_default().min(interval);
            tokio::select! {
                biased;
                () = stop.cancelled() => break Ok(()),
                Some(step) = run.steps.join_next() => step_finished(&mut run, step),
                () = pause(wait) => {}
            }
            while let Some(step) = run.steps.try_join_next() {
                step_finished(&mut run, step);
            }
        };
        self.drain(run).await;
        ended
    }

    /// Runs everything that is due now to its end, once: for tests with a mock clock. Returns the
    /// number of steps.
    pub async fn tick(&self) -> Result<usize, StoreError> {
        self.ticking().await?.tick().await
    }

    /// A daemon for tests with a mock clock, which drive its loop.
    pub async fn ticking(&self) -> Result<Ticking, StoreError> {
        Ok(Ticking { engine: self.clone(), run: self.begin(Scope::Everything).await? })
    }

    pub(super) async fn begin(&self, scope: Scope) -> Result<Run, StoreError> {
        let config = self.config();
        let mut run = Run {
            scope,
            limits: Arc::default(),
            agenda: Agenda::default(),
            in_flight: InFlight::default(),
            steps: JoinSet::new(),
            unconfigured: BTreeSet::new(),
            quiet_until: DateTime::UNIX_EPOCH,
            busy: true,
            last_wal: None,
            unchecked: false,
            last_poll: self.shared.clock.monotonic(),
            last_sweep: self.shared.clock.monotonic(),
            corrections: 0,
            orphan_query_stop: CancellationToken::new(),
            orphan_query: None,
            config,
        };
        self.correct_clock(&mut run, true).await?;
        self.apply_config(&mut run).await?;
        self.reap_dead_workers().await?;
        Ok(run)
    }

    async fn apply_config(&self, run: &mut Run) -> Result<(), StoreError> {
        if matches!(run.scope, Scope::Everything) {
            run.agenda = self.begin_schedules(&run.config).await?;
        }
        for source in &run.config.settings.sources {
            self.shared.store.move_to_account(&source.name, &source.account, self.now()).await?;
        }
        self.shared.store.reconsider_quota(self.now()).await?;
        run.unconfigured.clear();
        run.limits = Arc::new(run.config.limits());
        Ok(())
    }

    /// One iteration of the loop; `true` when the scope is done. With `sweep` it also checks what the
    /// database's change cannot show: dead workers, orphaned remote jobs.
    pub(super) async fn iterate(&self, run: &mut Run, sweep: bool) -> Result<bool, StoreError> {
        *self.shared.last_tick.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
        self.shared.store.check_in_place()?;
        let config = self.config();
        if !Arc::ptr_eq(&config, &run.config) {
            let before = std::mem::replace(&mut run.config, config);
            if let Err(error) = self.apply_config(run).await {
                // Not applied: the next try finds it new again.
                run.config = before;
                return Err(error);
            }
        }
        self.correct_clock(run, sweep).await?;
        let poll = self.since(run.last_poll) >= POLL_CHANGES;
        let sign = self.shared.store.wal_fingerprint();
        let written = sign != run.last_wal;
        if run.in_flight.is_empty() && !written && !sweep && self.now() < run.quiet_until {
            return match &run.scope {
                Scope::Jobs(jobs) if poll => {
                    self.followed_jobs_ended(jobs, &mut run.last_poll).await
                }
                _ => Ok(false),
            };
        }
        run.last_wal = sign;
        run.unchecked |= written;
        if matches!(run.scope, Scope::Everything) {
            let config = Arc::clone(&run.config);
            self.schedule_due(&config, &mut run.agenda).await?;
        }
        if sweep {
            run.last_sweep = self.shared.clock.monotonic();
            self.reap_dead_workers().await?;
            self.release_idle(run).await?;
            self.ask_about_orphans(run);
        }
        if !run.in_flight.is_empty() {
            self.cancel_lost_steps(run, sweep || poll && run.unchecked).await?;
        } else if let Scope::Jobs(jobs) = &run.scope
            && self.followed_jobs_ended(jobs, &mut run.last_poll).await?
        {
            return Ok(true);
        }
        if self.next_due(run).await?.is_some_and(|due| due <= self.now()) {
            self.claim(run).await?;
        }
        let next = self.next_due(run).await?.into_iter().chain(run.agenda.next()).min();
        run.quiet_until = next.unwrap_or(DateTime::<Utc>::MAX_UTC);
        run.busy = !run.in_flight.is_empty() || self.shared.store.any_live().await?;
        Ok(false)
    }

    /// If anything may have been `written`, ends the steps of jobs that this worker no longer holds,
    /// usually because they were cancelled.
    async fn cancel_lost_steps(&self, run: &mut Run, written: bool) -> Result<(), StoreError> {
        if written {
            run.last_poll = self.shared.clock.monotonic();
            run.unchecked = false;
            run.in_flight.keep_only(&self.shared.store.held(&self.shared.worker.name).await?);
        }
        Ok(())
    }

    /// Frees jobs that this worker holds without working on them: the end of a step could not be
    /// stored, or the step was cancelled. No other worker may take them while this one is alive.
    async fn release_idle(&self, run: &Run) -> Result<(), StoreError> {
        let (store, owner) = (&self.shared.store, &self.shared.worker.name);
        let at_work = run.in_flight.jobs();
        if store.held(owner).await?.iter().any(|job| !at_work.contains(job)) {
            store.release_all(owner, &at_work).await?;
        }
        Ok(())
    }

    /// Whether all these jobs have ended. Also frees those of dead workers, so that a command that
    /// follows them does not wait in vain.
    async fn followed_jobs_ended(
        &self,
        jobs: &[i64],
        last_poll: &mut Duration,
    ) -> Result<bool, StoreError> {
        *last_poll = self.shared.clock.monotonic();
        self.reap_dead_workers().await?;
        self.all_ended(jobs).await
    }

    async fn all_ended(&self, jobs: &[i64]) -> Result<bool, StoreError> {
        for job in jobs {
            if let Some(job) = self.shared.store.job(*job).await?
                && !job.state.is_final()
            {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Corrects times that a wrong clock has left, and reads the due times again if there were any.
    async fn correct_clock(&self, run: &mut Run, sweep: bool) -> Result<(), StoreError> {
        let corrections = self.check_clock(sweep).await?;
        if corrections != run.corrections {
            run.corrections = corrections;
            run.quiet_until = DateTime::UNIX_EPOCH;
            if matches!(run.scope, Scope::Everything) {
                run.agenda = Agenda::of(&run.config);
            }
        }
        Ok(())
    }

    /// Corrects what a step of the wall clock has left; in a `sweep`, also what was left before
    /// this engine began. Says how often there was anything to correct.
    pub(super) async fn check_clock(&self, sweep: bool) -> Result<u64, StoreError> {
        let mut watch = self.shared.clock_watch.lock().await;
        if let Some(step) = watch.steps.step(&self.shared.clock) {
            let seconds = step.num_seconds();
            tracing::warn!(seconds, "the clock has stepped, or the machine was suspended");
            watch.pending = true;
            watch.forward = (watch.forward + step).max(TimeDelta::zero());
        }
        if watch.pending || sweep {
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

    /// How long ago this was, by the monotonic clock.
    fn since(&self, moment: Duration) -> Duration {
        self.shared.clock.monotonic().saturating_sub(moment)
    }

    /// Frees the jobs of dead workers and removes their unfinished files.
    async fn reap_dead_workers(&self) -> Result<(), StoreError> {
        for owner in self.shared.store.lease_owners().await? {
            if !self.shared.worker.is_alive(&owner) {
                let freed = self.shared.store.release_all(&owner, &[]).await?;
                tracing::warn!(worker = owner, jobs = freed, "took over from a worker that died");
                self.remove_leftovers(owner).await;
            }
        }
        Ok(())
    }

    /// Removes the unfinished files of a worker that died.
    async fn remove_leftovers(&self, worker: String) {
        let archive = self.shared.archive.clone();
        let swept = tokio::task::spawn_blocking(move || archive.sweep(|name| name != worker)).await;
        if let Ok(Err(error)) = swept {
            tracing::warn!(%error, "the unfinished files of a dead worker stay for now");
        }
    }

    async fn next_due(&self, run: &Run) -> Result<Option<DateTime<Utc>>, StoreError> {
        let (requests, fetches) = run.in_flight.counts();
        let unconfigured: Vec<String> = run.unconfigured.iter().cloned().collect();
        let store = &self.shared.store;
        store
            .next_due(requests < REQUESTS, fetches < FETCHES, run.scope.only(), &unconfigured)
            .await
    }

    /// While jobs wait for quota, polls orphaned remote jobs (usually of cancelled jobs) that still use
    /// it. Those that have ended free their place.
    pub(super) fn ask_about_orphans(&self, run: &mut Run) {
        if run.orphan_query.as_ref().is_some_and(|asked| !asked.is_finished()) {
            return;
        }
        let (engine, config) = (self.clone(), Arc::clone(&run.config));
        let stop = run.orphan_query_stop.clone();
        run.orphan_query = Some(tokio::spawn(async move {
            tokio::select! {
                () = stop.cancelled() => {}
                asked = engine.orphans(&config) => {
                    if let Err(error) = asked {
                        tracing::warn!(%error, "cannot poll orphaned remote jobs");
                    }
                }
            }
        }));
    }

    pub(super) async fn orphans(&self, config: &EngineConfig) -> Result<(), StoreError> {
        let store = &self.shared.store;
        for orphan in store.orphans(self.now() - LONGEST_REMOTE_JOB).await? {
            let source = config.settings.source(&orphan.source);
            let service = source.and_then(|source| config.services.get(&source.account));
            let (Some(source), Some(service)) = (source, service) else { continue };
            let id = orphan.remote_id.as_deref();
            // The service may not know a young one yet, although it uses quota.
            let age = (self.now() - orphan.started_at).to_std().unwrap_or_default();
            let is_young = age < config.settings.http.lost_after;
            let ended = match service.poll(&source.target, id, &orphan.status_url, self.now()).await
            {
                // An answer about another job says nothing about this one.
                Ok(polled) if polled.other.is_some() => false,
                Ok(polled) => !matches!(polled.progress, Progress::Pending { .. }),
                Err(failure) => failure.kind == FailureKind::NotFound && !is_young,
            };
            if ended {
                tracing::info!(source = orphan.source, "an orphaned remote job has ended");
                store.mark_ended(orphan, self.now()).await?;
            }
        }
        Ok(())
    }

    async fn claim(&self, run: &mut Run) -> Result<(), StoreError> {
        let now = self.now();
        let (requests, fetches) = run.in_flight.counts();
        let free = |most: usize, taken| u32::try_from(most.saturating_sub(taken)).unwrap_or(0);
        let claim = Claim {
            owner: self.shared.worker.name.clone(),
            requests: free(REQUESTS, requests),
            fetches: free(FETCHES, fetches),
            only: run.scope.only().map(<[i64]>::to_vec),
            unconfigured: run.unconfigured.iter().cloned().collect(),
            limits: Arc::clone(&run.limits),
        };
        let claimed = self.shared.store.claim(claim, now).await?;
        for job in claimed.unconfigured {
            self.note_unconfigured(run, &job);
        }
        for decision in claimed.decided {
            self.publish(decision.job(), decision.events());
        }
        for job in claimed.jobs {
            let handle = run.in_flight.begin(&job);
            self.launch(run, job, handle);
        }
        Ok(())
    }

    fn note_unconfigured(&self, run: &mut Run, job: &Job) {
        if run.unconfigured.insert(job.source.clone()) {
            tracing::warn!(
                job = job.id,
                source = job.source,
                "the job's source is not in the configuration; it is left unchanged. Add the \
                 source again, or run `nightjar cancel {}`",
                job.id
            );
        }
    }

    fn launch(&self, run: &mut Run, job: Job, handle: StepHandle) {
        let (engine, config) = (self.clone(), Arc::clone(&run.config));
        run.steps.spawn(async move {
            let id = job.id;
            let step = {
                let (engine, config, job, handle) =
                    (engine.clone(), Arc::clone(&config), job.clone(), handle.clone());
                // A task of its own, so that a panic ends only this step.
                tokio::spawn(async move { engine.work(&config, job, &handle).await })
            };
            let ended = match step.await {
                Ok(ended) => ended,
                Err(panicked) => {
                    let outcome = Outcome::Panicked(panic_message(panicked));
                    engine.conclude(&config, &job, outcome.into(), &handle).await
                }
            };
            (id, ended)
        });
    }

    /// Ends the steps in flight and frees every claim.
    async fn drain(&self, mut run: Run) {
        run.orphan_query_stop.cancel();
        run.in_flight.cancel_all();
        let answered = tokio::time::timeout(LAST_ANSWERS, async {
            while let Some(step) = run.steps.join_next().await {
                step_finished(&mut run, step);
            }
        });
        if answered.await.is_err() {
            run.in_flight.abort_all();
            let rest = tokio::time::timeout(LAST_WRITES, async {
                while let Some(step) = run.steps.join_next().await {
                    step_finished(&mut run, step);
                }
            });
            if rest.await.is_err() {
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

/// A daemon whose loop a test drives.
#[derive(Debug)]
pub struct Ticking {
    engine: Engine,
    run: Run,
}

impl Ticking {
    /// One tick: runs everything that is due now to its end. Returns the number of steps.
    ///
    /// # Errors
    /// When the database cannot be used, or a step's outcome could not be stored.
    pub async fn tick(&mut self) -> Result<usize, StoreError> {
        self.run.quiet_until = DateTime::UNIX_EPOCH;
        self.engine.iterate(&mut self.run, false).await?;
        let mut steps = 0;
        while let Some(step) = self.run.steps.join_next().await {
            steps += 1;
            if let Ok((job, result)) = step {
                self.run.in_flight.end(job);
                result?;
            }
        }
        Ok(steps)
    }

    /// The daemon's periodic sweep, run now: reaps dead workers and asks about orphaned remote jobs.
    ///
    /// # Errors
    /// When the database cannot be used.
    pub async fn sweep_now(&mut self) -> Result<(), StoreError> {
        self.engine.correct_clock(&mut self.run, true).await?;
        self.engine.reap_dead_workers().await?;
        self.engine.release_idle(&self.run).await?;
        let config = Arc::clone(&self.run.config);
        self.engine.orphans(&config).await?;
        Ok(())
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

fn step_finished(run: &mut Run, step: Result<Finished, JoinError>) {
    let Ok((job, result)) = step else { return };
    run.in_flight.end(job);
    run.quiet_until = DateTime::UNIX_EPOCH;
    if let Err(error) = result {
        tracing::error!(job, %error, "cannot store the outcome of a step");
    }
}
