//! Reads the history: lists, timelines, counts.

use super::claim::usage;
use super::row::{self, at, instant};
use super::{Result, Store};
use crate::job::{Job, State};
use chrono::{DateTime, Utc};
use serde::Serialize;
use sqlx::Row;
use std::collections::BTreeSet;

/// Which jobs to list.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// Of this source only.
    pub source: Option<String>,
    /// In this state only.
    pub state: Option<State>,
    /// At most this many, the newest.
    pub limit: u32,
    /// Only jobs older than the one of this number.
    pub before: Option<i64>,
}

/// One line of a timeline.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TimelineEvent {
    /// When; the first time, where it happened repeatedly.
    pub at: DateTime<Utc>,
    /// The word of an [`EventKind`](crate::job::EventKind), as it is stored: what an edited
    /// database has there is shown, too.
    pub kind: String,
    /// A sentence for people; the last one, where it happened repeatedly.
    pub message: String,
    /// How often it happened in a row for the same reason, at least 1.
    pub count: u32,
    /// When it happened last; `at` where it happened once.
    pub last_at: DateTime<Utc>,
}

/// How many of a source's jobs were archived or failed on a day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DayJobs {
    /// Which of the days that were asked about, from 0.
    pub day: usize,
    /// Archived, and not among the marked ones.
    pub archived: u32,
    /// Archived, and among the marked ones.
    pub marked: u32,
    /// Failed.
    pub failed: u32,
}

impl Store {
    /// How a source's jobs ended on each of these days, by the time that a job is for, or else
    /// its creation. `starts` are the days' first instants, in order; the last day has no end. Days
    /// without a job that was archived or failed are left out.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn days(
        &self,
        source: &str,
        starts: &[DateTime<Utc>],
        marked: &BTreeSet<i64>,
    ) -> Result<Vec<DayJobs>> {
        let ends = starts.iter().skip(1).copied().map(at).chain([i64::MAX]);
        let days: Vec<_> = starts.iter().copied().map(at).zip(ends).collect();
        let rows = sqlx::query(
            "SELECT json_each.key AS day, \
               sum(state = 'archived' AND jobs.id NOT IN (SELECT value FROM json_each(?3))) AS a, \
               sum(state = 'archived' AND jobs.id IN (SELECT value FROM json_each(?3))) AS t, \
               sum(state = 'failed') AS f \
             FROM json_each(?2) CROSS JOIN jobs INDEXED BY jobs_by_time \
             WHERE source = ?1 AND state IN ('archived', 'failed') \
               AND operation = 'backup' AND version IS NULL \
               AND coalesce(scheduled_for, created_at) >= json_each.value ->> 0 \
               AND coalesce(scheduled_for, created_at) < json_each.value ->> 1 \
             GROUP BY json_each.key",
        )
        .bind(source)
        .bind(serde_json::json!(days).to_string())
        .bind(serde_json::json!(marked).to_string())
        .fetch_all(&self.readers)
        .await?;
        let count = |row: &sqlx::sqlite::SqliteRow, column| -> sqlx::Result<u32> {
            Ok(u32::try_from(row.try_get::<i64, _>(column)?).unwrap_or(u32::MAX))
        };
        let day = |row: &sqlx::sqlite::SqliteRow| {
            Ok(DayJobs {
                day: usize::try_from(row.try_get::<i64, _>("day")?).unwrap_or(usize::MAX),
                archived: count(row, "a")?,
                marked: count(row, "t")?,
                failed: count(row, "f")?,
            })
        };
        Ok(rows.iter().map(day).collect::<sqlx::Result<_>>()?)
    }

    /// Jobs, newest first.
    pub async fn jobs(&self, filter: &Filter) -> Result<Vec<Job>> {
        // One statement for each shape, so that each has its index.
        let statement = match (&filter.source, filter.state) {
            (None, None) => "SELECT * FROM jobs WHERE id < ?4 ORDER BY id DESC LIMIT ?3",
            (Some(_), None) => {
                "SELECT * FROM jobs WHERE source = ?1 AND id < ?4 ORDER BY id DESC LIMIT ?3"
            }
            (None, Some(_)) => {
                "SELECT * FROM jobs WHERE state = ?2 AND id < ?4 ORDER BY id DESC LIMIT ?3"
            }
            (Some(_), Some(_)) => {
                "SELECT * FROM jobs WHERE source = ?1 AND state = ?2 AND id < ?4 \
                 ORDER BY id DESC LIMIT ?3"
            }
        };
        let rows = sqlx::query(statement)
            .bind(&filter.source)
            .bind(filter.state.map(State::as_str))
            .bind(filter.limit)
            .bind(filter.before.unwrap_or(i64::MAX))
            .fetch_all(&self.readers)
            .await?;
        Ok(rows.iter().map(row::job).collect::<sqlx::Result<_>>()?)
    }

    /// Every live job, oldest first.
    pub async fn live_jobs(&self) -> Result<Vec<Job>> {
        let rows = sqlx::query(
            "SELECT * FROM jobs INDEXED BY jobs_due WHERE finished_at IS NULL ORDER BY id",
        )
        .fetch_all(&self.readers)
        .await?;
        Ok(rows.iter().map(row::job).collect::<sqlx::Result<_>>()?)
    }

    /// A source's newest ordinary backup that ended by itself, well or not.
    pub async fn last_ended(&self, source: &str) -> Result<Option<Job>> {
        let row = sqlx::query(
            "SELECT * FROM jobs WHERE source = ? AND state IN ('archived', 'failed') \
               AND operation = 'backup' AND version IS NULL ORDER BY id DESC LIMIT 1",
        )
        .bind(source)
        .fetch_optional(&self.readers)
        .await?;
        Ok(row.as_ref().map(row::job).transpose()?)
    }

    /// A source's newest ordinary backup that is archived.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn last_archived(&self, source: &str) -> Result<Option<Job>> {
        let row = sqlx::query(
            "SELECT * FROM jobs WHERE source = ? AND state = 'archived' \
               AND operation = 'backup' AND version IS NULL ORDER BY id DESC LIMIT 1",
        )
        .bind(source)
        .fetch_optional(&self.readers)
        .await?;
        Ok(row.as_ref().map(row::job).transpose()?)
    }

    /// When a source's first job was made.
    pub async fn first_job(&self, source: &str) -> Result<Option<DateTime<Utc>>> {
        let row = sqlx::query("SELECT created_at FROM jobs WHERE source = ? ORDER BY id LIMIT 1")
            .bind(source)
            .fetch_optional(&self.readers)
            .await?;
        Ok(row.map(|row| row.try_get(0)).transpose()?.map(instant))
    }

    /// A job's timeline, in order.
    pub async fn timeline(&self, job: i64) -> Result<Vec<TimelineEvent>> {
        let rows = sqlx::query(
            "SELECT at, kind, message, count, coalesce(last_at, at) AS last_at \
             FROM events WHERE job = ? ORDER BY id",
        )
        .bind(job)
        .fetch_all(&self.readers)
        .await?;
        Ok(rows.iter().map(event).collect::<sqlx::Result<_>>()?)
    }

    /// At most this many lines of a job's timeline, the newest first.
    pub async fn newest_events(&self, job: i64, most: u32) -> Result<Vec<TimelineEvent>> {
        let rows = sqlx::query(
            "SELECT at, kind, message, count, coalesce(last_at, at) AS last_at \
             FROM events WHERE job = ? ORDER BY id DESC LIMIT ?",
        )
        .bind(job)
        .bind(most)
        .fetch_all(&self.readers)
        .await?;
        Ok(rows.iter().map(event).collect::<sqlx::Result<_>>()?)
    }

    /// How many jobs of each source ended in each state, ever.
    pub async fn ended_counts(&self) -> Result<Vec<(String, String, i64)>> {
        let rows = sqlx::query("SELECT source, state, jobs FROM job_counts")
            .fetch_all(&self.readers)
            .await?;
        let count = |row: &sqlx::sqlite::SqliteRow| {
            Ok((row.try_get("source")?, row.try_get("state")?, row.try_get("jobs")?))
        };
        Ok(rows.iter().map(count).collect::<sqlx::Result<_>>()?)
    }

    /// How long archived jobs took, by source: for each bound of [`DURATIONS`] that any reached,
    /// the jobs below it and above the one before, and their time together.
    pub async fn durations(&self) -> Result<Vec<JobDurations>> {
        let rows = sqlx::query("SELECT * FROM job_durations ORDER BY source, seconds")
            .fetch_all(&self.readers)
            .await?;
        let took = |row: &sqlx::sqlite::SqliteRow| {
            Ok(JobDurations {
                source: row.try_get("source")?,
                bound: row.try_get("seconds")?,
                jobs: row.try_get::<i64, _>("jobs")?.unsigned_abs(),
                seconds: row.try_get::<i64, _>("milliseconds")? as f64 / 1000.0,
            })
        };
        Ok(rows.iter().map(took).collect::<sqlx::Result<_>>()?)
    }

    /// How many events of each kind each source's jobs ever had, each repeat counted.
    pub async fn event_counts(&self) -> Result<Vec<(String, String, i64)>> {
        let rows = sqlx::query("SELECT source, kind, events FROM event_counts")
            .fetch_all(&self.readers)
            .await?;
        let count = |row: &sqlx::sqlite::SqliteRow| {
            Ok((row.try_get("source")?, row.try_get("kind")?, row.try_get("events")?))
        };
        Ok(rows.iter().map(count).collect::<sqlx::Result<_>>()?)
    }

    /// How many remote jobs of an account count as unfinished, and how many were started in the
    /// last 24 hours.
    pub async fn quota_used(&self, account: &str, now: DateTime<Utc>) -> Result<(u32, u32)> {
        let mut connection = self.readers.acquire().await?;
        let used = usage(&mut connection, account, now).await?;
        let count = |starts: usize| u32::try_from(starts).unwrap_or(u32::MAX);
        Ok((count(used.running.len()), count(used.started.len())))
    }
}

fn event(row: &sqlx::sqlite::SqliteRow) -> sqlx::Result<TimelineEvent> {
    Ok(TimelineEvent {
        at: instant(row.try_get("at")?),
        kind: row.try_get("kind")?,
        message: row.try_get("message")?,
        count: u32::try_from(row.try_get::<i64, _>("count")?).unwrap_or(u32::MAX),
        last_at: instant(row.try_get("last_at")?),
    })
}

/// The bounds, in seconds, between which the durations of jobs are counted; what takes longer is
/// counted beyond them.
pub const DURATIONS: [u32; 10] = [10, 30, 60, 300, 900, 3600, 10_800, 21_600, 43_200, 86_400];

/// Jobs of a source that took about as long.
#[derive(Debug, Clone, PartialEq)]
pub struct JobDurations {
    /// The source's name.
    pub source: String,
    /// They took no longer than this, in seconds; beyond [`DURATIONS`] a number larger than all.
    pub bound: i64,
    /// How many there are.
    pub jobs: u64,
    /// How long they took together.
    pub seconds: f64,
}
