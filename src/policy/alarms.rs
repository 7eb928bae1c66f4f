//! Which alerts to send, and when: one message when something breaks, reminders while the problem
//! persists, and one message when it is over. Pure functions of the current alarms, the sent ones, and
//! the time.

use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use serde::Serialize;
use std::time::Duration;

/// How long after a message that no channel accepted it is sent again.
const RESEND_AFTER: TimeDelta = TimeDelta::minutes(10);
/// How many days before a service's end an alert is sent; 0 is the end itself.
const DAYS_BEFORE_END: [i64; 5] = [0, 30, 90, 180, 365];

/// What kind of trouble it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum AlarmKind {
    /// A source's last job failed.
    Failed,
    /// The service refuses the account's key.
    Credentials,
    /// The service no longer has the source.
    Vanished,
    /// A scheduled time has passed by more than the grace without a good snapshot.
    Overdue,
    /// The newest snapshot is suspicious.
    Suspicious,
    /// A job waits for the account's quota.
    Quota,
    /// A disk is nearly full.
    Disk,
    /// The database was found damaged and set aside.
    Database,
    /// The service ends soon. Sent once at each step, and never over.
    ServiceEnd,
}

impl AlarmKind {
    /// Every kind.
    pub const ALL: [AlarmKind; 9] = [
        AlarmKind::Failed,
        AlarmKind::Credentials,
        AlarmKind::Vanished,
        AlarmKind::Overdue,
        AlarmKind::Suspicious,
        AlarmKind::Quota,
        AlarmKind::Disk,
        AlarmKind::Database,
        AlarmKind::ServiceEnd,
    ];

    /// The word that is stored and shown.
    pub fn as_str(self) -> &'static str {
        match self {
            AlarmKind::Failed => "failed",
            AlarmKind::Credentials => "credentials",
            AlarmKind::Vanished => "vanished",
            AlarmKind::Overdue => "overdue",
            AlarmKind::Suspicious => "suspicious",
            AlarmKind::Quota => "quota",
            AlarmKind::Disk => "disk",
            AlarmKind::Database => "database",
            AlarmKind::ServiceEnd => "service_end",
        }
    }

    /// The kind of that word.
    pub fn of_word(word: &str) -> Option<AlarmKind> {
        AlarmKind::ALL.into_iter().find(|kind| kind.as_str() == word)
    }
}

/// Something that is broken, or soon will be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alarm {
    /// Identifies the problem; one alarm at a time for each key: `source/NAME`, `quota/ACCOUNT`,
    /// `disk/FOLDER`, `database`, `end/SERVICE`.
    pub key: String,
    /// What kind of trouble it is.
    pub kind: AlarmKind,
    /// The source, account, folder or service.
    pub about: String,
    /// What is wrong, and what to do.
    pub message: String,
}

/// An alarm that was sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SentAlarm {
    /// The alarm, as it was last sent.
    pub alarm: Alarm,
    /// When it was first seen.
    pub since: DateTime<Utc>,
    /// When it was last sent.
    pub sent_at: DateTime<Utc>,
    /// Whether a channel has accepted the message.
    pub acknowledged: bool,
}

/// How a current alarm differs from the one that was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// It is new.
    Broke,
    /// It persists.
    Still,
    /// It is over.
    Recovered,
}

/// A change to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AlarmChange {
    /// What has changed.
    pub change: Change,
    /// The alarm.
    pub alarm: Alarm,
    /// When the problem began.
    pub since: DateTime<Utc>,
    /// When it was sent before.
    pub sent_at: Option<DateTime<Utc>>,
    /// Whether to delete it without a message: it was never acknowledged, or it is about a
    /// service's end.
    pub silent: bool,
}

/// Returns what to send now, given the current alarms and the sent ones.
pub fn changes(
    standing: &[Alarm],
    sent: &[SentAlarm],
    now: DateTime<Utc>,
    remind_every: Duration,
) -> Vec<AlarmChange> {
    let remind_every = TimeDelta::from_std(remind_every).unwrap_or(TimeDelta::MAX);
    let broken = standing.iter().filter_map(|alarm| {
        let before = sent.iter().find(|it| it.alarm.key == alarm.key);
        let (change, since) = match before {
            None => (Change::Broke, now),
            Some(before) if before.alarm.kind != alarm.kind => (Change::Broke, now),
            Some(before) if alarm.kind == AlarmKind::ServiceEnd && before.acknowledged => {
                // The next step has other words.
                (before.alarm.message != alarm.message).then_some((Change::Broke, now))?
            }
            Some(before) => {
                // A clock that was ahead when it was sent must not delay reminders.
                let ago = (now - before.sent_at).abs();
                let due = if before.acknowledged { remind_every } else { RESEND_AFTER };
                let change = if before.acknowledged { Change::Still } else { Change::Broke };
                (ago >= due).then_some((change, before.since))?
            }
        };
        let sent_at = before.map(|before| before.sent_at);
        Some(AlarmChange { change, alarm: alarm.clone(), since, sent_at, silent: false })
    });
    let recovered = sent
        .iter()
        .filter(|before| !standing.iter().any(|alarm| alarm.key == before.alarm.key))
        .map(|before| AlarmChange {
            change: Change::Recovered,
            alarm: before.alarm.clone(),
            since: before.since,
            sent_at: Some(before.sent_at),
            silent: !before.acknowledged || before.alarm.kind == AlarmKind::ServiceEnd,
        });
    broken.chain(recovered).collect()
}

/// The alarm about a service that ends on a day, from one year before on.
pub fn service_end(service: &str, last_day: NaiveDate, now: DateTime<Utc>) -> Option<Alarm> {
    let left = (last_day - now.date_naive()).num_days();
    let step = DAYS_BEFORE_END.into_iter().find(|step| left <= *step)?;
    let day = last_day.format("%F");
    let message = match step {
        0 => format!(
            "{service} ends on {day}: after that day nothing can be exported. The archive stays \
             as it is; `nightjar verify` checks it"
        ),
        step => format!(
            "{service} ends on {day}, in {step} days or less: see that every data source is backed \
             up (`nightjar status`), and where the data is to live from then on"
        ),
    };
    let key = format!("end/{service}");
    Some(Alarm { key, kind: AlarmKind::ServiceEnd, about: service.to_owned(), message })
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::TimeZone;
    use proptest::prelude::*;

    const DAY: Duration = Duration::from_hours(24);

    fn at(hours: i64) -> DateTime<Utc> {
        Utc.with_ymd_and_hms(2026, 11, 25, 12, 0, 0).unwrap() + TimeDelta::hours(hours)
    }

    fn alarm(key: &str, kind: AlarmKind) -> Alarm {
        let message = format!("{key} is {}", kind.as_str());
        Alarm { key: key.into(), kind, about: key.into(), message }
    }

    /// Sends what is due, and records it as the store does.
    fn send(
        standing: &[Alarm],
        sent: &mut Vec<SentAlarm>,
        now: DateTime<Utc>,
        acknowledged: bool,
    ) -> Vec<AlarmChange> {
        let changes = changes(standing, sent, now, DAY);
        for it in &changes {
            sent.retain(|before| before.alarm.key != it.alarm.key);
            if it.change != Change::Recovered {
                let (alarm, since) = (it.alarm.clone(), it.since);
                sent.push(SentAlarm { alarm, since, sent_at: now, acknowledged });
            }
        }
        changes.into_iter().filter(|it| !it.silent).collect()
    }

    fn kinds(changes: &[AlarmChange]) -> Vec<Change> {
        changes.iter().map(|it| it.change).collect()
    }

    #[test]
    fn one_message_at_the_start_daily_reminders_and_one_at_the_end() {
        let broken = [alarm("source/stores", AlarmKind::Failed)];
        let mut sent = Vec::new();
        assert_eq!(send(&[], &mut sent, at(0), true), []);
        assert_eq!(kinds(&send(&broken, &mut sent, at(1), true)), [Change::Broke]);
        for hour in 2..25 {
            assert_eq!(send(&broken, &mut sent, at(hour), true), [], "{hour}");
        }
        let reminder = send(&broken, &mut sent, at(25), true);
        assert_eq!(kinds(&reminder), [Change::Still]);
        assert_eq!(reminder[0].since, at(1));
        assert_eq!(send(&broken, &mut sent, at(26), true), []);
        let over = send(&[], &mut sent, at(27), true);
        assert_eq!(kinds(&over), [Change::Recovered]);
        assert_eq!(over[0].since, at(1));
        assert_eq!(send(&[], &mut sent, at(28), true), []);
    }

    #[test]
    fn another_kind_of_problem_with_the_same_key_is_sent_at_once() {
        let mut sent = Vec::new();
        send(&[alarm("source/stores", AlarmKind::Suspicious)], &mut sent, at(0), true);
        let changes =
            send(&[alarm("source/stores", AlarmKind::Credentials)], &mut sent, at(1), true);
        assert_eq!(kinds(&changes), [Change::Broke]);
        assert_eq!(changes[0].since, at(1));
        assert_eq!(sent.len(), 1);
    }

    #[test]
    fn an_unacknowledged_alarm_is_sent_again_soon_and_recovers_silently() {
        let broken = [alarm("disk/archive", AlarmKind::Disk)];
        let mut sent = Vec::new();
        send(&broken, &mut sent, at(0), false);
        assert_eq!(send(&broken, &mut sent, at(0) + TimeDelta::minutes(9), false), []);
        let again = send(&broken, &mut sent, at(0) + TimeDelta::minutes(10), false);
        assert_eq!(kinds(&again), [Change::Broke]);
        assert_eq!(again[0].since, at(0));
        assert_eq!(send(&[], &mut sent, at(1), true), []);
        assert!(sent.is_empty());
    }

    #[test]
    fn a_clock_that_was_ahead_does_not_delay_reminders() {
        let broken = [alarm("source/stores", AlarmKind::Overdue)];
        let mut sent = Vec::new();
        send(&broken, &mut sent, at(24 * 400), true);
        assert_eq!(kinds(&send(&broken, &mut sent, at(0), true)), [Change::Still]);
    }

    #[test]
    fn the_end_of_the_service_is_sent_once_at_each_step() {
        let last = NaiveDate::from_ymd_opt(2028, 6, 30).unwrap();
        let mut sent = Vec::new();
        let mut days = Vec::new();
        let begin = Utc.with_ymd_and_hms(2027, 1, 1, 4, 0, 0).unwrap();
        for day in 0..600 {
            let now = begin + TimeDelta::days(day);
            let standing: Vec<_> = service_end("The service", last, now).into_iter().collect();
            for change in send(&standing, &mut sent, now, true) {
                assert_eq!(change.change, Change::Broke);
                days.push((last - now.date_naive()).num_days());
            }
        }
        assert_eq!(days, [365, 180, 90, 30, 0]);
    }

    #[test]
    fn every_kind_is_found_by_its_word() {
        for kind in AlarmKind::ALL {
            assert_eq!(AlarmKind::of_word(kind.as_str()), Some(kind));
            assert_eq!(serde_json::to_value(kind).unwrap(), kind.as_str());
        }
        assert_eq!(AlarmKind::of_word("?"), None);
    }

    proptest! {
        /// For any sequence of problems: starts and recoveries of a key alternate, and reminders are
        /// at least a day apart.
        #[test]
        fn no_alarm_is_sent_twice(hours in proptest::collection::vec(any::<bool>(), 1..200)) {
            let broken = [alarm("source/stores", AlarmKind::Failed)];
            let (mut sent, mut is_sent, mut last) = (Vec::new(), false, None);
            for (hour, stands) in hours.into_iter().enumerate() {
                let now = at(hour as i64);
                let standing = if stands { &broken[..] } else { &[] };
                for change in send(standing, &mut sent, now, true) {
                    match change.change {
                        Change::Broke => prop_assert!(!is_sent),
                        Change::Still => prop_assert!(
                            is_sent && last.is_some_and(|last| now - last >= TimeDelta::days(1))
                        ),
                        Change::Recovered => prop_assert!(is_sent),
                    }
                    is_sent = change.change != Change::Recovered;
                    last = Some(now);
                }
                prop_assert_eq!(is_sent, stands);
            }
        }
    }
}
