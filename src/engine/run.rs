//! The loop that keeps an engine going.

use super::flights::{Flight, Flights};
use super::schedule::Agenda;
use super::step::pause;
use super::{Engine, Plan, target};
use crate::archive::panic_message;
use crate::clock::Steps;
use crate::job::{FailureKind, Job, Outcome, Progress};
use crate::store::{Claim, LONGEST_REMOTE_JOB, Limits, StoreError};
use chrono::{DateTime, TimeDelta, Utc};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant, SystemTime};
use tokio::task::{JoinError, JoinHandle, JoinSet};
use tokio_util::sync::CancellationToken;

/// Submissions and polls under way at once.
const REQUESTS: usize = 64;
/// Downloads under way at once.
const FETCHES: usize = 10;
/// How often, whatever else happens, the wall clock is looked at, dead workers are looked for, and
/// abandoned remote jobs are asked about.
const ROUND: Duration = Duration::from_secs(60);
/// The same while jobs are live.
const ROUND_AT_WORK: Duration = Duration::from_secs(15);
/// How long to leave a database alone that cannot be used.
const STORAGE_AGAIN: Duration = Duration::from_secs(5);
/// How often other processes' writes are looked for.
const GLANCE: Duration = Duration::from_secs(1);
/// The same for a daemon without any live job.
const GLANCE_AT_REST: Duration = Duration::from_secs(6);
/// How long a stopping engine waits for the answers to its submissions.
const LAST_ANSWERS: Duration = Duration::from_secs(3);
/// How long it then waits for what cannot be interrupted.
const LAST_WRITES: Duration = Duration::from_millis(1500);

/// What an engine works on.
#[derive(Debug, Clone)]
pub enum Scope {
    /// Every source's schedule and every job, until it is told to stop.
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

/// A step's end: of which job, and whether what came of it could be stored.
type Landing = (i64, Result<(), StoreError>);

/// The state of one run.
#[derive(Debug)]
pub(super) struct Run {
    scope: Scope,
    plan: Arc<Plan>,
    limits: Arc<BTreeMap<String, Limits>>,
    agenda: Agenda,
    flights: Flights,
    steps: JoinSet<Landing>,
    /// Sources with live jobs that the plan does not know.
    strangers: BTreeSet<String>,
    /// Until then nothing falls due, unless another process writes.
    quiet_until: DateTime<Utc>,
    /// Whether any job is live, whoever works on it.
    at_work: bool,
    seen: Option<(SystemTime, u64)>,
    /// Whether anybody has written since the steps under way were last looked after.
    unseen: bool,
    /// When that was, by the monotonic clock.
    glanced: Duration,
    /// When the last round was, by the monotonic clock.
    round: Duration,
    clock_steps: Steps,
    /// Ends the question about orphans.
    pub(super) asking: CancellationToken,
    /// The question about orphans, until it is answered: it is asked once at a time.
    pub(super) asked: Option<JoinHandle<()>>,
}

impl Engine {
    /// Works until it is told to stop, or until its scope is done. Stops within 5 seconds: polls
    /// and downloads end at once and cost nothing, submissions are given 3 seconds.
    ///
    /// # Errors
    /// When the database is unusable; trouble that may pass is waited out.
    pub async fn run(&self, scope: Scope, stop: CancellationToken) -> Result<(), StoreError> {
        let mut run = self.begin(scope).await?;
        let ended = loop {
            let every = if run.at_work { ROUND_AT_WORK } else { ROUND };
            let round = self.since(run.round) >= every;
            match self.turn(&mut run, round).await {
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
            let rest = matches!(run.scope, Scope::Everything) && !run.at_work;
            let glance = if rest { GLANCE_AT_REST } else { GLANCE };
            let wait = (run.quiet_until - self.now()).to_std().unwrap_or_default().min(glance);
            tokio::select! {
                biased;
                () = stop.cancelled() => break Ok(()),
                Some(step) = run.steps.join_next() => landed(&mut run, step),
                () = pause(wait) => {}
            }
            while let Some(step) = run.steps.try_join_next() {
                landed(&mut run, step);
            }
        };
        self.drain(run).await;
        ended
    }

    /// Everything that is due now, to its end, one round of it: for tests that hold the clock.
    /// Says how many steps were taken.
    pub async fn tick(&self) -> Result<usize, StoreError> {
        self.ticking().await?.tick().await
    }

    /// A daemon for tests that hold the clock: it turns when it is told to.
    pub async fn ticking(&self) -> Result<Ticking, StoreError> {
        Ok(Ticking { engine: self.clone(), run: self.begin(Scope::Everything).await? })
    }

    pub(super) async fn begin(&self, scope: Scope) -> Result<Run, StoreError> {
        let plan = self.plan();
        let mut run = Run {
            scope,
            limits: Arc::default(),
            agenda: Agenda::default(),
            flights: Flights::default(),
            steps: JoinSet::new(),
            strangers: BTreeSet::new(),
            quiet_until: DateTime::UNIX_EPOCH,
            at_work: true,
            seen: None,
            unseen: false,
            glanced: self.shared.clock.monotonic(),
            round: self.shared.clock.monotonic(),
            clock_steps: Steps::new(&self.shared.clock),
            asking: CancellationToken::new(),
            asked: None,
            plan,
        };
        self.set_clock_right(&mut run, TimeDelta::zero()).await?;
        self.take_up_plan(&mut run).await?;
        self.bury_the_dead().await?;
        Ok(run)
    }

    async fn take_up_plan(&self, run: &mut Run) -> Result<(), StoreError> {
        if matches!(run.scope, Scope::Everything) {
            run.agenda = self.begin_schedules(&run.plan).await?;
        }
        for source in &run.plan.settings.sources {
            self.shared.store.move_to_account(&source.name, &source.account).await?;
        }
        self.shared.store.reconsider_quota(self.now()).await?;
        run.strangers.clear();
        run.limits = Arc::new(run.plan.limits());
        Ok(())
    }

    /// One turn of the loop; `true` when the scope is done. In a `round` it also looks for what no
    /// sign tells of: dead workers, abandoned remote jobs.
    async fn turn(&self, run: &mut Run, round: bool) -> Result<bool, StoreError> {
        *self.shared.turned.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
        let plan = self.plan();
        if !Arc::ptr_eq(&plan, &run.plan) {
            run.plan = plan;
            self.take_up_plan(run).await?;
        }
        if let Some(step) = run.clock_steps.step(&self.shared.clock) {
            self.clock_stepped(run, step).await?;
        }
        let glance = self.since(run.glanced) >= GLANCE;
        let sign = self.shared.store.change_sign();
        let written = sign != run.seen;
        if run.flights.is_empty() && !written && !round && self.now() < run.quiet_until {
            return match &run.scope {
                Scope::Jobs(jobs) if glance => self.look_after(jobs, &mut run.glanced).await,
                _ => Ok(false),
            };
        }
        run.seen = sign;
        run.unseen |= written;
        if matches!(run.scope, Scope::Everything) {
            let plan = Arc::clone(&run.plan);
            self.schedule_due(&plan, &mut run.agenda).await?;
        }
        if round {
            run.round = self.shared.clock.monotonic();
            self.set_clock_right(run, TimeDelta::zero()).await?;
            self.bury_the_dead().await?;
            self.release_idle(run).await?;
            self.ask_about_orphans(run);
        }
        if !run.flights.is_empty() {
            self.look_after_flights(run, round || glance && run.unseen).await?;
        } else if let Scope::Jobs(jobs) = &run.scope
            && self.look_after(jobs, &mut run.glanced).await?
        {
            return Ok(true);
        }
        if self.next_due(run).await?.is_some_and(|due| due <= self.now()) {
            self.claim(run).await?;
        }
        let next = self.next_due(run).await?.into_iter().chain(run.agenda.next()).min();
        run.quiet_until = next.unwrap_or(DateTime::<Utc>::MAX_UTC);
        run.at_work = !run.flights.is_empty() || self.shared.store.any_live().await?;
        Ok(false)
    }

    /// Where anything may have been `written`, ends steps whose jobs were taken away: cancelled,
    /// usually.
    async fn look_after_flights(&self, run: &mut Run, written: bool) -> Result<(), StoreError> {
        if written {
            run.glanced = self.shared.clock.monotonic();
            run.unseen = false;
            run.flights.keep_only(&self.shared.store.held(&self.shared.worker.name).await?);
        }
        Ok(())
    }

    /// Frees jobs that this worker holds without working on them: the end of a step could not be
    /// stored, or the step was given up. Nobody else may take them while the worker lives.
    async fn release_idle(&self, run: &Run) -> Result<(), StoreError> {
        let (store, owner) = (&self.shared.store, &self.shared.worker.name);
        let at_work = run.flights.jobs();
        if store.held(owner).await?.iter().any(|job| !at_work.contains(job)) {
            store.release_all(owner, &at_work).await?;
        }
        Ok(())
    }

    /// Whether all these jobs have ended. Frees those that a worker held which died: whoever
    /// follows them must not be kept waiting.
    async fn look_after(&self, jobs: &[i64], glanced: &mut Duration) -> Result<bool, StoreError> {
        *glanced = self.shared.clock.monotonic();
        self.bury_the_dead().await?;
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

    /// Corrects times that a wrong clock has left, after it stepped `forward` or at any time.
    async fn set_clock_right(&self, run: &mut Run, forward: TimeDelta) -> Result<(), StoreError> {
        if self.shared.store.set_clock_right(forward, self.now()).await? {
            tracing::warn!("the clock was set; due times and deadlines were corrected");
            run.quiet_until = DateTime::UNIX_EPOCH;
            if matches!(run.scope, Scope::Everything) {
                run.agenda = Agenda::of(&run.plan);
            }
        }
        Ok(())
    }

    /// The wall clock has stepped.
    async fn clock_stepped(&self, run: &mut Run, step: TimeDelta) -> Result<(), StoreError> {
        let seconds = step.num_seconds();
        tracing::warn!(seconds, "the clock has stepped, or the machine was suspended");
        run.quiet_until = DateTime::UNIX_EPOCH;
        // A daemon runs once at most: a step moves deadlines once.
        let forward = match run.scope {
            Scope::Everything => step.max(TimeDelta::zero()),
            Scope::Jobs(_) => TimeDelta::zero(),
        };
        self.set_clock_right(run, forward).await
    }

    /// How long ago this was, by the monotonic clock.
    fn since(&self, moment: Duration) -> Duration {
        self.shared.clock.monotonic().saturating_sub(moment)
    }

    /// Frees what dead workers hold.
    async fn bury_the_dead(&self) -> Result<(), StoreError> {
        for owner in self.shared.store.lease_owners().await? {
            if !self.shared.worker.lives(&owner) {
                let freed = self.shared.store.release_all(&owner, &[]).await?;
                tracing::warn!(worker = owner, jobs = freed, "took over from a worker that died");
                self.sweep_after(owner).await;
            }
        }
        Ok(())
    }

    /// Removes the unfinished files of a worker that died.
    async fn sweep_after(&self, worker: String) {
        let archive = self.shared.archive.clone();
        let swept = tokio::task::spawn_blocking(move || archive.sweep(|name| name != worker)).await;
        if let Ok(Err(error)) = swept {
            tracing::warn!(%error, "the unfinished files of a dead worker stay for now");
        }
    }

    async fn next_due(&self, run: &Run) -> Result<Option<DateTime<Utc>>, StoreError> {
        let (requests, fetches) = run.flights.counts();
        let strangers: Vec<String> = run.strangers.iter().cloned().collect();
        let store = &self.shared.store;
        store.next_due(requests < REQUESTS, fetches < FETCHES, run.scope.only(), &strangers).await
    }

    /// While jobs wait for a place, asks about remote jobs that hold one though nobody waits for
    /// them: cancelled ones, usually. What has ended makes room.
    pub(super) fn ask_about_orphans(&self, run: &mut Run) {
        if run.asked.as_ref().is_some_and(|asked| !asked.is_finished()) {
            return;
        }
        let (engine, plan) = (self.clone(), Arc::clone(&run.plan));
        let stop = run.asking.clone();
        run.asked = Some(tokio::spawn(async move {
            tokio::select! {
                () = stop.cancelled() => {}
                asked = engine.orphans(&plan) => {
                    if let Err(error) = asked {
                        tracing::warn!(%error, "what abandoned remote jobs do is not known");
                    }
                }
            }
        }));
    }

    pub(super) async fn orphans(&self, plan: &Plan) -> Result<(), StoreError> {
        let store = &self.shared.store;
        for orphan in store.orphans(self.now() - LONGEST_REMOTE_JOB).await? {
            let source = plan.settings.source(&orphan.source);
            let service = source.and_then(|source| plan.services.get(&source.account));
            let (Some(source), Some(service)) = (source, service) else { continue };
            let target = target(source);
            let id = orphan.remote_id.as_deref();
            // A young one may not be known yet, and hold its place all the same.
            let age = (self.now() - orphan.started_at).to_std().unwrap_or_default();
            let is_young = age < plan.settings.http.lost_after;
            let ended = match service.poll(&target, id, &orphan.status_url, self.now()).await {
                // An answer about another job says nothing about this one.
                Ok(polled) if polled.other.is_some() => false,
                Ok(polled) => !matches!(polled.progress, Progress::Pending { .. }),
                Err(failure) => failure.kind == FailureKind::NotFound && !is_young,
            };
            if ended {
                tracing::info!(source = orphan.source, "an abandoned remote job has ended");
                store.bury(orphan, self.now()).await?;
            }
        }
        Ok(())
    }

    async fn claim(&self, run: &mut Run) -> Result<(), StoreError> {
        let now = self.now();
        let (requests, fetches) = run.flights.counts();
        let room = |most: usize, taken| u32::try_from(most.saturating_sub(taken)).unwrap_or(0);
        let claim = Claim {
            owner: self.shared.worker.name.clone(),
            requests: room(REQUESTS, requests),
            fetches: room(FETCHES, fetches),
            only: run.scope.only().map(<[i64]>::to_vec),
            strangers: run.strangers.iter().cloned().collect(),
            limits: Arc::clone(&run.limits),
        };
        let claimed = self.shared.store.claim(claim, now).await?;
        for job in claimed.strangers {
            self.estrange(run, &job);
        }
        for decision in claimed.decided {
            self.tell(&decision.job, &decision.events);
        }
        for job in claimed.jobs {
            let flight = run.flights.begin(&job);
            self.launch(run, job, flight);
        }
        Ok(())
    }

    fn estrange(&self, run: &mut Run, job: &Job) {
        if run.strangers.insert(job.source.clone()) {
            tracing::warn!(
                job = job.id,
                source = job.source,
                "the job's source is not in the configuration; it stays as it is. Put the source \
                 back, or type `nightjar cancel {}`",
                job.id
            );
        }
    }

    fn launch(&self, run: &mut Run, job: Job, flight: Flight) {
        let (engine, plan) = (self.clone(), Arc::clone(&run.plan));
        run.steps.spawn(async move {
            let id = job.id;
            let step = {
                let (engine, plan, job, flight) =
                    (engine.clone(), Arc::clone(&plan), job.clone(), flight.clone());
                // Spawned apart, so that a panic ends the step alone.
                tokio::spawn(async move { engine.work(&plan, job, &flight).await })
            };
            let ended = match step.await {
                Ok(ended) => ended,
                Err(panicked) => {
                    let outcome = Outcome::Panicked(panic_message(panicked));
                    engine.conclude(&plan, &job, outcome.into(), &flight).await
                }
            };
            (id, ended)
        });
    }

    /// Ends what is under way and frees every claim.
    async fn drain(&self, mut run: Run) {
        run.asking.cancel();
        run.flights.abandon_all();
        let answered = tokio::time::timeout(LAST_ANSWERS, async {
            while let Some(step) = run.steps.join_next().await {
                landed(&mut run, step);
            }
        });
        if answered.await.is_err() {
            run.flights.hurry_all();
            let rest = tokio::time::timeout(LAST_WRITES, async {
                while let Some(step) = run.steps.join_next().await {
                    landed(&mut run, step);
                }
            });
            if rest.await.is_err() {
                tracing::warn!("stopped while a file was being written; it is taken up again");
            }
        }
        // What still writes keeps its job until the process has ended.
        let writing = run.flights.jobs();
        let owner = &self.shared.worker.name;
        if let Err(error) = self.shared.store.release_all(owner, &writing).await {
            tracing::warn!(%error, "the jobs could not be freed; the next worker frees them");
        }
    }
}

/// A daemon that a test turns by hand.
#[derive(Debug)]
pub struct Ticking {
    engine: Engine,
    run: Run,
}

impl Ticking {
    /// One round: whatever is due now, to its end. Says how many steps were taken.
    ///
    /// # Errors
    /// When the database cannot be used, or what came of a step could not be stored.
    pub async fn tick(&mut self) -> Result<usize, StoreError> {
        self.run.quiet_until = DateTime::UNIX_EPOCH;
        self.engine.turn(&mut self.run, false).await?;
        let mut steps = 0;
        while let Some(step) = self.run.steps.join_next().await {
            steps += 1;
            if let Ok((job, result)) = step {
                self.run.flights.end(job);
                result?;
            }
        }
        Ok(steps)
    }

    /// What a daemon does now and then, whatever is due: looks for dead workers and asks about
    /// abandoned remote jobs.
    ///
    /// # Errors
    /// When the database cannot be used.
    pub async fn look_around(&mut self) -> Result<(), StoreError> {
        self.engine.set_clock_right(&mut self.run, TimeDelta::zero()).await?;
        self.engine.bury_the_dead().await?;
        self.engine.release_idle(&self.run).await?;
        let plan = Arc::clone(&self.run.plan);
        self.engine.orphans(&plan).await?;
        Ok(())
    }

    /// When there is something to do next: a job that falls due, or a scheduled time.
    ///
    /// # Errors
    /// When the database cannot be used.
    pub async fn next(&self) -> Result<Option<DateTime<Utc>>, StoreError> {
        let due = self.engine.next_due(&self.run).await?;
        Ok(due.into_iter().chain(self.run.agenda.next()).min())
    }
}

fn landed(run: &mut Run, step: Result<Landing, JoinError>) {
    let Ok((job, result)) = step else { return };
    run.flights.end(job);
    run.quiet_until = DateTime::UNIX_EPOCH;
    if let Err(error) = result {
        tracing::error!(job, %error, "what came of a step could not be stored");
    }
}
