//! Remote jobs whose own job has ended without them (cancelled, or past its deadline): they still
//! hold a place at the service, and it can still be asked about them.

use super::jobs::{end_remote, wake};
use super::row::{at, instant};
use super::{Result, Store};
use chrono::{DateTime, Utc};
use sqlx::Row;

/// A remote job that nobody waits for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Orphan {
    /// Its row.
    pub remote: i64,
    /// The source that it was made for.
    pub source: String,
    /// The account whose place it holds.
    pub account: String,
    /// When it was started.
    pub started_at: DateTime<Utc>,
    /// Its identifier at the service.
    pub remote_id: Option<String>,
    /// Where to ask for its status.
    pub status_url: String,
}

impl Store {
    /// The remote jobs that hold a place which one of these jobs waits for, and that nobody waits
    /// for. `since` is when the youngest one began that is presumed to have ended.
    pub async fn orphans(&self, since: DateTime<Utc>) -> Result<Vec<Orphan>> {
        let rows = sqlx::query(
            "SELECT r.id, r.account, r.started_at, r.remote_id, r.status_url, j.source \
             FROM remote_jobs r INDEXED BY remote_jobs_running JOIN jobs j ON j.id = r.job \
             WHERE r.ended_at IS NULL AND r.started_at > ? AND r.status_url IS NOT NULL \
               AND (j.finished_at IS NOT NULL OR j.remote IS NOT r.id) \
               AND r.account IN (SELECT account FROM jobs INDEXED BY jobs_due \
                                 WHERE state IN ('queued', 'waiting', 'ready') \
                                   AND hold_kind = 'quota')",
        )
        .bind(at(since))
        .fetch_all(&self.readers)
        .await?;
        let orphan = |row: &sqlx::sqlite::SqliteRow| {
            Ok(Orphan {
                remote: row.try_get("id")?,
                source: row.try_get("source")?,
                account: row.try_get("account")?,
                started_at: instant(row.try_get("started_at")?),
                remote_id: row.try_get("remote_id")?,
                status_url: row.try_get("status_url")?,
            })
        };
        Ok(rows.iter().map(orphan).collect::<sqlx::Result<_>>()?)
    }

    /// It has ended at the service: its place is free.
    pub async fn mark_ended(&self, orphan: Orphan, now: DateTime<Utc>) -> Result<()> {
        self.write(move |db| {
            Box::pin(async move {
                end_remote(db, orphan.remote, now).await?;
                wake(db, Some(&orphan.account), now).await
            })
        })
        .await
    }
}
