//! Reading what happened: lists, timelines, counts.

use super::row::{self, instant};
use super::{Result, Store};
use crate::job::{Job, State};
use chrono::{DateTime, Utc};
use serde::Serialize;
use sqlx::Row;

/// Which jobs to list.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// Of this source only.
    pub source: Option<String>,
    /// In this state only.
    pub state: Option<State>,
    /// At most so many, the newest.
    pub limit: u32,
}

/// One line of a timeline.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TimelineEvent {
    /// When.
    pub at: DateTime<Utc>,
    /// A word for programs.
    pub kind: String,
    /// A sentence for people.
    pub message: String,
}

impl Store {
    /// Jobs, newest first.
    pub async fn jobs(&self, filter: &Filter) -> Result<Vec<Job>> {
        // One statement for each shape, so that each has its index.
        let statement = match (&filter.source, filter.state) {
            (None, None) => "SELECT * FROM jobs ORDER BY id DESC LIMIT ?3",
            (Some(_), None) => "SELECT * FROM jobs WHERE source = ?1 ORDER BY id DESC LIMIT ?3",
            (None, Some(_)) => "SELECT * FROM jobs WHERE state = ?2 ORDER BY id DESC LIMIT ?3",
            (Some(_), Some(_)) => {
                "SELECT * FROM jobs WHERE source = ?1 AND state = ?2 ORDER BY id DESC LIMIT ?3"
            }
        };
        let rows = sqlx::query(statement)
            .bind(&filter.source)
            .bind(filter.state.map(State::as_str))
            .bind(filter.limit)
            .fetch_all(&self.readers)
            .await?;
        Ok(rows.iter().map(row::job).collect::<sqlx::Result<_>>()?)
    }

    /// Every live job, oldest first.
    pub async fn live_jobs(&self) -> Result<Vec<Job>> {
        let rows = sqlx::query(
            "SELECT * FROM jobs WHERE state IN ('queued', 'waiting', 'ready') ORDER BY id",
        )
        .fetch_all(&self.readers)
        .await?;
        Ok(rows.iter().map(row::job).collect::<sqlx::Result<_>>()?)
    }

    /// A source's newest job that ended by itself, well or not.
    pub async fn last_ended(&self, source: &str) -> Result<Option<Job>> {
        let row = sqlx::query(
            "SELECT * FROM jobs WHERE source = ? AND state IN ('archived', 'failed') \
             ORDER BY id DESC LIMIT 1",
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
        let rows = sqlx::query("SELECT at, kind, message FROM events WHERE job = ? ORDER BY id")
            .bind(job)
            .fetch_all(&self.readers)
            .await?;
        let event = |row: &sqlx::sqlite::SqliteRow| {
            Ok(TimelineEvent {
                at: instant(row.try_get("at")?),
                kind: row.try_get("kind")?,
                message: row.try_get("message")?,
            })
        };
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
}
