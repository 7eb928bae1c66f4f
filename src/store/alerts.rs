//! The alerts that were sent.

use super::row::{at, instant};
use super::{Result, Store};
use chrono::{DateTime, Utc};
use sqlx::Row;

/// An alert that was sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SentAlert {
    /// Identifies the problem.
    pub key: String,
    /// What kind of problem it is, as a word.
    pub kind: String,
    /// The source, account, folder or service.
    pub about: String,
    /// What is wrong, and what to do, as it was last sent.
    pub message: String,
    /// When the problem was first seen.
    pub since: DateTime<Utc>,
    /// When it was last sent.
    pub sent_at: DateTime<Utc>,
    /// Whether a channel has accepted the message.
    pub acknowledged: bool,
}

impl Store {
    /// All sent alerts whose problems are not over.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn sent_alerts(&self) -> Result<Vec<SentAlert>> {
        let rows =
            sqlx::query("SELECT * FROM alarms ORDER BY place").fetch_all(&self.readers).await?;
        let sent = |row: &sqlx::sqlite::SqliteRow| {
            Ok(SentAlert {
                key: row.try_get("place")?,
                kind: row.try_get("kind")?,
                about: row.try_get("about")?,
                message: row.try_get("message")?,
                since: instant(row.try_get("since")?),
                sent_at: instant(row.try_get("told_at")?),
                acknowledged: row.try_get::<i64, _>("heard")? != 0,
            })
        };
        Ok(rows.iter().map(sent).collect::<sqlx::Result<_>>()?)
    }

    /// Stores an alert that is about to be sent, in place of the one of its key that was sent at
    /// `replaces`. `false` when another process has sent one since that was read: then it must not
    /// be sent again.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn claim_alert(
        &self,
        alert: &SentAlert,
        replaces: Option<DateTime<Utc>>,
    ) -> Result<bool> {
        let (alert, replaces) = (alert.clone(), replaces.map(at));
        self.write(move |connection| {
            Box::pin(async move {
                let query = match replaces {
                    None => sqlx::query(
                        "INSERT INTO alarms (place, kind, about, message, since, told_at, heard) \
                         VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (place) DO NOTHING",
                    )
                    .bind(alert.key)
                    .bind(alert.kind)
                    .bind(alert.about)
                    .bind(alert.message)
                    .bind(at(alert.since))
                    .bind(at(alert.sent_at))
                    .bind(alert.acknowledged),
                    Some(replaces) => sqlx::query(
                        "UPDATE alarms SET kind = ?, message = ?, since = ?, told_at = ?, \
                         heard = heard AND ? WHERE place = ? AND told_at = ?",
                    )
                    .bind(alert.kind)
                    .bind(alert.message)
                    .bind(at(alert.since))
                    .bind(at(alert.sent_at))
                    .bind(alert.acknowledged)
                    .bind(alert.key)
                    .bind(replaces),
                };
                Ok(query.execute(connection).await?.rows_affected() > 0)
            })
        })
        .await
    }

    /// Removes the alert of a key whose problem is over. `false` when another process has done so,
    /// or has sent it again since `sent_at`.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn end_alert(&self, key: &str, sent_at: DateTime<Utc>) -> Result<bool> {
        let (key, sent_at) = (key.to_owned(), at(sent_at));
        self.write(move |connection| {
            Box::pin(async move {
                let query = sqlx::query("DELETE FROM alarms WHERE place = ? AND told_at = ?");
                let ended = query.bind(key).bind(sent_at).execute(connection).await?;
                Ok(ended.rows_affected() > 0)
            })
        })
        .await
    }

    /// Records that a channel has accepted the message about a key.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn acknowledge_alert(&self, key: &str) -> Result<()> {
        let key = key.to_owned();
        self.write(move |connection| {
            Box::pin(async move {
                sqlx::query("UPDATE alarms SET heard = 1 WHERE place = ?")
                    .bind(key)
                    .execute(connection)
                    .await?;
                Ok(())
            })
        })
        .await
    }
}
