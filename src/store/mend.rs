//! What a clock that was far ahead has left behind: times that would not come for long.

use super::jobs::add_event;
use super::row::at;
use super::{Result, Store};
use crate::job::Event;
use chrono::{DateTime, TimeDelta, Utc};
use sqlx::Row;

/// No cursor and no submission is this far ahead unless the clock was: a step back by an hour, or by
/// a day, is made good by waiting.
const FAR: TimeDelta = TimeDelta::hours(25);
/// Remote jobs that may have been started while the clock was ahead.
const RECENT: i64 = 10_000;

impl Store {
    /// Pulls back what lies further ahead than it can by right: jobs that are due later than
    /// `longest_wait` from now, schedules that are accounted for beyond tomorrow, remote jobs that
    /// were started beyond tomorrow. Says whether there was anything.
    pub async fn pull_back(&self, longest_wait: TimeDelta, now: DateTime<Utc>) -> Result<bool> {
        let (far, late) = (at(now + FAR), at(now + longest_wait.max(FAR)));
        let row = sqlx::query(
            "SELECT EXISTS (SELECT 1 FROM jobs INDEXED BY jobs_due \
               WHERE state IN ('queued', 'waiting', 'ready') AND due_at > ?1) \
             OR EXISTS (SELECT 1 FROM schedules WHERE cursor > ?2) \
             OR coalesce((SELECT started_at FROM remote_jobs ORDER BY id DESC LIMIT 1) > ?2, 0)",
        )
        .bind(late)
        .bind(far)
        .fetch_one(&self.readers)
        .await?;
        if row.try_get::<i64, _>(0)? == 0 {
            return Ok(false);
        }
        self.write(move |db| {
            Box::pin(async move {
                sqlx::query(
                    "UPDATE jobs SET due_at = ?1, lease_owner = NULL, lease_until = NULL \
                     WHERE state IN ('queued', 'waiting', 'ready') AND due_at > ?2",
                )
                .bind(at(now))
                .bind(late)
                .execute(&mut *db)
                .await?;
                sqlx::query(
                    "UPDATE remote_jobs SET started_at = ?1 WHERE started_at > ?2 \
                     AND id > (SELECT max(id) FROM remote_jobs) - ?3",
                )
                .bind(at(now))
                .bind(far)
                .bind(RECENT)
                .execute(&mut *db)
                .await?;
                let pulled = sqlx::query(
                    "UPDATE schedules SET cursor = ?1, since = min(since, ?1) WHERE cursor > ?2 \
                     RETURNING source",
                )
                .bind(at(now))
                .bind(far)
                .fetch_all(&mut *db)
                .await?;
                for row in &pulled {
                    let source: String = row.try_get(0)?;
                    let message = "the clock was far ahead: the schedule goes on from now";
                    add_event(db, None, &source, &Event::new("note", message), now).await?;
                }
                Ok(true)
            })
        })
        .await
    }
}
