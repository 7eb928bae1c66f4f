//! Creates, concludes and cancels jobs, each by a transition of [`crate::job`] on the row as it is
//! in the same transaction.

use super::persist::persist;
use super::row;
use super::{Result, Store};
use crate::job::{self, Change, Job, NewJob, Restore, ScheduledTime, State};
use chrono::{DateTime, Utc};
use sqlx::Row;
use sqlx::sqlite::SqliteConnection;
use std::collections::BTreeSet;

/// The result of a cancel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cancelled {
    /// It was live and is cancelled now.
    Now,
    /// It had ended before, in this state.
    Before(State),
    /// It has asked the service to publish a version, and goes on until it knows the result.
    TooLate,
    /// There is no such job.
    Unknown,
}

/// Whether a job could be created.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Creation {
    /// It was created.
    Created(Box<Job>),
    /// The source has this live job: ask again once it has ended.
    Busy(Box<Job>),
}

impl Store {
    /// The source's live job, which may be a restore or the backup of another version
    /// ([`Job::is_ordinary_backup`]), or a new ordinary backup. The flag says whether it is new.
    pub async fn job_for(&self, new: NewJob, now: DateTime<Utc>) -> Result<(Job, bool)> {
        self.write(move |db| {
            Box::pin(async move {
                if let Some(job) = occupant(db, &new.source, now).await? {
                    return Ok((job, false));
                }
                Ok((create(db, new, None, now).await?, true))
            })
        })
        .await
    }

    /// A new restore, unless the source has a live job.
    pub async fn create_restore(
        &self,
        new: NewJob,
        restore: Restore,
        now: DateTime<Utc>,
    ) -> Result<Creation> {
        self.write(move |db| {
            Box::pin(async move {
                if let Some(job) = occupant(db, &new.source, now).await? {
                    return Ok(Creation::Busy(Box::new(job)));
                }
                let change = job::create_restore(next_id(db).await?, new, restore, now);
                Ok(Creation::Created(Box::new(created(db, change, now).await?)))
            })
        })
        .await
    }

    /// A new backup of another version than the source itself asks for, unless the source has a
    /// live job.
    pub async fn create_version(
        &self,
        new: NewJob,
        version: String,
        now: DateTime<Utc>,
    ) -> Result<Creation> {
        self.write(move |db| {
            Box::pin(async move {
                if let Some(job) = live_job(db, &new.source).await? {
                    return Ok(Creation::Busy(Box::new(job)));
                }
                let change = job::create_version(next_id(db).await?, new, version, now);
                Ok(Creation::Created(Box::new(created(db, change, now).await?)))
            })
        })
        .await
    }

    /// Stores what follows from a step of `job`, which `owner` holds. `decide` computes it from the
    /// job as it is stored. Where the job is no longer at that step, or held by another worker
    /// (cancelled, taken over, or concluded by a commit that only seemed to fail), only what
    /// [`job::late`] leaves of the decision is stored.
    /// Returns the change, if the job has changed.
    pub async fn conclude<D>(
        &self,
        job: Job,
        owner: &str,
        decide: D,
        now: DateTime<Utc>,
    ) -> Result<Option<Change>>
    where
        D: Fn(&Job) -> Change + Send + 'static,
    {
        let owner = owner.to_owned();
        self.write(move |db| {
            Box::pin(async move {
                let Some(stored) = find(db, job.id).await? else { return Ok(None) };
                if stored.is_at_step_of(&job) {
                    let persisted = persist(db, decide(&stored), Some(&owner), now).await?;
                    if persisted.is_some() {
                        return Ok(persisted);
                    }
                }
                let Some(late) = job::late(&stored, &decide(&job)) else { return Ok(None) };
                Ok(persist(db, late, None, now).await?.filter(Change::moves))
            })
        })
        .await
    }

    /// Cancels a live job.
    pub async fn cancel(&self, id: i64, now: DateTime<Utc>) -> Result<Cancelled> {
        self.write(move |db| {
            Box::pin(async move {
                let Some(job) = find(db, id).await? else { return Ok(Cancelled::Unknown) };
                if job::is_too_late_to_cancel(&job) {
                    return Ok(Cancelled::TooLate);
                }
                let Some(change) = job::cancel(&job, now) else {
                    return Ok(Cancelled::Before(job.state));
                };
                persist(db, change, None, now).await?;
                Ok(Cancelled::Now)
            })
        })
        .await
    }

    /// Ended restores whose holds are not released yet. One that cannot be decoded is logged and
    /// left out: it must not keep the others.
    pub async fn unreleased(&self) -> Result<Vec<Job>> {
        let rows = sqlx::query(
            "SELECT * FROM jobs INDEXED BY jobs_restores \
             WHERE operation = 'restore' AND finished_at IS NOT NULL \
               AND json_valid(restore) AND restore ->> '$.released' = 0",
        )
        .fetch_all(&self.readers)
        .await?;
        let decoded = |row| {
            row::job(row)
                .inspect_err(|error| tracing::warn!(%error, "a restore cannot be decoded"))
                .ok()
        };
        Ok(rows.iter().filter_map(decoded).collect())
    }

    /// Stores that an ended restore's holds are released.
    pub async fn mark_released(&self, id: i64, now: DateTime<Utc>) -> Result<()> {
        self.write(move |db| {
            Box::pin(async move {
                let job = find(db, id).await?;
                if let Some(change) = job.and_then(|job| job::released(&job)) {
                    persist(db, change, None, now).await?;
                }
                Ok(())
            })
        })
        .await
    }

    /// The identifiers, in lower case, of the changes that were started for other jobs than this
    /// one.
    pub async fn remote_ids_of_others(&self, id: i64) -> Result<BTreeSet<String>> {
        let rows = sqlx::query(
            "SELECT lower(r.remote_id) FROM jobs j INDEXED BY jobs_restores \
             CROSS JOIN remote_jobs r ON r.job = j.id \
             WHERE j.operation = 'restore' AND j.id <> ? AND r.is_change \
               AND r.remote_id IS NOT NULL",
        )
        .bind(id)
        .fetch_all(&self.readers)
        .await?;
        Ok(rows.iter().map(|row| row.try_get(0)).collect::<sqlx::Result<_>>()?)
    }

    /// A source's newest restore.
    pub async fn newest_restore(&self, source: &str) -> Result<Option<Job>> {
        let row = sqlx::query(
            "SELECT * FROM jobs INDEXED BY jobs_restores \
             WHERE operation = 'restore' AND source = ? ORDER BY id DESC LIMIT 1",
        )
        .bind(source)
        .fetch_optional(&self.readers)
        .await?;
        Ok(row.as_ref().map(row::job).transpose()?)
    }

    /// One job.
    pub async fn job(&self, id: i64) -> Result<Option<Job>> {
        let mut reader = self.readers.acquire().await?;
        Ok(find(&mut reader, id).await?)
    }
}

/// The source's live job, after one that only the ordinary backup supersedes was ended.
pub(super) async fn occupant(
    db: &mut SqliteConnection,
    source: &str,
    now: DateTime<Utc>,
) -> sqlx::Result<Option<Job>> {
    let live = live_job(db, source).await?;
    let Some(change) = live.as_ref().and_then(|job| job::supersede(job, now)) else {
        return Ok(live);
    };
    persist(db, change, None, now).await?;
    Ok(None)
}

/// The source's live job.
pub(super) async fn live_job(db: &mut SqliteConnection, source: &str) -> sqlx::Result<Option<Job>> {
    sqlx::query("SELECT * FROM jobs WHERE source = ? AND finished_at IS NULL")
        .bind(source)
        .fetch_optional(db)
        .await?
        .as_ref()
        .map(row::job)
        .transpose()
}

/// The job of this number.
pub(super) async fn find(db: &mut SqliteConnection, id: i64) -> sqlx::Result<Option<Job>> {
    sqlx::query("SELECT * FROM jobs WHERE id = ?")
        .bind(id)
        .fetch_optional(db)
        .await?
        .as_ref()
        .map(row::job)
        .transpose()
}

/// The number of the next job. The sequence's next number, not SQLite's choice: that goes on above
/// any row, also one with a number that no snapshot can have.
pub(super) async fn next_id(db: &mut SqliteConnection) -> sqlx::Result<i64> {
    sqlx::query("SELECT seq + 1 FROM sqlite_sequence WHERE name = 'jobs'")
        .fetch_one(db)
        .await?
        .try_get(0)
}

/// Creates a job. The unique indexes refuse a second live one, and a second one for the same time.
pub(super) async fn create(
    db: &mut SqliteConnection,
    new: NewJob,
    scheduled: Option<ScheduledTime>,
    now: DateTime<Utc>,
) -> sqlx::Result<Job> {
    let change = job::create(next_id(db).await?, new, scheduled, now);
    created(db, change, now).await
}

async fn created(
    db: &mut SqliteConnection,
    change: Change,
    now: DateTime<Utc>,
) -> sqlx::Result<Job> {
    let persisted = persist(db, change, None, now).await?;
    persisted.map(Change::into_job).ok_or(sqlx::Error::RowNotFound)
}
