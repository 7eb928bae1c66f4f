//! Corrects what a wrong clock has stored: instants in the future, and due times implausibly far
//! ahead.

use super::jobs::{add_event, wake};
use super::row::{self, at};
use super::{Result, Store};
use crate::job::{self, Job, JobEvent};
use chrono::{DateTime, TimeDelta, Utc};
use sqlx::Row;
use sqlx::sqlite::SqliteConnection;

/// A cursor this far ahead was stored by a wrong clock. A step back by an hour, or by a day, needs no
/// correction: those times are accounted for already.
const FAR: TimeDelta = TimeDelta::hours(25);
/// Remote jobs that may have been started while the clock was ahead.
const RECENT: i64 = 10_000;
/// How many are checked first to see whether there are any.
const NEWEST: i64 = 100;

impl Store {
    /// Corrects what a wrong clock has stored: live jobs by [`job::corrected`], remote jobs started in
    /// the future, schedule cursors beyond tomorrow. `forward` is how far the clock has just stepped
    /// forward. Returns whether anything was corrected.
    pub async fn correct_clock(&self, forward: TimeDelta, now: DateTime<Utc>) -> Result<bool> {
        let (ahead, far) = (at(now + job::DRIFT), at(now + FAR));
        let row = sqlx::query(
            "SELECT EXISTS (SELECT 1 FROM jobs INDEXED BY jobs_due \
               WHERE state IN ('queued', 'waiting', 'ready') AND (due_at > ?1 + wait_ms \
                 OR first_submitted_at > ?1 OR missing_since > ?1 \
                 OR (submitted_at > ?1 AND state <> 'ready'))) \
             OR EXISTS (SELECT 1 FROM schedules WHERE cursor > ?2) \
             OR EXISTS (SELECT 1 FROM remote_jobs \
               WHERE id > (SELECT max(id) FROM remote_jobs) - ?3 AND started_at > ?1)",
        )
        .bind(ahead)
        .bind(far)
        .bind(NEWEST)
        .fetch_one(&self.readers)
        .await?;
        if row.try_get::<i64, _>(0)? == 0 && forward.is_zero() {
            return Ok(false);
        }
        self.write(move |db| {
            Box::pin(async move {
                let rows = sqlx::query(
                    "SELECT * FROM jobs INDEXED BY jobs_due \
                     WHERE state IN ('queued', 'waiting', 'ready')",
                )
                .fetch_all(&mut *db)
                .await?;
                for row in &rows {
                    if let Some(job) = job::corrected(&row::job(row)?, forward, now) {
                        write_times(db, &job).await?;
                    }
                }
                sqlx::query(
                    "UPDATE remote_jobs SET started_at = ?1 WHERE started_at > ?2 \
                     AND id > (SELECT max(id) FROM remote_jobs) - ?3",
                )
                .bind(at(now))
                .bind(ahead)
                .bind(RECENT)
                .execute(&mut *db)
                .await?;
                let moved = sqlx::query(
                    "UPDATE schedules SET cursor = ?1, since = min(since, ?1) WHERE cursor > ?2 \
                     RETURNING source",
                )
                .bind(at(now))
                .bind(far)
                .fetch_all(&mut *db)
                .await?;
                for row in &moved {
                    let source: String = row.try_get(0)?;
                    let message = "the clock was far ahead: the schedule goes on from now";
                    add_event(db, None, &source, &JobEvent::new("note", message), now).await?;
                }
                Ok(true)
            })
        })
        .await
    }

    /// Makes every job due that waits for quota by Nightjar's own count: the quota may have changed.
    pub async fn reconsider_quota(&self, now: DateTime<Utc>) -> Result<()> {
        self.write(move |db| Box::pin(async move { wake(db, None, now).await })).await
    }
}

/// Writes only a job's times, whichever worker holds it.
async fn write_times(db: &mut SqliteConnection, job: &Job) -> sqlx::Result<()> {
    sqlx::query(
        "UPDATE jobs SET due_at = ?, first_submitted_at = ?, submitted_at = ?, missing_since = ? \
         WHERE id = ?",
    )
    .bind(at(job.due_at))
    .bind(job.first_submitted_at.map(at))
    .bind(job.submitted_at.map(at))
    .bind(job.missing_since.map(at))
    .bind(job.id)
    .execute(db)
    .await
    .map(drop)
}
