//! Imports archived jobs into a history that lacks them: after the database was lost, or replaced by
//! an older copy.

use super::jobs::add_event;
use super::row::at;
use super::{Result, Store};
use crate::job::{JobEvent, Trigger};
use chrono::{DateTime, Utc};
use sqlx::sqlite::SqliteConnection;
use std::path::PathBuf;

/// What a snapshot records about the job that made it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArchivedJob {
    /// The job's number.
    pub job: i64,
    /// Its source.
    pub source: String,
    /// The source's account; empty where no configuration names one.
    pub account: String,
    /// The scheduled time that it accounts for.
    pub scheduled_for: Option<DateTime<Utc>>,
    /// When its remote job was submitted.
    pub submitted_at: DateTime<Utc>,
    /// When the snapshot was complete.
    pub completed_at: DateTime<Utc>,
    /// The remote job's identifier, where the service gave one.
    pub remote_id: Option<String>,
    /// How many entities the service announced.
    pub expected: Option<u64>,
    /// The manifest.
    pub snapshot: PathBuf,
}

impl Store {
    /// Makes an archived job of each snapshot whose job is unknown, or is not known to be archived.
    /// Returns how many there were.
    pub async fn import_archived(
        &self,
        archived: Vec<ArchivedJob>,
        now: DateTime<Utc>,
    ) -> Result<usize> {
        self.write(move |db| {
            Box::pin(async move {
                let mut imported = 0;
                for archived in archived {
                    imported += usize::from(import_archived(db, &archived, now).await?);
                }
                Ok(imported)
            })
        })
        .await
    }

    /// Moves a source's schedule cursor up to this time at least.
    pub async fn advance_schedule(
        &self,
        source: &str,
        schedule: &str,
        since: DateTime<Utc>,
        cursor: DateTime<Utc>,
    ) -> Result<()> {
        let (source, schedule) = (source.to_owned(), schedule.to_owned());
        self.write(move |db| {
            Box::pin(async move {
                sqlx::query(
                    "INSERT INTO schedules (source, schedule, since, cursor) VALUES (?1, ?2, ?3, ?4) \
                     ON CONFLICT (source) DO UPDATE SET cursor = max(cursor, ?4)",
                )
                .bind(&source)
                .bind(&schedule)
                .bind(at(since))
                .bind(at(cursor))
                .execute(db)
                .await
                .map(drop)
            })
        })
        .await
    }
}

async fn import_archived(
    db: &mut SqliteConnection,
    archived: &ArchivedJob,
    now: DateTime<Utc>,
) -> sqlx::Result<bool> {
    let trigger = match archived.scheduled_for {
        Some(_) => Trigger::Schedule,
        None => Trigger::Manual,
    };
    let snapshot = archived.snapshot.to_string_lossy().into_owned();
    let expected = archived.expected.and_then(|expected| i64::try_from(expected).ok());
    // An older copy of the history may know the job as still under way.
    let changed = sqlx::query(
        "UPDATE jobs SET state = 'archived', finished_at = ?, snapshot = ?, hold_kind = NULL, \
         hold_message = NULL, lease_owner = NULL, submitting = 0, \
         error_kind = NULL, error_message = NULL \
         WHERE id = ? AND source = ? AND state <> 'archived'",
    )
    .bind(at(archived.completed_at))
    .bind(&snapshot)
    .bind(archived.job)
    .bind(&archived.source)
    .execute(&mut *db)
    .await?
    .rows_affected();
    let added = if changed > 0 {
        0
    } else {
        // A scheduled time has one job: should another one have it, this one goes without.
        sqlx::query(
            "INSERT INTO jobs (id, source, account, state, trigger, scheduled_for, created_at, \
             finished_at, due_at, attempts, remote_id, first_submitted_at, submitted_at, expected, \
             snapshot) \
             SELECT ?1, ?2, ?3, 'archived', ?4, CASE WHEN EXISTS ( \
               SELECT 1 FROM jobs WHERE source = ?2 AND scheduled_for = ?5) THEN NULL ELSE ?5 END, \
             ?6, ?7, ?7, 1, ?8, ?6, ?6, ?9, ?10 \
             WHERE NOT EXISTS (SELECT 1 FROM jobs WHERE id = ?1)",
        )
        .bind(archived.job)
        .bind(&archived.source)
        .bind(&archived.account)
        .bind(trigger.as_str())
        .bind(archived.scheduled_for.map(at))
        .bind(at(archived.submitted_at))
        .bind(at(archived.completed_at))
        .bind(&archived.remote_id)
        .bind(expected)
        .bind(&snapshot)
        .execute(&mut *db)
        .await?
        .rows_affected()
    };
    if added > 0 {
        sqlx::query(
            "INSERT INTO job_counts (source, state, jobs) VALUES (?, 'archived', 1) \
             ON CONFLICT (source, state) DO UPDATE SET jobs = jobs + 1",
        )
        .bind(&archived.source)
        .execute(&mut *db)
        .await?;
        // It was started, and counts against the quota for as long as any other.
        sqlx::query(
            "INSERT INTO remote_jobs (job, account, started_at, remote_id, ended_at) \
             VALUES (?, ?, ?, ?, ?)",
        )
        .bind(archived.job)
        .bind(&archived.account)
        .bind(at(archived.submitted_at))
        .bind(&archived.remote_id)
        .bind(at(archived.completed_at))
        .execute(&mut *db)
        .await?;
    }
    if changed + added > 0 {
        let event = JobEvent::new("archived", "found in the archive");
        add_event(db, Some(archived.job), &archived.source, &event, now).await?;
    }
    Ok(changed + added > 0)
}
