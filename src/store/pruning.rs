//! Removes history past its retention time, in small transactions.

use super::row::{at, instant};
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
/// How much of the oldest history one call removes at most, of each source: a clock that is years
/// ahead for a night costs no more than that, and a history that is too long shrinks all the same.
const REMOVED_AT_ONCE: TimeDelta = TimeDelta::days(2);
/// How many jobs one transaction removes: other writes wait for no more than that.
const BATCH: usize = 100;

/// What is older than this may go, where the oldest that may go is of `oldest`.
fn cutoff(now: DateTime<Utc>, oldest: DateTime<Utc>) -> Option<DateTime<Utc>> {
    let by_age = now.checked_sub_signed(HISTORY_KEPT)?;
    Some(by_age.min(oldest.checked_add_signed(REMOVED_AT_ONCE)?))
}

/// What was removed from the history.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PrunedHistory {
    /// Ended jobs, with all that belongs to them.
    pub jobs: u64,
    /// Events that belonged to no job.
    pub events: u64,
}

impl Store {
    /// Removes jobs that ended more than [`HISTORY_KEPT`] ago, except those in `keep`, those of the
    /// sources in `skip` and the newest [`NEWEST_KEPT`] of each source, and events of that age that
    /// belong to no job. Of what may go, one call removes the oldest two days: `now` may be wrong.
    /// What is counted for each source stays counted, and no id is used again.
    ///
    /// To be called once a night.
    ///
    /// # Errors
    /// When the database cannot be read or written. What was removed until then stays removed; the
    /// next call goes on.
    pub async fn prune_history(
        &self,
        keep: &BTreeSet<i64>,
        skip: &BTreeSet<String>,
        now: DateTime<Utc>,
    ) -> Result<PrunedHistory> {
        let mut pruned = PrunedHistory::default();
        let mut source = String::new();
        while let Some(next) = self.source_after(&source).await? {
            source = next;
            if skip.contains(&source) {
                continue;
            }
            let Some(newest_kept) = self.oldest_of_newest(&source).await? else { continue };
            let oldest = self.oldest_removable(&source, newest_kept, keep).await?;
            let Some(cutoff) = oldest.and_then(|oldest| cutoff(now, oldest)) else { continue };
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
        let oldest = self.oldest_event_without_job().await?;
        let Some(cutoff) = oldest.and_then(|oldest| cutoff(now, oldest)) else { return Ok(pruned) };
        loop {
            let removed = self.remove_events_without_job(cutoff).await?;
            pruned.events += removed;
            if removed < BATCH as u64 {
                return Ok(pruned);
            }
        }
    }

    /// The sources whose jobs name snapshots.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn sources_with_snapshots(&self) -> Result<BTreeSet<String>> {
        let (mut found, mut source) = (BTreeSet::new(), String::new());
        while let Some(next) = self.source_after(&source).await? {
            source = next;
            let row = sqlx::query(
                "SELECT id FROM jobs INDEXED BY jobs_history \
                 WHERE source = ? AND snapshot IS NOT NULL ORDER BY id DESC LIMIT 1",
            )
            .bind(&source)
            .fetch_optional(&self.readers)
            .await?;
            if row.is_some() {
                found.insert(source.clone());
            }
        }
        Ok(found)
    }

    /// The age of the source's oldest ended job before this id that is not in `keep`: the last
    /// instant that anything of the job names.
    async fn oldest_removable(
        &self,
        source: &str,
        before: i64,
        keep: &BTreeSet<i64>,
    ) -> Result<Option<DateTime<Utc>>> {
        let row = sqlx::query(
            "SELECT min(max(finished_at, created_at, coalesce(scheduled_for, created_at), \
                 coalesce((SELECT max(started_at) FROM remote_jobs \
                           WHERE remote_jobs.job = jobs.id), created_at))) \
             FROM jobs INDEXED BY jobs_history \
             WHERE source = ?1 AND id < ?2 AND finished_at IS NOT NULL \
               AND id NOT IN (SELECT value FROM json_each(?3))",
        )
        .bind(source)
        .bind(before)
        .bind(serde_json::json!(keep).to_string())
        .fetch_one(&self.readers)
        .await?;
        Ok(row.try_get::<Option<i64>, _>(0)?.map(instant))
    }

    /// When the oldest event was that belongs to no job.
    async fn oldest_event_without_job(&self) -> Result<Option<DateTime<Utc>>> {
        let row = sqlx::query("SELECT min(at) FROM events WHERE job IS NULL")
            .fetch_one(&self.readers)
            .await?;
        Ok(row.try_get::<Option<i64>, _>(0)?.map(instant))
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

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::TimeZone;

    #[test]
    fn whatever_the_clock_says_no_more_than_the_two_oldest_days_go() {
        let noon = Utc.with_ymd_and_hms(2026, 11, 25, 12, 0, 0).unwrap();
        let day = |days: i64| noon + TimeDelta::days(days);
        for (now, oldest, expected) in [
            // Every night.
            (day(0), day(-401), Some(day(-400))),
            (day(0), day(-400), Some(day(-400))),
            (day(0), day(-3), Some(day(-400))),
            // After months without a night.
            (day(0), day(-500), Some(day(-498))),
            // Two years ahead, or wherever it can be.
            (day(730), day(-400), Some(day(-398))),
            (DateTime::<Utc>::MAX_UTC, day(-400), Some(day(-398))),
            // In the year 1, or before any.
            (DateTime::<Utc>::MIN_UTC, day(-400), None),
            (day(-20_000), day(-400), Some(day(-20_400))),
            (day(0), DateTime::<Utc>::MAX_UTC, None),
        ] {
            assert_eq!(cutoff(now, oldest), expected, "{now} {oldest}");
        }
    }
}
