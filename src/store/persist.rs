//! Persists changes of jobs: the only place that writes their rows, their timelines and the records
//! of their remote jobs. What changes is decided in [`crate::job`].

use super::row::{self, at};
use crate::job::{self, Change, Job, JobEvent, Mover, RemoteEffect, SourceEvent, State};
use chrono::{DateTime, Utc};
use sqlx::Row;
use sqlx::query::Query;
use sqlx::sqlite::{Sqlite, SqliteArguments, SqliteConnection};

/// A move that the table of moves does not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "job {job} may not become {to} by \"{by}\" {}; nothing was stored; this is a bug in nightjar; \
     please report it",
    .from.map_or("as a new job".to_owned(), |from| format!("from {from}"))
)]
pub struct IllegalMove {
    /// The job's number.
    pub job: i64,
    /// Its state; `None` where it did not exist.
    pub from: Option<State>,
    /// The state that it was to have.
    pub to: State,
    /// Who was to move it.
    pub by: Mover,
}

/// Persists a change: the job's row, its timeline, and its remote job's record. `None` means that
/// the job is no longer in the state that the change is for, or `owner` does not hold it any more:
/// nothing is changed then. Returns the change with the number of a new record in it.
pub(super) async fn persist(
    db: &mut SqliteConnection,
    mut change: Change,
    owner: Option<&str>,
    now: DateTime<Utc>,
) -> sqlx::Result<Option<Change>> {
    if !write_row(db, &change, owner).await? {
        return Ok(None);
    }
    for event in change.events() {
        add_event(db, change.job(), event, now).await?;
    }
    if let Some(record) = apply_to_record(db, &change, now).await? {
        change.set_record(record);
        sqlx::query("UPDATE jobs SET remote = ? WHERE id = ?")
            .bind(record)
            .bind(change.job().id)
            .execute(db)
            .await?;
    }
    Ok(Some(change))
}

const INSERT: &str = "INSERT INTO jobs (id, account, state, finished_at, due_at, wait_ms, \
      hold_kind, hold_message, attempts, polls, rounds, failures, first_submitted_at, remote, \
      submitting, remote_id, status_url, result_url, submitted_at, expected, missing_since, \
      error_kind, error_message, snapshot, restore, requested, source, operation, trigger, \
      scheduled_for, created_at, version) \
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, \
      ?20, ?21, ?22, ?23, ?24, ?25, ?26, ?27, ?28, ?29, ?30, ?31, ?32)";
/// What never changes of a job is not written again.
const UPDATE: &str = "UPDATE jobs SET account = ?2, state = ?3, finished_at = ?4, due_at = ?5, \
      wait_ms = ?6, hold_kind = ?7, hold_message = ?8, attempts = ?9, polls = ?10, rounds = ?11, \
      failures = ?12, first_submitted_at = ?13, remote = ?14, submitting = ?15, remote_id = ?16, \
      status_url = ?17, result_url = ?18, submitted_at = ?19, expected = ?20, \
      missing_since = ?21, error_kind = ?22, error_message = ?23, snapshot = ?24, \
      restore = ?25, requested = ?26, lease_owner = CASE WHEN ?27 THEN lease_owner END \
    WHERE id = ?1 AND state = ?28 AND (?29 IS NULL OR lease_owner = ?29)";

/// Writes the job's next row, and says whether the job was where the change expects it.
async fn write_row(
    db: &mut SqliteConnection,
    change: &Change,
    owner: Option<&str>,
) -> sqlx::Result<bool> {
    let job = change.job();
    let (from, to, by) = (change.from(), job.state, change.by());
    if !change.is_legal() {
        let illegal = IllegalMove { job: job.id, from, to, by };
        return Err(sqlx::Error::Encode(Box::new(illegal)));
    }
    let query = match from {
        None => bind_row(sqlx::query(INSERT), job)?
            .bind(job.source.clone())
            .bind(job.operation.as_str())
            .bind(job.trigger.as_str())
            .bind(job.scheduled_for.map(at))
            .bind(at(job.created_at))
            .bind(job.version.clone()),
        Some(from) => bind_row(sqlx::query(UPDATE), job)?
            .bind(change.keeps_lease())
            .bind(from.as_str())
            .bind(owner.map(str::to_owned)),
    };
    Ok(query.execute(db).await?.rows_affected() == 1)
}

/// Binds a job's number and all that may change of it.
fn bind_row<'q>(
    query: Query<'q, Sqlite, SqliteArguments>,
    job: &Job,
) -> sqlx::Result<Query<'q, Sqlite, SqliteArguments>> {
    let remote = job.remote.as_ref();
    let restore = job.restore.as_ref().map(serde_json::to_string).transpose();
    let restore = restore.map_err(|error| sqlx::Error::Encode(Box::new(error)))?;
    Ok(query
        .bind(job.id)
        .bind(job.account.clone())
        .bind(job.state.as_str())
        .bind(job.finished_at.map(at))
        .bind(at(job.due_at))
        .bind(job.wait.num_milliseconds())
        .bind(job.waiting.as_ref().map(|wait| wait.why.as_str()))
        .bind(job.waiting.as_ref().map(|wait| wait.message.clone()))
        .bind(job.attempts)
        .bind(job.polls)
        .bind(job.rounds)
        .bind(job.failures)
        .bind(job.first_submitted_at.map(at))
        .bind(remote.and_then(|remote| remote.record))
        .bind(job.is_submitting())
        .bind(remote.and_then(|remote| remote.id.clone()))
        .bind(remote.and_then(|remote| remote.status_url.clone()))
        .bind(remote.and_then(|remote| remote.result_url.clone()))
        .bind(remote.map(|remote| at(remote.submitted_at)))
        .bind(job.expected().map(|expected| i64::try_from(expected).unwrap_or(i64::MAX)))
        .bind(remote.and_then(|remote| remote.missing_since).map(at))
        .bind(job.error.as_ref().map(|error| error.kind.as_str()))
        .bind(job.error.as_ref().map(|error| error.message.clone()))
        .bind(job.snapshot.as_ref().map(|path| path.to_string_lossy().into_owned()))
        .bind(restore)
        .bind(remote.and_then(|remote| remote.requested.clone())))
}

/// Writes what a change says of a remote job into its record. Returns the number of a new record.
async fn apply_to_record(
    db: &mut SqliteConnection,
    change: &Change,
    now: DateTime<Utc>,
) -> sqlx::Result<Option<i64>> {
    let job = change.job();
    match change.remote() {
        RemoteEffect::Started | RemoteEffect::Imported => {
            let record = sqlx::query(
                "INSERT INTO remote_jobs (job, account, started_at, remote_id, ended_at, is_change) \
                 VALUES (?, ?, ?, ?, ?, ?) RETURNING id",
            )
            .bind(job.id)
            .bind(&job.account)
            .bind(at(job.submitted_at()))
            .bind(job.remote_id())
            .bind(job.finished_at.map(at))
            .bind(job.stage().is_change())
            .fetch_one(db)
            .await?;
            return record.try_get(0).map(Some);
        }
        // An unanswered submission stays as the intent left it: counted, and presumed to run.
        RemoteEffect::Keep | RemoteEffect::Unanswered => {}
        RemoteEffect::Accepted { id, status_url } => {
            sqlx::query("UPDATE remote_jobs SET remote_id = ?, status_url = ? WHERE id = ?")
                .bind(id)
                .bind(status_url)
                .bind(change.record())
                .execute(db)
                .await?;
        }
        RemoteEffect::Refused => {
            // The number of a deleted record is given again, perhaps to another job.
            sqlx::query("DELETE FROM remote_jobs WHERE id = ? AND job = ?")
                .bind(change.record())
                .bind(job.id)
                .execute(&mut *db)
                .await?;
            wake(db, Some(&job.account), now).await?;
        }
        RemoteEffect::Ended => {
            if let Some(record) = change.record() {
                end_remote(db, record, now).await?;
            }
            wake(db, Some(&job.account), now).await?;
        }
    }
    Ok(None)
}

/// Stores that a remote job has ended and no longer uses quota.
pub(super) async fn end_remote(
    db: &mut SqliteConnection,
    record: i64,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query("UPDATE remote_jobs SET ended_at = ? WHERE id = ? AND ended_at IS NULL")
        .bind(at(now))
        .bind(record)
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
    let rows = sqlx::query(
        "SELECT * FROM jobs INDEXED BY jobs_due \
         WHERE finished_at IS NULL AND hold_kind = 'quota' AND (?1 IS NULL OR account = ?1)",
    )
    .bind(account)
    .fetch_all(&mut *db)
    .await?;
    for row in &rows {
        // It has no events, and leaves the remote job's record alone.
        if let Some(change) = job::wake(&row::job(row)?, now) {
            write_row(db, &change, None).await?;
        }
    }
    Ok(())
}

/// How many of a timeline's last lines are searched for a repeated wait.
const LAST_WAITS: u32 = 16;

/// Adds a line to a job's timeline. A wait for a reason that the waits at the timeline's end have
/// already is counted there instead.
pub(super) async fn add_event(
    db: &mut SqliteConnection,
    job: &Job,
    event: &JobEvent,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    if let Some(reason) = event.reason()
        && let Some(earlier) = same_wait(db, job.id, event.kind().as_str(), reason).await?
    {
        return sqlx::query(
            "UPDATE events SET count = count + 1, last_at = ?, message = ? WHERE id = ?",
        )
        .bind(at(now))
        .bind(event.message())
        .bind(earlier)
        .execute(db)
        .await
        .map(drop);
    }
    sqlx::query(
        "INSERT INTO events (job, source, at, kind, message, reason) VALUES (?, ?, ?, ?, ?, ?)",
    )
    .bind(job.id)
    .bind(&job.source)
    .bind(at(now))
    .bind(event.kind().as_str())
    .bind(event.message())
    .bind(event.reason())
    .execute(db)
    .await
    .map(drop)
}

/// Stores an event that belongs to no job of the source.
pub(super) async fn add_source_event(
    db: &mut SqliteConnection,
    source: &str,
    event: &SourceEvent,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query("INSERT INTO events (source, at, kind, message) VALUES (?, ?, ?, ?)")
        .bind(source)
        .bind(at(now))
        .bind(event.kind().as_str())
        .bind(event.message())
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
