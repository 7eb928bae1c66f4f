//! How values stand in rows: instants as milliseconds, words as text.

use crate::job::{
    ErrorKind, Job, JobError, Operation, RemoteJob, Restore, State, Trigger, Wait, WaitReason,
};
use chrono::{DateTime, TimeDelta, Utc};
use sqlx::sqlite::SqliteRow;
use sqlx::{Error, Row};
use std::path::PathBuf;
use std::str::FromStr;

/// An instant, as it is stored.
pub(super) fn at(instant: DateTime<Utc>) -> i64 {
    instant.timestamp_millis()
}

/// A stored instant. An invalid one (never written) becomes the epoch.
pub(super) fn instant(millis: i64) -> DateTime<Utc> {
    DateTime::from_timestamp_millis(millis).unwrap_or_default()
}

pub(super) fn get_instant(row: &SqliteRow, column: &str) -> Result<Option<DateTime<Utc>>, Error> {
    Ok(row.try_get::<Option<i64>, _>(column)?.map(instant))
}

fn needed(row: &SqliteRow, column: &str) -> Result<DateTime<Utc>, Error> {
    Ok(instant(row.try_get(column)?))
}

fn word<T: FromStr<Err = String>>(row: &SqliteRow, column: &str) -> Result<Option<T>, Error> {
    row.try_get::<Option<String>, _>(column)?
        .map(|text| text.parse().map_err(|error: String| undecodable(column, error)))
        .transpose()
}

fn needed_word<T: FromStr<Err = String>>(row: &SqliteRow, column: &str) -> Result<T, Error> {
    word(row, column)?.ok_or_else(|| undecodable(column, "missing".into()))
}

fn undecodable(column: &str, error: String) -> Error {
    Error::ColumnDecode { index: column.to_owned(), source: error.into() }
}

fn count(row: &SqliteRow, column: &str) -> Result<u32, Error> {
    Ok(u32::try_from(row.try_get::<i64, _>(column)?).unwrap_or(u32::MAX))
}

/// A row of `jobs`.
pub(super) fn job(row: &SqliteRow) -> Result<Job, Error> {
    let waiting = word::<WaitReason>(row, "hold_kind")?.zip(row.try_get("hold_message")?);
    let error = word::<ErrorKind>(row, "error_kind")?.zip(row.try_get("error_message")?);
    Ok(Job {
        id: row.try_get("id")?,
        operation: needed_word::<Operation>(row, "operation")?,
        version: row.try_get("version")?,
        restore: restore(row)?,
        source: row.try_get("source")?,
        account: row.try_get("account")?,
        state: needed_word::<State>(row, "state")?,
        trigger: needed_word::<Trigger>(row, "trigger")?,
        scheduled_for: get_instant(row, "scheduled_for")?,
        created_at: needed(row, "created_at")?,
        finished_at: get_instant(row, "finished_at")?,
        due_at: needed(row, "due_at")?,
        wait: TimeDelta::milliseconds(row.try_get("wait_ms")?),
        waiting: waiting.map(|(why, message)| Wait { why, message }),
        attempts: count(row, "attempts")?,
        polls: count(row, "polls")?,
        rounds: count(row, "rounds")?,
        failures: count(row, "failures")?,
        first_submitted_at: get_instant(row, "first_submitted_at")?,
        remote: remote(row)?,
        error: error.map(|(kind, message)| JobError { kind, message }),
        snapshot: row.try_get::<Option<String>, _>("snapshot")?.map(PathBuf::from),
    })
}

/// What a restore is to do and has learnt.
fn restore(row: &SqliteRow) -> Result<Option<Box<Restore>>, Error> {
    row.try_get::<Option<String>, _>("restore")?
        .map(|text| serde_json::from_str(&text))
        .transpose()
        .map_err(|error| undecodable("restore", error.to_string()))
}

/// The remote job in a row of `jobs`; `None` where nothing is known of one.
fn remote(row: &SqliteRow) -> Result<Option<RemoteJob>, Error> {
    let record: Option<i64> = row.try_get("remote")?;
    let submitted_at = get_instant(row, "submitted_at")?;
    if record.is_none() && submitted_at.is_none() {
        return Ok(None);
    }
    Ok(Some(RemoteJob {
        record,
        requested: row.try_get("requested")?,
        submitting: row.try_get::<i64, _>("submitting")? != 0,
        submitted_at: submitted_at.map_or_else(|| needed(row, "created_at"), Ok)?,
        id: row.try_get("remote_id")?,
        status_url: row.try_get("status_url")?,
        result_url: row.try_get("result_url")?,
        expected: row
            .try_get::<Option<i64>, _>("expected")?
            .and_then(|expected| u64::try_from(expected).ok()),
        missing_since: get_instant(row, "missing_since")?,
    }))
}
