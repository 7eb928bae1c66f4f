//! Corrects what a wrong clock has stored: instants in the future, and due times implausibly far
//! ahead.

use super::persist::{add_source_event, persist, wake};
use super::row::{self, at};
use super::{Result, Store};
use crate::job::{self, SourceEvent};
use chrono::{DateTime, TimeDelta, Utc};
use sqlx::Row;

/// Remote jobs that may have been started while the clock was ahead.
const RECENT: i64 = 10_000;
/// How many are checked first to see whether there are any.
const NEWEST: i64 = 100;

impl Store {
    /// Corrects what a wrong clock has stored: live jobs by [`job::correct_clock`], remote jobs
    /// started in the future, schedule cursors beyond tomorrow. `forward` is how far the clock has
    /// just stepped forward. Returns whether anything was corrected.
    pub async fn correct_clock(&self, forward: TimeDelta, now: DateTime<Utc>) -> Result<bool> {
        let (ahead, far) = (at(now + job::DRIFT), at(now + job::CURSOR_AHEAD));
        if forward.is_zero() && !self.is_ahead(now, ahead, far).await? {
            return Ok(false);
        }
        self.write(move |db| {
            Box::pin(async move {
                let rows =
                    sqlx::query("SELECT * FROM jobs INDEXED BY jobs_due WHERE finished_at IS NULL")
                        .fetch_all(&mut *db)
                        .await?;
                for row in &rows {
                    if let Some(change) = job::correct_clock(&row::job(row)?, forward, now) {
                        persist(db, change, None, now).await?;
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
                    add_source_event(db, &source, &SourceEvent::CursorReset, now).await?;
                }
                Ok(true)
            })
        })
        .await
    }

    /// Makes every job due that waits for quota by Nightjar's own count: the quota may have
    /// changed.
    pub async fn reconsider_quota(&self, now: DateTime<Utc>) -> Result<()> {
        self.write(move |db| Box::pin(async move { wake(db, None, now).await })).await
    }

    /// Whether anything stored lies so far ahead that only a wrong clock explains it.
    async fn is_ahead(&self, now: DateTime<Utc>, ahead: i64, far: i64) -> Result<bool> {
        let jobs = self.live_jobs().await?;
        if jobs.iter().any(|job| job::correct_clock(job, TimeDelta::zero(), now).is_some()) {
            return Ok(true);
        }
        let row = sqlx::query(
            "SELECT EXISTS (SELECT 1 FROM schedules WHERE cursor > ?2) \
             OR EXISTS (SELECT 1 FROM remote_jobs \
               WHERE id > (SELECT max(id) FROM remote_jobs) - ?3 AND started_at > ?1)",
        )
        .bind(ahead)
        .bind(far)
        .bind(NEWEST)
        .fetch_one(&self.readers)
        .await?;
        Ok(row.try_get::<i64, _>(0)? != 0)
    }
}
