//! The schedule's cursor: up to when each source's times are accounted for, moved in the same
//! transaction that makes the job or records the skip.

use super::jobs::{next_id, occupant};
use super::persist::{add_source_event, persist};
use super::row::{at, instant};
use super::{Result, Store};
use crate::job::{self, Change, Job, NewJob, ScheduledTime, SourceEvent};
use chrono::{DateTime, Utc};
use sqlx::Row;

/// How far a source's schedule is accounted for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cursor {
    /// The schedule and its zone, as they were when the cursor was set.
    pub schedule: String,
    /// Since when the source is known with this schedule.
    pub since: DateTime<Utc>,
    /// Every scheduled time up to here is accounted for.
    pub cursor: DateTime<Utc>,
}

/// What became of a scheduled time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Accounted {
    /// A job was made for it.
    Job(Box<Job>),
    /// It was skipped, because this job of the source is live.
    Skipped(i64),
    /// Another process has accounted for it already.
    Already,
}

impl Store {
    /// The cursor of a source; `None` before it was first scheduled.
    pub async fn cursor(&self, source: &str) -> Result<Option<Cursor>> {
        let row = sqlx::query("SELECT schedule, since, cursor FROM schedules WHERE source = ?")
            .bind(source)
            .fetch_optional(&self.readers)
            .await?;
        let Some(row) = row else { return Ok(None) };
        Ok(Some(Cursor {
            schedule: row.try_get("schedule")?,
            since: instant(row.try_get("since")?),
            cursor: instant(row.try_get("cursor")?),
        }))
    }

    /// Starts a source's schedule at `now`: for a new source, or for a changed schedule. What came
    /// before is not owed.
    pub async fn start_schedule(
        &self,
        source: &str,
        schedule: &str,
        now: DateTime<Utc>,
    ) -> Result<()> {
        let (source, schedule) = (source.to_owned(), schedule.to_owned());
        self.write(move |db| {
            Box::pin(async move {
                sqlx::query(
                    "INSERT INTO schedules (source, schedule, since, cursor) VALUES (?1, ?2, ?3, ?3) \
                     ON CONFLICT (source) DO UPDATE SET schedule = ?2, since = ?3, cursor = ?3 \
                     WHERE schedule <> ?2",
                )
                .bind(&source)
                .bind(&schedule)
                .bind(at(now))
                .execute(db)
                .await
                .map(drop)
            })
        })
        .await
    }

    /// Accounts for the scheduled time `time` once and for all: as a job, or as a skip when one is
    /// live. `missed` says how many earlier times it stands for.
    pub async fn account_for(
        &self,
        new: NewJob,
        time: DateTime<Utc>,
        missed: usize,
        now: DateTime<Utc>,
    ) -> Result<Accounted> {
        self.write(move |db| {
            Box::pin(async move {
                if !advance(db, &new.source, time).await? {
                    return Ok(Accounted::Already);
                }
                if has_job(db, &new.source, time).await? {
                    // Made while the clock was ahead, before it was set right.
                    return Ok(Accounted::Already);
                }
                let live = occupant(db, &new.source, now).await?;
                let scheduled = ScheduledTime { at: time, missed };
                let id = next_id(db).await?;
                let change = job::account_for(live.as_ref(), id, new, scheduled, now);
                let persisted = persist(db, change, None, now).await?;
                let job = persisted.map(Change::into_job).ok_or(sqlx::Error::RowNotFound)?;
                Ok(match live {
                    Some(live) => Accounted::Skipped(live.id),
                    None => Accounted::Job(Box::new(job)),
                })
            })
        })
        .await
    }

    /// Accounts for missed times that are not to be made up for.
    pub async fn record_missed(
        &self,
        source: &str,
        time: DateTime<Utc>,
        missed: usize,
        now: DateTime<Utc>,
    ) -> Result<bool> {
        let source = source.to_owned();
        self.write(move |db| {
            Box::pin(async move {
                let moved = advance(db, &source, time).await?;
                if moved {
                    let event = SourceEvent::Missed { times: missed, until: time };
                    add_source_event(db, &source, &event, now).await?;
                }
                Ok(moved)
            })
        })
        .await
    }
}

/// Whether the source has a job for this time already.
pub(super) async fn has_job(
    db: &mut sqlx::sqlite::SqliteConnection,
    source: &str,
    time: DateTime<Utc>,
) -> sqlx::Result<bool> {
    let row = sqlx::query("SELECT 1 FROM jobs WHERE source = ? AND scheduled_for = ?")
        .bind(source)
        .bind(at(time))
        .fetch_optional(db)
        .await?;
    Ok(row.is_some())
}

/// Moves the cursor forward to `time`; `false` when it is there already.
async fn advance(
    db: &mut sqlx::sqlite::SqliteConnection,
    source: &str,
    time: DateTime<Utc>,
) -> sqlx::Result<bool> {
    let moved = sqlx::query("UPDATE schedules SET cursor = ?1 WHERE source = ?2 AND cursor < ?1")
        .bind(at(time))
        .bind(source)
        .execute(db)
        .await?
        .rows_affected();
    Ok(moved == 1)
}
