//! What somebody has been told is broken.

use super::row::{at, instant};
use super::{Result, Store};
use crate::plan::alarms::{Alarm, AlarmKind, Change, News, Told};
use chrono::{DateTime, Utc};
use sqlx::Row;

impl Store {
    /// Everything that somebody has been told is broken, and is not known to be well again.
    pub async fn told_alarms(&self) -> Result<Vec<Told>> {
        let rows =
            sqlx::query("SELECT * FROM alarms ORDER BY place").fetch_all(&self.readers).await?;
        let told = |row: &sqlx::sqlite::SqliteRow| {
            let word: String = row.try_get("kind")?;
            Ok(Told {
                alarm: Alarm {
                    place: row.try_get("place")?,
                    kind: AlarmKind::of_word(&word).unwrap_or(AlarmKind::Failed),
                    about: row.try_get("about")?,
                    message: row.try_get("message")?,
                },
                since: instant(row.try_get("since")?),
                told_at: instant(row.try_get("told_at")?),
                heard: row.try_get::<i64, _>("heard")? != 0,
            })
        };
        Ok(rows.iter().map(told).collect::<sqlx::Result<_>>()?)
    }

    /// Takes it upon this process to tell the news. `false` when another one has done so since the
    /// news was made: then it is not told again.
    pub async fn take_news(&self, news: &News, now: DateTime<Utc>) -> Result<bool> {
        let News { change, alarm, since, told_at, .. } = news.clone();
        let (now, told_at) = (at(now), told_at.map(at));
        self.write(move |connection| {
            Box::pin(async move {
                let query = match (change, told_at) {
                    (Change::Recovered, _) => {
                        sqlx::query("DELETE FROM alarms WHERE place = ? AND told_at IS ?")
                            .bind(alarm.place)
                            .bind(told_at)
                    }
                    (_, None) => sqlx::query(
                        "INSERT INTO alarms (place, kind, about, message, since, told_at) \
                         VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (place) DO NOTHING",
                    )
                    .bind(alarm.place)
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
                    // A reminder that nobody takes does not undo what was heard.
                    .bind(change == Change::Still)
                    .bind(alarm.place)
                    .bind(told_at),
                };
                Ok(query.execute(connection).await?.rows_affected() > 0)
            })
        })
        .await
    }

    /// Notes that somebody took the message about a place.
    pub async fn heard(&self, place: &str) -> Result<()> {
        let place = place.to_owned();
        self.write(move |connection| {
            Box::pin(async move {
                sqlx::query("UPDATE alarms SET heard = 1 WHERE place = ?")
                    .bind(place)
                    .execute(connection)
                    .await?;
                Ok(())
            })
        })
        .await
    }
}
