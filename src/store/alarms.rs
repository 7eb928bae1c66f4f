//! The alarms that were sent.

use super::row::{at, instant};
use super::{Result, Store};
use crate::policy::alarms::{Alarm, AlarmChange, AlarmKind, Change, SentAlarm};
use chrono::{DateTime, Utc};
use sqlx::Row;

impl Store {
    /// All sent alarms that are not over.
    pub async fn sent_alarms(&self) -> Result<Vec<SentAlarm>> {
        let rows =
            sqlx::query("SELECT * FROM alarms ORDER BY place").fetch_all(&self.readers).await?;
        let sent = |row: &sqlx::sqlite::SqliteRow| {
            let word: String = row.try_get("kind")?;
            Ok(SentAlarm {
                alarm: Alarm {
                    key: row.try_get("place")?,
                    kind: AlarmKind::of_word(&word).unwrap_or(AlarmKind::Failed),
                    about: row.try_get("about")?,
                    message: row.try_get("message")?,
                },
                since: instant(row.try_get("since")?),
                sent_at: instant(row.try_get("told_at")?),
                acknowledged: row.try_get::<i64, _>("heard")? != 0,
            })
        };
        Ok(rows.iter().map(sent).collect::<sqlx::Result<_>>()?)
    }

    /// Claims the sending of a change for this process. `false` when another process has claimed it
    /// since the change was computed: then it must not be sent again.
    pub async fn claim_change(&self, change: &AlarmChange, now: DateTime<Utc>) -> Result<bool> {
        let AlarmChange { change, alarm, since, sent_at, .. } = change.clone();
        let (now, sent_at) = (at(now), sent_at.map(at));
        self.write(move |connection| {
            Box::pin(async move {
                let query = match (change, sent_at) {
                    (Change::Recovered, _) => {
                        sqlx::query("DELETE FROM alarms WHERE place = ? AND told_at IS ?")
                            .bind(alarm.key)
                            .bind(sent_at)
                    }
                    (_, None) => sqlx::query(
                        "INSERT INTO alarms (place, kind, about, message, since, told_at) \
                         VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (place) DO NOTHING",
                    )
                    .bind(alarm.key)
                    .bind(alarm.kind.as_str())
                    .bind(alarm.about)
                    .bind(alarm.message)
                    .bind(at(since))
                    .bind(now),
                    (_, Some(_)) => sqlx::query(
                        "UPDATE alarms SET kind = ?, message = ?, since = ?, told_at = ?, \
                         heard = heard AND ? WHERE place = ? AND told_at = ?",
                    )
                    .bind(alarm.kind.as_str())
                    .bind(alarm.message)
                    .bind(at(since))
                    .bind(now)
                    // A reminder that no channel accepts does not undo an acknowledgement.
                    .bind(change == Change::Still)
                    .bind(alarm.key)
                    .bind(sent_at),
                };
                Ok(query.execute(connection).await?.rows_affected() > 0)
            })
        })
        .await
    }

    /// Records that a channel has accepted the message about a key.
    pub async fn acknowledge(&self, key: &str) -> Result<()> {
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
