//! Creates, updates and ends jobs. Every update is guarded by the state that it expects.

use super::row::{self, at};
use super::{Result, Store};
use crate::job::{Decision, Job, JobEvent, RemoteEffect, State, Trigger};
use chrono::{DateTime, Utc};
use sqlx::Row;
use sqlx::sqlite::SqliteConnection;

/// A job to be made.
#[derive(Debug, Clone)]
pub struct NewJob {
    /// The source's name.
    pub source: String,
    /// The account whose quota it will spend.
    pub account: String,
    /// Why it is made.
    pub trigger: Trigger,
    /// The first line of its timeline.
    pub note: String,
}

/// The result of a cancel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cancelled {
    /// It was live and is cancelled now.
    Now,
    /// It had ended before, in this state.
    Before(State),
    /// There is no such job.
    Unknown,
}

impl Store {
    /// The source's live job, or a new one. The flag says whether it is new.
    pub async fn job_for(&self, new: NewJob, now: DateTime<Utc>) -> Result<(Job, bool)> {
        self.write(move |db| {
            Box::pin(async move {
                if let Some(job) = live_job(db, &new.source).await? {
                    return Ok((job, false));
                }
                Ok((insert(db, &new, None, now).await?, true))
            })
        })
        .await
    }

    /// Applies a decision made for a job that stood in state `from` and that `owner` holds. `false`
    /// means that it no longer did (cancelled, or taken over by another worker): nothing was changed
    /// then.
    pub async fn apply(
        &self,
        decision: Decision,
        from: State,
        owner: &str,
        now: DateTime<Utc>,
    ) -> Result<bool> {
        let owner = owner.to_owned();
        self.write(move |db| {
            Box::pin(async move {
                let applied = update(db, &decision.job, from, &owner).await?;
                if applied {
                    record(db, &decision, now).await?;
                }
                Ok(applied)
            })
        })
        .await
    }

    /// A snapshot reached the archive, and then its job was found cancelled: what is archived
    /// stays archived, and the job says so.
    pub async fn archived_after_cancel(&self, job: Job, now: DateTime<Utc>) -> Result<bool> {
        self.write(move |db| {
            Box::pin(async move {
                let changed = sqlx::query(
                    "UPDATE jobs SET state = 'archived', snapshot = ? \
                     WHERE id = ? AND state = 'cancelled'",
                )
                .bind(job.snapshot.as_ref().map(|path| path.to_string_lossy().into_owned()))
                .bind(job.id)
                .execute(&mut *db)
                .await?
                .rows_affected();
                if changed > 0 {
                    let event = JobEvent::new(
                        "archived",
                        "the snapshot was in the archive before the cancel",
                    );
                    add_event(db, Some(job.id), &job.source, &event, now).await?;
                }
                Ok(changed > 0)
            })
        })
        .await
    }

    /// Stores what a step found out about the remote job `remote`, when its job was cancelled before
    /// the decision could be applied: an accepted submission uses quota until it ends, and can be
    /// polled.
    pub async fn record_late(
        &self,
        decision: Decision,
        remote: i64,
        now: DateTime<Utc>,
    ) -> Result<()> {
        self.write(move |db| {
            Box::pin(async move {
                let job = &decision.job;
                if decision.remote == RemoteEffect::Accepted {
                    let id = job.remote_id.as_deref().unwrap_or("without an id");
                    let message = format!(
                        "the service had accepted the submission as remote job {id}; its place in \
                         the quota is free when it ends"
                    );
                    let event = JobEvent::new("note", message);
                    add_event(db, Some(job.id), &job.source, &event, now).await?;
                }
                record_remote(db, &decision, remote, now).await
            })
        })
        .await
    }

    /// Ends a live job.
    pub async fn cancel(&self, id: i64, now: DateTime<Utc>) -> Result<Cancelled> {
        self.write(move |db| {
            Box::pin(async move {
                let Some(job) = find(db, id).await? else { return Ok(Cancelled::Unknown) };
                if job.state.is_final() {
                    return Ok(Cancelled::Before(job.state));
                }
                sqlx::query(
                    "UPDATE jobs SET state = 'cancelled', finished_at = ?, hold_kind = NULL, \
                     hold_message = NULL, lease_owner = NULL WHERE id = ?",
                )
                .bind(at(now))
                .bind(id)
                .execute(&mut *db)
                .await?;
                let event = JobEvent::new("cancelled", "cancelled by hand");
                add_event(db, Some(id), &job.source, &event, now).await?;
                Ok(Cancelled::Now)
            })
        })
        .await
    }

    /// One job.
    pub async fn job(&self, id: i64) -> Result<Option<Job>> {
        let row = sqlx::query("SELECT * FROM jobs WHERE id = ?")
            .bind(id)
            .fetch_optional(&self.readers)
            .await?;
        Ok(row.as_ref().map(row::job).transpose()?)
    }
}

/// The source's live job.
pub(super) async fn live_job(db: &mut SqliteConnection, source: &str) -> sqlx::Result<Option<Job>> {
    sqlx::query("SELECT * FROM jobs WHERE source = ? AND state IN ('queued', 'waiting', 'ready')")
        .bind(source)
        .fetch_optional(db)
        .await?
        .as_ref()
        .map(row::job)
        .transpose()
}

async fn find(db: &mut SqliteConnection, id: i64) -> sqlx::Result<Option<Job>> {
    sqlx::query("SELECT * FROM jobs WHERE id = ?")
        .bind(id)
        .fetch_optional(db)
        .await?
        .as_ref()
        .map(row::job)
        .transpose()
}

/// Makes a job. The unique indexes refuse a second live one, and a second one for the same time.
pub(super) async fn insert(
    db: &mut SqliteConnection,
    new: &NewJob,
    scheduled_for: Option<DateTime<Utc>>,
    now: DateTime<Utc>,
) -> sqlx::Result<Job> {
    let row = sqlx::query(
        // The sequence's next number, not SQLite's choice: that goes on above any row, also one with
        // a number that no snapshot can have.
        "INSERT INTO jobs (id, source, account, state, trigger, scheduled_for, created_at, due_at) \
         VALUES ((SELECT seq + 1 FROM sqlite_sequence WHERE name = 'jobs'), \
                 ?, ?, 'queued', ?, ?, ?, ?) RETURNING *",
    )
    .bind(&new.source)
    .bind(&new.account)
    .bind(new.trigger.as_str())
    .bind(scheduled_for.map(at))
    .bind(at(now))
    .bind(at(now))
    .fetch_one(&mut *db)
    .await?;
    let job = row::job(&row)?;
    let event = JobEvent::new("queued", new.note.clone());
    add_event(db, Some(job.id), &job.source, &event, now).await?;
    Ok(job)
}

/// Writes a job's next row, frees its lease, and says whether it still stood where it was expected.
pub(super) async fn update(
    db: &mut SqliteConnection,
    job: &Job,
    from: State,
    owner: &str,
) -> sqlx::Result<bool> {
    let changed = sqlx::query(
        "UPDATE jobs SET state = ?, finished_at = ?, due_at = ?, wait_ms = ?, hold_kind = ?, \
         hold_message = ?, lease_owner = NULL, attempts = ?, polls = ?, rounds = ?, \
         failures = ?, remote = ?, submitting = ?, remote_id = ?, status_url = ?, result_url = ?, \
         first_submitted_at = ?, submitted_at = ?, expected = ?, missing_since = ?, \
         error_kind = ?, error_message = ?, snapshot = ? \
         WHERE id = ? AND state = ? AND lease_owner = ?",
    )
    .bind(job.state.as_str())
    .bind(job.finished_at.map(at))
    .bind(at(job.due_at))
    .bind(job.wait.num_milliseconds())
    .bind(job.waiting.as_ref().map(|wait| wait.why.as_str()))
    .bind(job.waiting.as_ref().map(|wait| wait.message.as_str()))
    .bind(job.attempts)
    .bind(job.polls)
    .bind(job.rounds)
    .bind(job.failures)
    .bind(job.remote)
    .bind(job.submitting)
    .bind(&job.remote_id)
    .bind(&job.status_url)
    .bind(&job.result_url)
    .bind(job.first_submitted_at.map(at))
    .bind(job.submitted_at.map(at))
    .bind(job.expected.map(|expected| i64::try_from(expected).unwrap_or(i64::MAX)))
    .bind(job.missing_since.map(at))
    .bind(job.error.as_ref().map(|error| error.kind.as_str()))
    .bind(job.error.as_ref().map(|error| error.message.as_str()))
    .bind(job.snapshot.as_ref().map(|path| path.to_string_lossy().into_owned()))
    .bind(job.id)
    .bind(from.as_str())
    .bind(owner)
    .execute(db)
    .await?
    .rows_affected();
    Ok(changed == 1)
}

/// Writes what a decision says beside the job's row: its timeline and its remote job's record.
///
/// The remote job's row is found through the job, for the next row may name none any more.
pub(super) async fn record(
    db: &mut SqliteConnection,
    decision: &Decision,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    let job = &decision.job;
    for event in &decision.events {
        add_event(db, Some(job.id), &job.source, event, now).await?;
    }
    let remote: Option<i64> = sqlx::query("SELECT max(id) FROM remote_jobs WHERE job = ?")
        .bind(job.id)
        .fetch_one(&mut *db)
        .await?
        .try_get(0)?;
    match remote {
        Some(remote) => record_remote(db, decision, remote, now).await,
        None => Ok(()),
    }
}

/// Writes what a decision says of a remote job into its record.
async fn record_remote(
    db: &mut SqliteConnection,
    decision: &Decision,
    remote: i64,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    let job = &decision.job;
    match decision.remote {
        // An unanswered submission stays as the intent left it: counted, and presumed to run.
        RemoteEffect::Keep | RemoteEffect::Unanswered => Ok(()),
        RemoteEffect::Accepted => {
            sqlx::query("UPDATE remote_jobs SET remote_id = ?, status_url = ? WHERE id = ?")
                .bind(&job.remote_id)
                .bind(&job.status_url)
                .bind(remote)
                .execute(db)
                .await
                .map(drop)
        }
        RemoteEffect::Refused => {
            sqlx::query("DELETE FROM remote_jobs WHERE id = ?")
                .bind(remote)
                .execute(&mut *db)
                .await?;
            wake(db, Some(&job.account), now).await
        }
        RemoteEffect::Ended => {
            end_remote(db, remote, now).await?;
            wake(db, Some(&job.account), now).await
        }
    }
}

/// Stores that a remote job has ended and no longer uses quota.
pub(super) async fn end_remote(
    db: &mut SqliteConnection,
    remote: i64,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query("UPDATE remote_jobs SET ended_at = ? WHERE id = ? AND ended_at IS NULL")
        .bind(at(now))
        .bind(remote)
        .execute(db)
        .await
        .map(drop)
}

/// Makes the account's jobs that wait for quota due (those of every account, without one).
pub(super) async fn wake(
    db: &mut SqliteConnection,
    account: Option<&str>,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query(
        "UPDATE jobs SET due_at = ?1, wait_ms = 0 WHERE state IN ('queued', 'waiting', 'ready') \
         AND state = 'queued' AND hold_kind = 'quota' AND (?2 IS NULL OR account = ?2) \
         AND due_at > ?1",
    )
    .bind(at(now))
    .bind(account)
    .execute(db)
    .await
    .map(drop)
}

/// How many of a timeline's last lines are searched for a repeated wait.
const LAST_WAITS: u32 = 16;

/// Adds a line to a job's timeline, or to its source's where it belongs to no job. A wait for a
/// reason that the waits at the timeline's end have already is counted there instead.
pub(super) async fn add_event(
    db: &mut SqliteConnection,
    job: Option<i64>,
    source: &str,
    event: &JobEvent,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    if let (Some(job), Some(reason)) = (job, &event.reason)
        && let Some(earlier) = same_wait(db, job, event.kind, reason).await?
    {
        return sqlx::query(
            "UPDATE events SET count = count + 1, last_at = ?, message = ? WHERE id = ?",
        )
        .bind(at(now))
        .bind(&event.message)
        .bind(earlier)
        .execute(db)
        .await
        .map(drop);
    }
    sqlx::query(
        "INSERT INTO events (job, source, at, kind, message, reason) VALUES (?, ?, ?, ?, ?, ?)",
    )
    .bind(job)
    .bind(source)
    .bind(at(now))
    .bind(event.kind)
    .bind(&event.message)
    .bind(&event.reason)
    .execute(db)
    .await
    .map(drop)
}

/// The line of the same wait among those with which a job's timeline ends; nothing but waits may
/// have happened since.
async fn same_wait(
    db: &mut SqliteConnection,
    job: i64,
    kind: &str,
    reason: &str,
) -> sqlx::Result<Option<i64>> {
    let last =
        sqlx::query("SELECT id, kind, reason FROM events WHERE job = ? ORDER BY id DESC LIMIT ?")
            .bind(job)
            .bind(LAST_WAITS)
            .fetch_all(db)
            .await?;
    for row in last {
        let Some(own) = row.try_get::<Option<String>, _>("reason")? else { break };
        if own == reason && row.try_get::<String, _>("kind")? == kind {
            return row.try_get("id").map(Some);
        }
    }
    Ok(None)
}
