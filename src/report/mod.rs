//! The values that commands and the status page show, read from the store and the archive, and
//! serialised in one way.

mod changes;
mod health;
#[cfg(test)]
mod tests;
mod views;
mod year;

pub use changes::{Pair, SnapshotChanges};
pub use health::{Health, health};
pub use views::{FailedRestore, JobDetail, JobView, SnapshotView, SourceLook, SourceStatus};
pub use year::{Night, NightState};

use crate::archive::Archive;
use crate::discovery;
use crate::job::{ErrorKind, Job, JobError, State};
use crate::manifest::{Name, Role};
use crate::settings::{Settings, Source};
use crate::store::{Filter, JobDurations, Store, StoreError};
use changes::Comparable;
use chrono::{DateTime, TimeDelta, Utc};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use tokio_util::sync::CancellationToken;

/// Why a report cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// The database cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The archive cannot be read.
    #[error("the archive {} cannot be read: {error}", .folder.display())]
    Archive {
        /// The archive's folder.
        folder: std::path::PathBuf,
        /// The system's error.
        error: io::Error,
    },
}

impl ReportError {
    /// Whether the error is temporary overload: the same request may succeed soon.
    pub fn is_busy(&self) -> bool {
        matches!(self, ReportError::Store(error) if error.is_busy())
    }
}

/// Reads the values to show. Never writes.
#[derive(Debug, Clone)]
pub struct Reporter {
    /// `None` before the first backup.
    store: Option<Store>,
    archive: Archive,
    /// Facts of snapshots. They stay valid because a manifest never changes.
    known: Arc<Mutex<BTreeMap<(String, Name), SnapshotFacts>>>,
}

/// Reads what is to be shown while other processes may write. Changes nothing.
///
/// # Errors
/// When the database cannot be opened, or what is read cannot.
pub async fn reading<T>(
    settings: &Settings,
    read: impl AsyncFn(&Reporter) -> Result<T, ReportError>,
) -> Result<T, ReportError> {
    loop {
        let store = Store::open_for_reading(&settings.state_dir).await?;
        let archive = Archive::new(&settings.archive_dir, &settings.state_dir);
        let reporter = Reporter::new(store.clone(), archive);
        let found = read(&reporter).await;
        reporter.close().await;
        // A process that has begun to write meanwhile has it open now: it is read beside that one.
        if !store.is_some_and(|store| store.was_modified()) {
            return found;
        }
    }
}

/// The facts of a snapshot that health depends on, and what it is compared with.
#[derive(Debug, Clone)]
struct SnapshotFacts {
    role: Role,
    suspicious: bool,
    completed_at: DateTime<Utc>,
    comparable: Comparable,
}

impl Reporter {
    /// Reads from this store and this archive.
    pub fn new(store: Option<Store>, archive: Archive) -> Reporter {
        Reporter { store, archive, known: Arc::default() }
    }

    /// Closes the store's connections.
    pub async fn close(&self) {
        if let Some(store) = &self.store {
            store.close().await;
        }
    }

    /// Closes the connections for reading; other users of the store continue.
    pub async fn close_reading(&self) {
        if let Some(store) = &self.store {
            store.close_reading().await;
        }
    }

    /// The archive.
    pub fn archive(&self) -> &Archive {
        &self.archive
    }

    /// The facts of a snapshot; `None` if its manifest cannot be read. Each manifest is read once.
    fn facts(&self, source: &str, name: Name) -> Option<SnapshotFacts> {
        let key = (source.to_owned(), name);
        let known = || self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(facts) = known().get(&key) {
            return Some(facts.clone());
        }
        let manifest = self.archive.find(source, name)?.manifest;
        let facts = SnapshotFacts {
            role: manifest.role,
            suspicious: !manifest.suspicious.is_empty(),
            completed_at: manifest.completed_at,
            comparable: Comparable::from(&manifest),
        };
        known().insert(key, facts.clone());
        Some(facts)
    }

    /// Drops the facts of the source's snapshots that are not among these names.
    fn forget_others(&self, source: &str, names: &[Name]) {
        let listed: BTreeSet<&Name> = names.iter().collect();
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|(of, name), _| of != source || listed.contains(name));
    }

    /// Whether a snapshot is suspicious.
    fn is_suspicious(&self, source: &str, name: Name) -> bool {
        self.facts(source, name).is_some_and(|facts| facts.suspicious)
    }

    /// Whether a snapshot's manifest can be read and is an ordinary one's.
    fn is_ordinary(&self, source: &str, name: Name) -> bool {
        self.facts(source, name).is_some_and(|facts| facts.role.is_ordinary())
    }

    /// Jobs, newest first.
    pub async fn jobs(&self, filter: &Filter) -> Result<Vec<JobView>, ReportError> {
        let Some(store) = &self.store else { return Ok(Vec::new()) };
        Ok(store.jobs(filter).await?.into_iter().map(JobView::from).collect())
    }

    /// One job with its timeline.
    pub async fn job(&self, id: i64) -> Result<Option<JobDetail>, ReportError> {
        let Some(store) = &self.store else { return Ok(None) };
        let Some(job) = store.job(id).await? else { return Ok(None) };
        let timeline = store.timeline(id).await?;
        Ok(Some(JobDetail { job: JobView::from(job), timeline }))
    }

    /// One job with at most `most` lines of its timeline, the newest, and whether these are all.
    pub async fn job_lately(
        &self,
        id: i64,
        most: u32,
    ) -> Result<Option<(JobDetail, bool)>, ReportError> {
        let Some(store) = &self.store else { return Ok(None) };
        let Some(job) = store.job(id).await? else { return Ok(None) };
        let mut timeline = store.newest_events(id, most.saturating_add(1)).await?;
        let is_all = timeline.len() as u64 <= u64::from(most);
        if !is_all {
            timeline.pop();
        }
        timeline.reverse();
        Ok(Some((JobDetail { job: JobView::from(job), timeline }, is_all)))
    }

    /// Live jobs by state, and ended ones by source and state.
    pub async fn counts(&self) -> Result<Counts, ReportError> {
        let Some(store) = &self.store else { return Ok(Counts::default()) };
        Ok(Counts {
            live: store.live_jobs().await?,
            ended: store.ended_counts().await?,
            events: store.event_counts().await?,
            durations: store.durations().await?,
        })
    }

    /// The quota of each account, and how much of it is used.
    pub async fn quotas(
        &self,
        settings: &Settings,
        now: DateTime<Utc>,
    ) -> Result<Vec<Quota>, ReportError> {
        let mut quotas = Vec::new();
        for account in settings.accounts.values() {
            let (in_process, started) = match &self.store {
                Some(store) => store.quota_used(&account.name, now).await?,
                None => (0, 0),
            };
            quotas.push(Quota {
                account: account.name.clone(),
                in_process,
                max_in_process: account.max_in_process,
                started,
                max_jobs_per_day: account.max_jobs_per_day,
            });
        }
        Ok(quotas)
    }

    /// The problems that SQLite finds in the database file; `None` if there is no database.
    pub async fn integrity(&self) -> Result<Option<Vec<String>>, ReportError> {
        match &self.store {
            Some(store) => Ok(Some(store.integrity().await?)),
            None => Ok(None),
        }
    }

    /// The names of the snapshots of one source, or of all sources. A source that cannot be read
    /// does not hide the others.
    ///
    /// # Errors
    /// The archive cannot be read, or none of the requested sources can be.
    pub fn snapshot_names(&self, source: Option<&str>) -> Result<SnapshotNames, ReportError> {
        let sources = match source {
            Some(source) => vec![source.to_owned()],
            None => self.archive.sources().map_err(|error| self.unreadable(error))?,
        };
        let count = sources.len();
        let mut found = SnapshotNames::default();
        for source in sources {
            match self.archive.names(&source) {
                Ok(names) => {
                    let source: Arc<str> = source.into();
                    found.names.extend(names.into_iter().map(|name| (Arc::clone(&source), name)));
                }
                Err(error) => found.unreadable.push((source, error)),
            }
        }
        if count > 0 && found.unreadable.len() == count {
            let each = found.unreadable.iter().map(|(source, error)| format!("{source}: {error}"));
            let all = each.collect::<Vec<_>>().join("; ");
            return Err(self.unreadable(io::Error::other(all)));
        }
        found.names.sort_by_key(|(_, name)| std::cmp::Reverse(*name));
        Ok(found)
    }

    /// The snapshots of these names whose manifests can be read. Stops when `gone` is cancelled.
    pub fn snapshots_of(
        &self,
        names: impl IntoIterator<Item = (Arc<str>, Name)>,
        gone: &CancellationToken,
    ) -> Vec<SnapshotView> {
        let read = |(source, name): (Arc<str>, Name)| {
            let snapshot = self.archive.listed(&source, name)?;
            let held = self.archive.hold_of(&source, name).is_some();
            Some(SnapshotView::new(snapshot, held))
        };
        names.into_iter().take_while(|_| !gone.is_cancelled()).filter_map(read).collect()
    }

    /// The status of every configured source.
    pub async fn sources(
        &self,
        settings: &Settings,
        now: DateTime<Utc>,
    ) -> Result<Vec<SourceStatus>, ReportError> {
        let live = match &self.store {
            Some(store) => store.live_jobs().await?,
            None => Vec::new(),
        };
        let looks = discovery::looks(settings);
        let look_at = |source: &Source| {
            let look = looks.iter().find(|look| look.account == source.account)?;
            Some(SourceLook { at: look.read_at, is_listed: !look.gone.contains(&source.name) })
        };
        let mut shown = Vec::new();
        for source in &settings.sources {
            let status = self.source(source, &live, now).await?;
            shown.push(SourceStatus { look: look_at(source), ..status });
        }
        Ok(shown)
    }

    async fn source(
        &self,
        source: &Source,
        live: &[Job],
        now: DateTime<Utc>,
    ) -> Result<SourceStatus, ReportError> {
        // One unreadable folder must not hide the status of other sources.
        let (names, unreadable) = match self.archive.names(&source.name) {
            Ok(names) => (names, None),
            Err(error) => {
                let message = format!("its archive folder cannot be read: {error}");
                (Vec::new(), Some(JobError { kind: ErrorKind::Storage, message }))
            }
        };
        let ordinary = |name: &&Name| self.is_ordinary(&source.name, **name);
        let found = |name: &Name| self.archive.find(&source.name, *name);
        let newest = names.iter().filter(ordinary).find_map(found);
        let good = names
            .iter()
            .filter_map(|name| Some((name, self.facts(&source.name, *name)?)))
            .filter(|(_, facts)| facts.role.is_ordinary() && !facts.suspicious);
        let newest_good = good.clone().next().map(|(name, _)| name.job());
        let still_good = self.unchanged_at(source, newest_good).await?;
        let completed = good.map(|(_, facts)| facts.completed_at);
        let last_success = health::last_success(still_good.into_iter().chain(completed), now);
        if unreadable.is_none() {
            self.forget_others(&source.name, &names);
        }
        let mut since = names.iter().map(|name| name.created_at()).min();
        let (mut last_ended, mut restore) = (None, None);
        if let Some(store) = &self.store {
            let first = store.first_job(&source.name).await?;
            since = match store.cursor(&source.name).await? {
                Some(cursor) if cursor.schedule == source.schedule_identity() => Some(cursor.since),
                // The schedule was changed, and no daemon has loaded it yet.
                Some(cursor) => Some(cursor.cursor),
                None => since.into_iter().chain(first).min(),
            };
            last_ended = store.last_ended(&source.name).await?;
            restore = store.newest_restore(&source.name).await?;
        }
        let failed = last_ended.filter(|job| job.state == State::Failed);
        let health = health(
            source,
            since,
            last_success,
            newest.as_ref().is_some_and(|newest| !newest.manifest.suspicious.is_empty()),
            failed.is_some() || unreadable.is_some(),
            now,
        );
        let changes = self.newest_changes(&source.name, &names).await?;
        Ok(SourceStatus {
            source: source.name.clone(),
            health,
            last_success,
            snapshot: newest.as_ref().map(|newest| newest.path.clone()),
            entities: newest.as_ref().map(|newest| newest.manifest.entities),
            bytes: newest.as_ref().map(|newest| newest.manifest.content.bytes),
            changes,
            suspicious: newest.map(|newest| newest.manifest.suspicious).unwrap_or_default(),
            next_run: source.schedule.next_after(now, source.timezone),
            live_job: live
                .iter()
                .find(|job| job.source == source.name)
                .map(|job| JobView::from(job.clone())),
            look: None,
            not_found: failed.as_ref().is_some_and(is_not_found),
            failed_restore: restore.and_then(|job| failed_restore(job, now)),
            last_error: unreadable.or(failed.and_then(|job| job.error)),
        })
    }

    /// When the source's last archived backup found that the service still has what this snapshot
    /// has, if that is how it ended.
    async fn unchanged_at(
        &self,
        source: &Source,
        newest_good: Option<i64>,
    ) -> Result<Option<DateTime<Utc>>, ReportError> {
        let (Some(store), Some(newest_good)) = (&self.store, newest_good) else { return Ok(None) };
        let Some(job) = store.last_archived(&source.name).await? else { return Ok(None) };
        // It has made no snapshot of its own.
        Ok(job.finished_at.filter(|_| job.attempts == 0 && job.id > newest_good))
    }

    fn unreadable(&self, error: io::Error) -> ReportError {
        ReportError::Archive { folder: self.archive.root().to_owned(), error }
    }
}

/// How long a failed restore is announced as a problem.
const RESTORE_FAILED: TimeDelta = TimeDelta::days(7);

/// A restore that failed not long ago.
fn failed_restore(job: Job, now: DateTime<Utc>) -> Option<FailedRestore> {
    let is_recent = job.finished_at.is_some_and(|at| now - at < RESTORE_FAILED);
    let failed = Some(job).filter(|job| is_recent && job.state == State::Failed)?;
    Some(FailedRestore { job: failed.id, error: failed.error? })
}

/// Whether the service has no such source: it said so before any remote job was started.
fn is_not_found(failed: &Job) -> bool {
    let not_found = |error: &JobError| error.kind == ErrorKind::NotFound;
    failed.attempts == 0 && failed.error.as_ref().is_some_and(not_found)
}

/// The names of snapshots, as far as they can be read.
#[derive(Debug, Default)]
pub struct SnapshotNames {
    /// Source and name of each snapshot, newest first.
    pub names: Vec<(Arc<str>, Name)>,
    /// The sources whose folders cannot be read, and the errors.
    pub unreadable: Vec<(String, io::Error)>,
}

/// Numbers of jobs and events.
#[derive(Debug, Clone, Default)]
pub struct Counts {
    /// The live ones.
    pub live: Vec<Job>,
    /// Source, state and number of the ended ones.
    pub ended: Vec<(String, String, i64)>,
    /// Lines of timelines: source, kind, number.
    pub events: Vec<(String, String, i64)>,
    /// How long archived jobs took.
    pub durations: Vec<JobDurations>,
}

/// An account's quota, and how much of it is used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quota {
    /// Its name.
    pub account: String,
    /// Remote jobs that count as unfinished.
    pub in_process: u32,
    /// The most of them.
    pub max_in_process: u32,
    /// Remote jobs started in the last 24 hours.
    pub started: u32,
    /// The most of them.
    pub max_jobs_per_day: u32,
}
