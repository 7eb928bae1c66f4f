//! Imports archived jobs into a history that lacks them: after the database was lost, or replaced
//! by an older copy.

use super::jobs::find;
use super::persist::persist;
use super::row::{self, at};
use super::schedules::has_job;
use super::{Result, Store};
use crate::job::{self, ArchivedJob};
use chrono::{DateTime, Utc};
use sqlx::sqlite::SqliteConnection;

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

    /// Ends the restores that are live in this copy of an older history.
    pub async fn end_copied_restores(&self, now: DateTime<Utc>) -> Result<()> {
        self.write(move |db| {
            Box::pin(async move {
                let rows = sqlx::query(
                    "SELECT * FROM jobs INDEXED BY jobs_restores \
                     WHERE operation = 'restore' AND finished_at IS NULL",
                )
                .fetch_all(&mut *db)
                .await?;
                for row in &rows {
                    if let Some(change) = job::end_of_copied(&row::job(row)?, now) {
                        persist(db, change, None, now).await?;
                    }
                }
                Ok(())
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
    let change = match find(db, archived.job).await? {
        // An older copy of the history may know the job as still under way.
        Some(known) => job::import_known(&known, archived),
        None => {
            let is_time_taken = match archived.scheduled_for {
                Some(time) => has_job(db, &archived.source, time).await?,
                None => false,
            };
            Some(job::import_unknown(archived, is_time_taken))
        }
    };
    match change {
        Some(change) => Ok(persist(db, change, None, now).await?.is_some()),
        None => Ok(false),
    }
}
