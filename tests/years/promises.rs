//! What is promised, and how it is seen that a promise is broken.

use crate::machine::{Plan, is_excused};
use crate::world::{DOCUMENTS, Service};
use chrono::{DateTime, Utc};
use nightjar::archive::{Archive, Severity};
use nightjar::job::{ErrorKind, Job, JobError, State};
use nightjar::manifest::Name;
use nightjar::settings::{Settings, Source};
use nightjar::store::{Filter, Store, StoreError};
use std::collections::{BTreeMap, BTreeSet};

/// The most remote jobs that may exist for one job, by default.
const JOB_ATTEMPTS: u32 = 3;
const ALL: u32 = 1_000_000;

#[derive(Debug)]
pub(crate) struct Promises {
    /// What was broken.
    pub(crate) broken: Vec<String>,
    pub(crate) jobs: u64,
    clock_jumps: bool,
    pruning: bool,
    /// Remote jobs that have been looked at.
    seen: usize,
    /// How many remote jobs came to exist for each job.
    started: BTreeMap<i64, u32>,
    /// Quota refusals that have been looked at.
    refusals: u64,
    /// Every manifest that was ever seen, by source.
    manifests: BTreeMap<String, BTreeSet<Name>>,
    checks: usize,
}

impl Promises {
    pub(crate) fn new(plan: &Plan) -> Promises {
        Promises {
            broken: Vec::new(),
            jobs: 0,
            clock_jumps: plan.clock_jumps,
            pruning: plan.pruning,
            seen: 0,
            started: BTreeMap::new(),
            refusals: 0,
            manifests: BTreeMap::new(),
            checks: 0,
        }
    }

    /// Whether none is broken yet.
    pub(crate) fn hold(&self) -> bool {
        self.broken.is_empty()
    }

    fn expect(&mut self, holds: bool, what: impl FnOnce() -> String) {
        if !holds {
            self.broken.push(what());
        }
    }

    /// An engine's error must be one that passes.
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
    ) -> Result<(), StoreError> {
        let live = store.live_jobs().await?;
        let sources: BTreeSet<_> = live.iter().map(|job| &job.source).collect();
        self.expect(sources.len() == live.len(), || "a source has two live jobs".to_owned());
        self.check_remote_jobs(store, service).await?;
        // One source a tick: what was lost stays lost.
        self.checks += 1;
        let turn = self.checks % settings.sources.len();
        if let Some(source) = settings.sources.get(turn) {
            let names = archive.names(&source.name).unwrap_or_default();
            let now: BTreeSet<_> = names.into_iter().collect();
            let before = self.manifests.entry(source.name.clone()).or_default();
            let gone: Vec<_> = before.difference(&now).copied().collect();
            // Retention never takes the newest one.
            let is_excused = self.pruning && before.last().is_none_or(|it| !gone.contains(it));
            *before = now;
            self.expect(gone.is_empty() || is_excused, || {
                format!("{}: archived, and lost: {gone:?}", source.name)
            });
        }
        Ok(())
    }

    /// What lies under a final name is whole: to be called when a process has just died.
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

    /// No job has more remote jobs than it may and than it says, and the service never had to
    /// refuse one for its limits.
    async fn check_remote_jobs(
        &mut self,
        store: &Store,
        service: &Service,
    ) -> Result<(), StoreError> {
        let (fresh, refusals): (Vec<String>, u64) = {
            let world = service.world();
            let fresh = world.remotes.iter().skip(self.seen).map(|it| it.source.clone()).collect();
            (fresh, world.refusals)
        };
        self.seen += fresh.len();
        for remote in fresh {
            // A source has one live job at a time: whoever started this one is its newest.
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
            self.expect(attempts <= JOB_ATTEMPTS, || {
                format!("job {} has {attempts} attempts", job.id)
            });
        }
        // A clock that jumps makes a day of 24 hours shorter than the service's.
        if refusals != self.refusals && !self.clock_jumps {
            let now = service.world().now;
            let ours = store.quota_used("contoso", now).await?;
            let theirs = service.world().used();
            self.broken.push(format!(
                "the quota was exceeded at {now}: the service refused, it counts {theirs:?} in \
                 process and in a day, we count {ours:?}"
            ));
        }
        self.refusals = refusals;
        Ok(())
    }
}

/// At the end: everything that is stored, against everything that is known.
pub(crate) async fn thoroughly(
    store: &Store,
    archive: &Archive,
    settings: &Settings,
    calm_since: DateTime<Utc>,
    promises: &mut Promises,
) {
    let jobs = store.jobs(&Filter { limit: ALL, ..Filter::default() }).await.unwrap();
    promises.jobs = jobs.len() as u64;
    let verified = archive.verify(&[], &|_| {});
    for finding in verified.findings.iter().filter(|it| it.severity == Severity::Error) {
        promises.broken.push(format!("verify: {finding:?}"));
    }
    for source in &settings.sources {
        let name = &source.name;
        let of_source: Vec<_> = jobs.iter().filter(|job| job.source == *name).collect();
        let snapshots: Vec<_> = archive.snapshots(name).unwrap().collect();
        let newest = snapshots.iter().map(|it| it.manifest.created_at).max();
        promises.expect(newest.is_some_and(|newest| newest >= calm_since), || {
            format!("{name} has no snapshot although all went well since {calm_since}")
        });
        for job in &of_source {
            let path = job.snapshot.as_ref();
            let is_kept = path.is_some_and(|path| path.is_file());
            let is_archived = job.state == State::Archived;
            promises.expect(!is_archived || is_kept || promises.pruning, || {
                format!("job {} is archived, and its snapshot {path:?} is not there", job.id)
            });
            // A disk that fails costs no attempt: only what was read and is no proof may do so.
            let is_proof = |error: &JobError| {
                error.kind != ErrorKind::Corrupt || error.message.contains("kept aside")
            };
            promises.expect(job.error.as_ref().is_none_or(is_proof), || {
                format!("job {} failed because of the disk: {:?}", job.id, job.error)
            });
            promises.expect(job.attempts <= JOB_ATTEMPTS, || {
                format!("job {} has {} attempts", job.id, job.attempts)
            });
        }
        for snapshot in &snapshots {
            let manifest = &snapshot.manifest;
            let served =
                DOCUMENTS.iter().position(|(_, digest)| *digest == manifest.content.sha256);
            promises.expect(served.is_some_and(|at| at as u64 + 1 == manifest.entities), || {
                format!("{} holds what no good export has sent", snapshot.path.display())
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
/// the earlier ones that a job or a skip stands for.
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
    promises.expect(counted == due, || {
        format!(
            "{}: {due} times were due from {} to {}, and {counted} are accounted for",
            source.name, cursor.since, cursor.cursor
        )
    });
}

/// How many earlier times a line of a timeline says that it stands for.
fn earlier(message: &str) -> usize {
    if message.contains("(and one earlier time") {
        return 1;
    }
    let number = message.split("(and ").nth(1).and_then(|rest| rest.split(' ').next());
    number.map_or(0, |number| number.parse().unwrap())
}
