//! When each maintenance task last ran.

use super::row::{at, get_instant};
use super::{Result, Store};
use chrono::{DateTime, Utc};
use sqlx::Row;
use std::collections::BTreeMap;

/// What is known of a maintenance task's runs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LastRun {
    /// When its last successful run began; `None` before there was one.
    pub succeeded_at: Option<DateTime<Utc>>,
    /// When its last run began, successful or not.
    pub tried_at: Option<DateTime<Utc>>,
    /// How many runs failed since the last successful one.
    pub failures: u32,
}

impl Store {
    /// The last run of each task that ever ran, by the task's name.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn maintenance_runs(&self) -> Result<BTreeMap<String, LastRun>> {
        let rows = sqlx::query("SELECT task, succeeded_at, tried_at, failures FROM maintenance")
            .fetch_all(&self.readers)
            .await?;
        let run = |row: &sqlx::sqlite::SqliteRow| {
            let failures: i64 = row.try_get("failures")?;
            Ok((
                row.try_get("task")?,
                LastRun {
                    succeeded_at: get_instant(row, "succeeded_at")?,
                    tried_at: get_instant(row, "tried_at")?,
                    failures: u32::try_from(failures).unwrap_or(u32::MAX),
                },
            ))
        };
        Ok(rows.iter().map(run).collect::<sqlx::Result<_>>()?)
    }

    /// Stores what is known of a task's runs. A run that was never tried is not stored.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn record_maintenance(&self, task: &str, run: &LastRun) -> Result<()> {
        let Some(tried_at) = run.tried_at else { return Ok(()) };
        let (task, run) = (task.to_owned(), run.clone());
        self.write(move |db| {
            Box::pin(async move {
                sqlx::query(
                    "INSERT INTO maintenance (task, succeeded_at, tried_at, failures) \
                     VALUES (?1, ?2, ?3, ?4) ON CONFLICT (task) DO UPDATE \
                     SET succeeded_at = ?2, tried_at = ?3, failures = ?4",
                )
                .bind(&task)
                .bind(run.succeeded_at.map(at))
                .bind(at(tried_at))
                .bind(run.failures)
                .execute(db)
                .await
                .map(drop)
            })
        })
        .await
    }
}
