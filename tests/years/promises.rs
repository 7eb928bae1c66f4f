//! The promises, and how a broken promise is detected.

use crate::documents::{DOCUMENTS, Oddity};
use crate::machine::{Jumps, Plan, is_excused};
use crate::maintenance::MaintenanceChecks;
use crate::service::Service;
use crate::world::Ending;
use chrono::{DateTime, TimeDelta, Utc};
use nightjar::archive::{Archive, Severity, Verification};
use nightjar::job::{ErrorKind, Job, JobError, Operation, State, WaitReason};
use nightjar::settings::{Settings, Source};
use nightjar::store::{Filter, LONGEST_REMOTE_JOB, Store, StoreError};
use std::collections::{BTreeMap, BTreeSet};

/// How often a user may cancel a job that was refused and start another one at once.
const BY_HAND: u64 = 20;
/// The most remote jobs that may exist for one job, by default.
const JOB_ATTEMPTS: u32 = 3;
const ALL: u32 = 1_000_000;

#[derive(Debug)]
pub(crate) struct Promises {
    /// The broken promises.
    pub(crate) broken: Vec<String>,
    pub(crate) jobs: u64,
    jumps: Jumps,
    pruning: bool,
    /// The promises of retention and database copies.
    pub(crate) maintenance: MaintenanceChecks,
    /// Remote jobs that have been checked.
    seen: usize,
    /// How many remote jobs were created for each job.
    started: BTreeMap<i64, u32>,
    /// Accepted remote jobs whose answer a process could store.
    answered: Vec<usize>,
    /// Quota refusals that have been checked.
    refusals: u64,
    /// Publications that have been checked.
    pub(crate) publications: usize,
    /// Restores that ended well.
    pub(crate) restored: u64,
}

impl Promises {
    pub(crate) fn new(plan: &Plan) -> Promises {
        Promises {
            broken: Vec::new(),
            jobs: 0,
            jumps: plan.jumps,
            pruning: plan.pruning.is_some(),
            maintenance: MaintenanceChecks::default(),
            seen: 0,
            started: BTreeMap::new(),
            answered: Vec::new(),
            refusals: 0,
            publications: 0,
            restored: 0,
        }
    }

    /// Whether no promise is broken yet.
    pub(crate) fn hold(&self) -> bool {
        self.broken.is_empty()
    }

    pub(crate) fn expect(&mut self, holds: bool, what: impl FnOnce() -> String) {
        if !holds {
            self.broken.push(what());
        }
    }

    /// An engine's error must be a temporary one.
    pub(crate) fn errors(&mut self, error: &StoreError) {
        self.expect(is_excused(error), || format!("the engine gave up: {error}"));
    }

    /// After every tick.
    pub(crate) async fn check(
        &mut self,
        store: &Store,
        archive: &Archive,
        settings: &Settings,
        service: &Service,
        now: DateTime<Utc>,
        is_right: bool,
    ) -> Result<(), StoreError> {
        let live = store.live_jobs().await?;
        let sources: BTreeSet<_> = live.iter().map(|job| &job.source).collect();
        self.expect(sources.len() == live.len(), || "a source has two live jobs".to_owned());
        self.check_effects(store, archive, service).await?;
        self.check_answered(store, service, &live).await?;
        for job in live.iter().filter(|_| is_right) {
            self.check_due(job, now, settings);
        }
        let mut maintenance = std::mem::take(&mut self.maintenance);
        let truth = service.world().now;
        maintenance.look(archive, settings, now, truth, self);
        self.maintenance = maintenance;
        Ok(())
    }

    /// This worker has completed a tick, with every answer that it received.
    pub(crate) fn answered(&mut self, service: &Service, worker: u64) {
        let mut world = service.world();
        let is_own = |it: &&(u64, usize)| it.0 == worker;
        self.answered.extend(world.answered.iter().filter(is_own).map(|(_, remote)| *remote));
        world.answered.retain(|it| it.0 != worker);
    }

    /// A running remote job is known, whatever happened to its job: by the live job, or as an
    /// orphan. Orphans are listed while a job waits for quota.
    async fn check_answered(
        &mut self,
        store: &Store,
        service: &Service,
        live: &[Job],
    ) -> Result<(), StoreError> {
        let now = {
            let world = service.world();
            self.answered.retain(|remote| world.remotes[*remote].ends > world.now);
            world.now
        };
        let waits = |job: &Job| job.waiting.as_ref().is_some_and(|it| it.why == WaitReason::Quota);
        if self.jumps != Jumps::Never || self.answered.is_empty() || !live.iter().any(waits) {
            return Ok(());
        }
        let orphans = store.orphans(now - LONGEST_REMOTE_JOB).await?;
        for remote in self.answered.clone() {
            let url = format!("status/{remote}");
            let is_known = live.iter().any(|job| job.status_url() == Some(&url))
                || orphans.iter().any(|orphan| orphan.status_url == url);
            self.expect(is_known, || {
                format!("remote job {remote} was accepted, goes on, and is forgotten")
            });
        }
        Ok(())
    }

    /// No job is delayed for longer than its rule allows, whatever the clock did.
    fn check_due(&mut self, job: &Job, now: DateTime<Utc>, settings: &Settings) {
        let quota = job.waiting.as_ref().is_some_and(|wait| wait.why == WaitReason::Quota);
        let longest = settings.poll.max.max(settings.retry.max);
        let longest = TimeDelta::from_std(longest).unwrap().max(TimeDelta::hours(1));
        // Up to five seconds more do not indicate a wrong clock.
        let longest = if quota { TimeDelta::hours(24) } else { longest } + TimeDelta::seconds(5);
        self.expect(job.due_at - now <= longest, || {
            let stage = job.stage();
            format!("job {} ({stage:?}) is put off by {}: {job:?}", job.id, job.due_at - now)
        });
        // Whatever the service says, it is not polled earlier than the policy allows.
        let least = settings.poll.initial.mul_f64(1.0 - settings.poll.jitter).as_secs();
        let age = u64::try_from((now - job.created_at).num_seconds()).unwrap_or_default();
        let is_patient = u64::from(job.polls) <= 2 * u64::from(JOB_ATTEMPTS) + age / least;
        self.expect(is_patient || self.jumps != Jumps::Never, || {
            format!("job {} was asked about {} times in {age} s", job.id, job.polls)
        });
    }

    /// A stopped worker keeps its jobs, unless a user cancels them.
    pub(crate) async fn is_left_alone(
        &mut self,
        store: &Store,
        worker: &str,
        jobs: &[i64],
    ) -> Result<(), StoreError> {
        let held = store.held(worker).await?;
        for id in jobs {
            let is_live = store.job(*id).await?.is_some_and(|job| !job.state.is_final());
            self.expect(!is_live || held.contains(id), || {
                format!("job {id} was taken from worker {worker}, which is stopped and processes")
            });
        }
        Ok(())
    }

    /// `verify` reports no damage.
    pub(crate) fn verified(&mut self, verified: &Verification) {
        for finding in verified.findings.iter().filter(|it| it.severity == Severity::Error) {
            self.broken.push(format!("verify: {finding:?}"));
        }
    }

    /// Every file under a final name is complete: to be called when a process has just died.
    pub(crate) fn check_newest(&mut self, archive: &Archive, settings: &Settings) {
        for source in &settings.sources {
            let names = archive.names(&source.name).unwrap_or_default();
            let Some(newest) = names.first() else { continue };
            let is_whole = archive.find(&source.name, *newest).is_some_and(|snapshot| {
                let stored = std::fs::metadata(snapshot.data()).map(|data| data.len());
                stored.is_ok_and(|stored| stored == snapshot.manifest.stored.bytes)
            });
            self.expect(is_whole, || format!("{}: {newest} is not whole", source.name));
        }
    }

    /// What was started at the service, and what was published there.
    pub(crate) async fn check_effects(
        &mut self,
        store: &Store,
        archive: &Archive,
        service: &Service,
    ) -> Result<(), StoreError> {
        self.check_remote_jobs(store, service).await?;
        self.check_publications(store, archive, service).await
    }

    /// No job has more remote jobs than allowed and recorded, and the service never had to refuse
    /// one for its limits.
    async fn check_remote_jobs(
        &mut self,
        store: &Store,
        service: &Service,
    ) -> Result<(), StoreError> {
        let (fresh, refusals): (Vec<String>, u64) = {
            let world = service.world();
            let fresh = world.started.iter().skip(self.seen).cloned().collect();
            (fresh, world.refusals)
        };
        self.seen += fresh.len();
        for remote in fresh {
            // A source has one live job at a time: its newest job started this one.
            let filter =
                Filter { source: Some(remote.to_lowercase()), limit: 1, ..Filter::default() };
            let Some(job) = store.jobs(&filter).await?.pop() else {
                self.broken.push(format!("a remote job of {remote} belongs to no job"));
                continue;
            };
            let started = self.started.entry(job.id).or_default();
            *started += 1;
            let (started, attempts) = (*started, job.attempts);
            self.expect(started <= attempts, || {
                format!("job {} has {started} remote jobs and knows {attempts}", job.id)
            });
            let of_stage = job.attempts_of_stage();
            self.expect(of_stage <= JOB_ATTEMPTS, || {
                format!("job {} has {of_stage} attempts", job.id)
            });
        }
        // A clock that jumps makes a day of 24 hours shorter than the service's.
        if refusals != self.refusals && self.jumps == Jumps::Never {
            let now = service.world().now;
            let ours = store.quota_used("contoso", now).await?;
            let theirs = service.world().used();
            self.broken.push(format!(
                "the quota was exceeded at {now}: the service refused, it counts {theirs:?} in \
                 process and in a day, we count {ours:?}"
            ));
        }
        self.refusals = refusals;
        let (stale, hasty) = {
            let world = service.world();
            (world.stale, world.hasty)
        };
        self.expect(hasty <= BY_HAND, || {
            format!("refused submissions were repeated within seconds, {hasty} times")
        });
        self.expect(stale == 0, || {
            "a result older than the submission was taken for it".to_owned()
        });
        Ok(())
    }
}

/// At the end: everything that is stored, against everything that is known.
pub(crate) async fn thoroughly(
    store: &Store,
    archive: &Archive,
    settings: &Settings,
    calm_since: DateTime<Utc>,
    service: &Service,
    promises: &mut Promises,
) {
    let remotes = service.world().remotes.clone();
    let jobs = store.jobs(&Filter { limit: ALL, ..Filter::default() }).await.unwrap();
    promises.jobs = jobs.len() as u64;
    promises.verified(&archive.verify(&[], &|_| {}));
    let maintenance = std::mem::take(&mut promises.maintenance);
    let is_clock_right = promises.jumps == Jumps::Never;
    maintenance.finish(store, settings, is_clock_right, promises).await;
    promises.maintenance = maintenance;
    promises.check_restores(store, &jobs, service).await.unwrap();
    for source in &settings.sources {
        let name = &source.name;
        let of_source: Vec<_> = jobs.iter().filter(|job| job.source == *name).collect();
        let snapshots: Vec<_> = archive.snapshots(name).unwrap().collect();
        let newest = snapshots.iter().max_by_key(|it| it.manifest.job);
        let newest = newest.map(|it| it.manifest.created_at);
        promises.expect(newest.is_some_and(|newest| newest >= calm_since), || {
            format!("{name} has no snapshot although all went well since {calm_since}")
        });
        for job in &of_source {
            let path = job.snapshot.as_ref();
            let is_kept = path.is_some_and(|path| path.is_file());
            let is_archived = job.state == State::Archived;
            // A restore without a safety backup has none.
            let is_restore = job.operation == Operation::Restore && path.is_none();
            promises.expect(!is_archived || is_kept || is_restore || promises.pruning, || {
                format!("job {} is archived, and its snapshot {path:?} is not there", job.id)
            });
            // A failing disk costs no attempt: only data that was read and found invalid may cost
            // one.
            let is_legitimate = |error: &JobError| {
                error.kind != ErrorKind::Corrupt || error.message.contains("kept aside")
            };
            promises.expect(job.error.as_ref().is_none_or(is_legitimate), || {
                format!("job {} failed because of the disk: {:?}", job.id, job.error)
            });
            promises.expect(job.attempts_of_stage() <= JOB_ATTEMPTS, || {
                format!("job {} has {} attempts", job.id, job.attempts_of_stage())
            });
            let remote = job.remote_id().and_then(|id| id.parse::<usize>().ok());
            let remote = remote.and_then(|remote| remotes.get(remote));
            let is_whole = remote.is_some_and(|it| it.ending == Ending::Good);
            let is_backup = job.operation == Operation::Backup;
            let is_corrupt = job.error.as_ref().is_some_and(|it| it.kind == ErrorKind::Corrupt);
            let is_lost = is_backup && is_corrupt;
            promises.expect(!(is_whole && is_lost), || {
                format!("job {} lost what the service holds: {:?}", job.id, job.error)
            });
        }
        for snapshot in &snapshots {
            let manifest = &snapshot.manifest;
            let served = DOCUMENTS.iter().find(|it| it.sha256 == manifest.content.sha256);
            let Some(served) = served else {
                let path = snapshot.path.display();
                promises.broken.push(format!("{path} holds what no good export has sent"));
                continue;
            };
            let counted = (served.entities, served.oddity == Oddity::Unreadable);
            let says = (manifest.entities, manifest.unreadable.iter().any(|it| it.values == 1));
            let is_marked = served.oddity == Oddity::Unproven;
            let marked = (!manifest.unproven.is_empty(), !manifest.suspicious.is_empty());
            promises
                .expect(counted == says && marked.0 == is_marked && marked.1 >= is_marked, || {
                    format!("{} does not say what it holds: {served:?}", snapshot.path.display())
                });
            let owner = of_source.iter().find(|job| job.id == manifest.job);
            let times = (owner.and_then(|job| job.scheduled_for), manifest.scheduled_for);
            promises.expect(owner.is_some() && times.0 == times.1, || {
                format!("{} belongs to no job of its time: {times:?}", snapshot.path.display())
            });
        }
        accounted(store, source, &of_source, promises).await;
    }
}

/// Every scheduled time of a source is accounted for exactly once: by a job, as a skip, or among
/// the earlier times that a job or a skip represents.
async fn accounted(store: &Store, source: &Source, jobs: &[&Job], promises: &mut Promises) {
    let Some(cursor) = store.cursor(&source.name).await.unwrap() else {
        promises.broken.push(format!("{} was never scheduled", source.name));
        return;
    };
    let due = source.schedule.count_between(cursor.since, cursor.cursor, source.timezone, 1 << 20);
    let mut counted = 0;
    let mut times = BTreeSet::new();
    for job in jobs {
        for event in store.timeline(job.id).await.unwrap() {
            let stands_for_one = match event.kind.as_str() {
                "queued" => job.scheduled_for.is_some(),
                "skipped" => true,
                _ => false,
            };
            if stands_for_one {
                counted += 1 + earlier(&event.message);
            }
        }
        if let Some(time) = job.scheduled_for {
            promises
                .expect(times.insert(time), || format!("{} has two jobs for {time}", source.name));
        }
    }
    // A schedule that resumes after a clock that was far ahead does not record the times that it
    // skipped.
    promises.expect(counted == due || promises.jumps == Jumps::Far, || {
        format!(
            "{}: {due} times were due from {} to {}, and {counted} are accounted for",
            source.name, cursor.since, cursor.cursor
        )
    });
}

/// How many earlier times a line of a timeline says that it represents.
fn earlier(message: &str) -> usize {
    if message.contains("(and one earlier time") {
        return 1;
    }
    let number = message.split("(and ").nth(1).and_then(|rest| rest.split(' ').next());
    number.map_or(0, |number| number.parse().unwrap())
}
