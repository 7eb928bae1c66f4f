//! The values that are shown, as JSON and in tables.

use super::{Health, SnapshotChanges};
use crate::archive::Snapshot;
use crate::job::{Goal, Job, JobError, Operation, Stage, State, Trigger, Wait};
use crate::manifest::{Name, Role};
use crate::store::TimelineEvent;
use chrono::{DateTime, SecondsFormat, Utc};
use serde::{Serialize, Serializer};
use std::path::PathBuf;

/// RFC 3339 in UTC with a `Z`, to the second where it is a whole one.
fn instant<S: Serializer>(at: &DateTime<Utc>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&at.to_rfc3339_opts(SecondsFormat::AutoSi, true))
}

fn instant_or_null<S: Serializer>(
    at: &Option<DateTime<Utc>>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match at {
        Some(at) => instant(at, serializer),
        None => serializer.serialize_none(),
    }
}

/// A job.
#[derive(Debug, Clone, Serialize)]
pub struct JobView {
    /// Its number.
    pub id: i64,
    /// What it does.
    pub operation: Operation,
    /// What a restore is to achieve; null for backups.
    pub goal: Option<Goal>,
    /// How far a restore has come; null for backups.
    pub stage: Option<Stage>,
    /// The version that a backup is of, where that is not what the source itself asks for; the one
    /// that a restore is about.
    pub version: Option<String>,
    /// The source's name.
    pub source: String,
    /// The account whose quota it uses.
    pub account: String,
    /// Its state.
    pub state: State,
    /// Why it exists.
    pub trigger: Trigger,
    /// The scheduled time that it accounts for.
    #[serde(serialize_with = "instant_or_null")]
    pub scheduled_for: Option<DateTime<Utc>>,
    /// When it was created.
    #[serde(serialize_with = "instant")]
    pub created_at: DateTime<Utc>,
    /// When it ended.
    #[serde(serialize_with = "instant_or_null")]
    pub finished_at: Option<DateTime<Utc>>,
    /// When it is due next; null once it has ended.
    #[serde(serialize_with = "instant_or_null")]
    pub due_at: Option<DateTime<Utc>>,
    /// What it waits for, if not for its remote job; null while a submission is under way.
    pub hold: Option<Wait>,
    /// The current remote job's identifier.
    pub remote_id: Option<String>,
    /// The number of status answers.
    pub polls: u32,
    /// The number of remote jobs that exist or may exist for it.
    pub attempts: u32,
    /// Why it failed.
    pub error: Option<JobError>,
    /// The manifest of the snapshot it made.
    pub snapshot: Option<PathBuf>,
}

impl From<Job> for JobView {
    fn from(job: Job) -> JobView {
        let is_submitting = job.is_submitting();
        JobView {
            due_at: (!job.state.is_final()).then_some(job.due_at),
            id: job.id,
            operation: job.operation,
            goal: job.restore.as_ref().map(|restore| restore.goal),
            stage: job.restore.as_ref().map(|restore| restore.stage),
            version: job.version.or(job.restore.and_then(|restore| restore.version)),
            source: job.source,
            account: job.account,
            state: job.state,
            trigger: job.trigger,
            scheduled_for: job.scheduled_for,
            created_at: job.created_at,
            finished_at: job.finished_at,
            // A job that is being submitted does not wait; rows of older versions have a wait then.
            hold: job.waiting.filter(|_| !is_submitting),
            remote_id: job.remote.and_then(|remote| remote.id),
            polls: job.polls,
            attempts: job.attempts,
            error: job.error,
            snapshot: job.snapshot,
        }
    }
}

/// A job with its timeline.
#[derive(Debug, Clone, Serialize)]
pub struct JobDetail {
    /// The job.
    #[serde(flatten)]
    pub job: JobView,
    /// Its events, in order.
    pub timeline: Vec<TimelineEvent>,
}

/// A snapshot.
#[derive(Debug, Clone, Serialize)]
pub struct SnapshotView {
    /// The source's name.
    pub source: String,
    /// The instant in its file names.
    pub timestamp: String,
    /// The job that made it.
    pub job: i64,
    /// Its manifest's path.
    pub manifest: PathBuf,
    /// Its data file's path.
    pub data: PathBuf,
    /// How many entities it holds.
    pub entities: u64,
    /// Bytes that the service sent.
    pub content_bytes: u64,
    /// Bytes of the data file.
    pub stored_bytes: u64,
    /// Why it is suspicious; empty if it is good.
    pub suspicious: Vec<String>,
    /// The earlier manifest with the same content.
    pub same_content_as: Option<String>,
    /// Whether it is exempt from retention.
    pub held: bool,
    /// SHA-256 of the bytes that the service sent, in lower-case hexadecimal digits.
    pub content_sha256: String,
    /// Whether it is what the service published before a restore.
    pub safety: bool,
    /// The version that was asked for; null for the published one.
    pub version: Option<String>,
    /// What it is for.
    #[serde(skip)]
    pub role: Role,
    /// When its remote job was submitted.
    #[serde(skip)]
    pub created_at: DateTime<Utc>,
}

impl SnapshotView {
    /// The snapshot, and whether it is held.
    pub fn new(snapshot: Snapshot, held: bool) -> SnapshotView {
        let name = snapshot.manifest.name();
        SnapshotView {
            timestamp: name.timestamp(),
            job: name.job(),
            data: snapshot.data(),
            manifest: snapshot.path,
            source: snapshot.manifest.source,
            entities: snapshot.manifest.entities,
            content_bytes: snapshot.manifest.content.bytes,
            stored_bytes: snapshot.manifest.stored.bytes,
            suspicious: snapshot.manifest.suspicious,
            same_content_as: snapshot.manifest.same_content_as,
            held,
            content_sha256: snapshot.manifest.content.sha256,
            safety: snapshot.manifest.role == Role::Safety,
            version: snapshot.manifest.origin.version,
            role: snapshot.manifest.role,
            created_at: name.created_at(),
        }
    }

    /// The name that its files share.
    pub fn id(&self) -> Name {
        Name::new(self.created_at, self.job)
    }

    /// The same as text.
    pub fn name(&self) -> String {
        format!("{}-{}", self.timestamp, self.job)
    }

    /// The path of its status page.
    pub fn page(&self) -> String {
        format!("/snapshots/{}/{}", self.source, self.name())
    }
}

/// A restore that failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FailedRestore {
    /// Its job's number.
    pub job: i64,
    /// Why.
    pub error: JobError,
}

/// The status of a source.
#[derive(Debug, Clone, Serialize)]
pub struct SourceStatus {
    /// Its name.
    pub source: String,
    /// Its health.
    pub health: Health,
    /// When its newest good snapshot was completed, or found to be what the service still has. A
    /// time in the future does not count.
    #[serde(serialize_with = "instant_or_null")]
    pub last_success: Option<DateTime<Utc>>,
    /// The newest snapshot's manifest, suspicious or not.
    pub snapshot: Option<PathBuf>,
    /// How many entities it holds.
    pub entities: Option<u64>,
    /// How many bytes the service sent for it.
    pub bytes: Option<u64>,
    /// How much it changed since the one before it; null while that is not known, and where there
    /// is none before it.
    pub changes: Option<SnapshotChanges>,
    /// Why the newest snapshot is suspicious; empty if it is good.
    pub suspicious: Vec<String>,
    /// The next time of its schedule.
    #[serde(serialize_with = "instant_or_null")]
    pub next_run: Option<DateTime<Utc>>,
    /// Its live job's number.
    #[serde(serialize_with = "job_number")]
    pub live_job: Option<JobView>,
    /// Why its last job failed; null if it did not.
    pub last_error: Option<JobError>,
    /// What the last look at its account has found of it; `None` for an account that was not looked
    /// at. JSON has only whether it has vanished.
    #[serde(rename = "vanished", serialize_with = "has_vanished")]
    pub look: Option<SourceLook>,
    /// Whether its last job failed because the service has no such source.
    #[serde(skip)]
    pub not_found: bool,
    /// Its last restore, if that failed not long ago. It says nothing about the source's health.
    #[serde(skip)]
    pub failed_restore: Option<FailedRestore>,
}

impl SourceStatus {
    /// When its account was last looked at, if the listing lacked its data source.
    pub fn unlisted_at(&self) -> Option<DateTime<Utc>> {
        self.look.filter(|look| !look.is_listed).map(|look| look.at)
    }
}

/// What the last look at an account has found of a source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SourceLook {
    /// When the service was asked.
    pub at: DateTime<Utc>,
    /// Whether the listing has the source's data source.
    pub is_listed: bool,
}

fn has_vanished<S: Serializer>(
    look: &Option<SourceLook>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    look.map(|look| !look.is_listed).serialize(serializer)
}

/// JSON has the id only; programs can ask for the job.
fn job_number<S: Serializer>(job: &Option<JobView>, serializer: S) -> Result<S::Ok, S::Error> {
    job.as_ref().map(|job| job.id).serialize(serializer)
}
