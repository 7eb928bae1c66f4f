//! Removes history past its retention time, in small transactions.

use super::row::at;
use super::{Result, Store};
use chrono::{DateTime, TimeDelta, Utc};
use sqlx::Row;
use std::collections::BTreeSet;

/// How long jobs are kept at least after they have ended, with their timelines and the records of
/// their remote jobs.
pub const HISTORY_KEPT: TimeDelta = TimeDelta::days(400);
/// This many of each source's newest jobs are kept, however old they are: a clock that is far ahead
/// for a night cannot empty the history.
pub const NEWEST_KEPT: u32 = 400;
/// How many jobs one transaction removes: other writes wait for no more than that.
const BATCH: usize = 100;

/// What was removed from the history.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PrunedHistory {
    /// Ended jobs, with all that belongs to them.
    pub jobs: u64,
    /// Events that belonged to no job.
    pub events: u64,
}

impl Store {
    /// Removes jobs that ended more than [`HISTORY_KEPT`] ago, except those in `keep` and the newest
    /// [`NEWEST_KEPT`] of each source, and events of that age that belong to no job. What is counted
    /// for each source stays counted, and no id is used again.
    ///
    /// # Errors
    /// When the database cannot be read or written. What was removed until then stays removed; the
    /// next call goes on.
    pub async fn prune_history(
        &self,
        keep: &BTreeSet<i64>,
        now: DateTime<Utc>,
    ) -> Result<PrunedHistory> {
        let Some(cutoff) = now.checked_sub_signed(HISTORY_KEPT) else {
            return Ok(PrunedHistory::default());
        };
        let mut pruned = PrunedHistory::default();
        let mut source = String::new();
        while let Some(next) = self.source_after(&source).await? {
            source = next;
            let Some(newest_kept) = self.oldest_of_newest(&source).await? else { continue };
            let mut after = i64::MIN;
            loop {
                let old = self.old_jobs(&source, after, newest_kept, cutoff).await?;
                let Some(last) = old.last().copied() else { break };
                after = last;
                let is_last = old.len() < BATCH;
                let going = old.into_iter().filter(|id| !keep.contains(id)).collect();
                pruned.jobs += self.remove_jobs(going).await?;
                if is_last {
                    break;
                }
            }
        }
        loop {
            let removed = self.remove_events_without_job(cutoff).await?;
            pruned.events += removed;
            if removed < BATCH as u64 {
                return Ok(pruned);
            }
        }
    }

    /// The first source, by name, that comes after this one and has jobs.
    async fn source_after(&self, source: &str) -> Result<Option<String>> {
        let row = sqlx::query("SELECT min(source) FROM jobs WHERE source > ?")
            .bind(source)
            .fetch_one(&self.readers)
            .await?;
        Ok(row.try_get(0)?)
    }

    /// The oldest of the source's newest jobs that are kept in any case; `None` where there are no
    /// more than those.
    async fn oldest_of_newest(&self, source: &str) -> Result<Option<i64>> {
        let row =
            sqlx::query("SELECT id FROM jobs WHERE source = ? ORDER BY id DESC LIMIT 1 OFFSET ?")
                .bind(source)
                .bind(NEWEST_KEPT.saturating_sub(1))
                .fetch_optional(&self.readers)
                .await?;
        Ok(row.map(|row| row.try_get(0)).transpose()?)
    }

    /// A batch of the source's jobs between two ids that nothing of the last days knows: neither an
    /// unusual clock, nor the schedule, nor the quota.
    async fn old_jobs(
        &self,
        source: &str,
        after: i64,
        before: i64,
        cutoff: DateTime<Utc>,
    ) -> Result<Vec<i64>> {
        let rows = sqlx::query(
            "SELECT id FROM jobs INDEXED BY jobs_history \
             WHERE source = ?1 AND id > ?2 AND id < ?3 AND finished_at < ?4 AND created_at < ?4 \
               AND (scheduled_for IS NULL OR scheduled_for < ?4) \
               AND NOT EXISTS (SELECT 1 FROM remote_jobs \
                               WHERE remote_jobs.job = jobs.id AND started_at >= ?4) \
             ORDER BY id LIMIT ?5",
        )
        .bind(source)
        .bind(after)
        .bind(before)
        .bind(at(cutoff))
        .bind(BATCH as i64)
        .fetch_all(&self.readers)
        .await?;
        Ok(rows.iter().map(|row| row.try_get(0)).collect::<sqlx::Result<_>>()?)
    }

    /// Removes ended jobs with all that belongs to them, in one transaction. Says how many.
    pub(super) async fn remove_jobs(&self, ids: Vec<i64>) -> Result<u64> {
        if ids.is_empty() {
            return Ok(0);
        }
        let ids = serde_json::json!(ids).to_string();
        self.write(move |db| {
            Box::pin(async move {
                for statement in [
                    "DELETE FROM events WHERE job IN (SELECT value FROM json_each(?))",
                    "DELETE FROM remote_jobs WHERE job IN (SELECT value FROM json_each(?))",
                ] {
                    sqlx::query(statement).bind(&ids).execute(&mut *db).await?;
                }
                sqlx::query("DELETE FROM jobs WHERE id IN (SELECT value FROM json_each(?))")
                    .bind(&ids)
                    .execute(db)
                    .await
                    .map(|done| done.rows_affected())
            })
        })
        .await
    }

    /// Removes a batch of old events that belong to no job. Says how many.
    async fn remove_events_without_job(&self, cutoff: DateTime<Utc>) -> Result<u64> {
        self.write(move |db| {
            Box::pin(async move {
                sqlx::query(
                    "DELETE FROM events WHERE id IN ( \
                     SELECT id FROM events WHERE job IS NULL AND at < ?1 LIMIT ?2)",
                )
                .bind(at(cutoff))
                .bind(BATCH as i64)
                .execute(db)
                .await
                .map(|done| done.rows_affected())
            })
        })
        .await
    }
}
