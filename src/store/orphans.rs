//! Orphaned remote jobs: their own job has ended without them (cancelled, or past its deadline),
//! but they still use quota at the service, and can still be polled.

use super::persist::{end_remote, wake};
use super::row::{at, instant};
use super::{Result, Store};
use chrono::{DateTime, Utc};
use sqlx::Row;

/// A remote job that no live job waits for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Orphan {
    /// Its row.
    pub remote: i64,
    /// The source that it was made for.
    pub source: String,
    /// The account whose quota it uses.
    pub account: String,
    /// When it was started.
    pub started_at: DateTime<Utc>,
    /// Its identifier at the service.
    pub remote_id: Option<String>,
    /// Where to ask for its status.
    pub status_url: String,
    /// Whether it changes what the service has, and is no export.
    pub is_change: bool,
}

impl Store {
    /// The orphaned remote jobs of accounts whose quota a live job waits for. Those started before
    /// `since` are presumed to have ended.
    pub async fn orphans(&self, since: DateTime<Utc>) -> Result<Vec<Orphan>> {
        let rows = sqlx::query(
            "SELECT r.id, r.account, r.started_at, r.remote_id, r.status_url, \
               r.is_change, j.source \
             FROM remote_jobs r INDEXED BY remote_jobs_running JOIN jobs j ON j.id = r.job \
             WHERE r.ended_at IS NULL AND r.started_at > ? AND r.status_url IS NOT NULL \
               AND (j.finished_at IS NOT NULL OR j.remote IS NOT r.id) \
               AND r.account IN (SELECT account FROM jobs INDEXED BY jobs_due \
                                 WHERE finished_at IS NULL AND hold_kind = 'quota')",
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
                is_change: row.try_get("is_change")?,
            })
        };
        Ok(rows.iter().map(orphan).collect::<sqlx::Result<_>>()?)
    }

    /// Stores that it has ended at the service, which frees its quota.
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
