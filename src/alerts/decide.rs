//! Which messages to send, and when: one when a problem begins, reminders while it persists, and
//! one when it is over. A plain function of the current alerts, the sent ones, and the time.

use super::{Alert, AlertKind};
use crate::store::SentAlert;
use chrono::{DateTime, TimeDelta, Utc};
use std::time::Duration;

/// How long after a message that no channel accepted it is sent again.
const RESEND_AFTER: TimeDelta = TimeDelta::minutes(10);

/// How a problem has changed since an alert about it was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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
pub struct AlertChange {
    /// What has changed.
    pub change: Change,
    /// The alert as it is then stored; as it was stored, when the problem is over.
    pub alert: SentAlert,
    /// When the stored alert that this one replaces was sent.
    pub replaces: Option<DateTime<Utc>>,
    /// Whether to remove it without a message: it was never acknowledged, or it is about a
    /// service's end.
    pub silent: bool,
}

/// What to send now, given the current alerts and the sent ones.
#[must_use]
pub fn changes(
    current: &[Alert],
    sent: &[SentAlert],
    now: DateTime<Utc>,
    remind_every: Duration,
) -> Vec<AlertChange> {
    let remind_every = TimeDelta::from_std(remind_every).unwrap_or(TimeDelta::MAX);
    let broken = current.iter().filter_map(|alert| {
        let before = sent.iter().find(|it| it.key == alert.key);
        let (change, since) = match before {
            None => (Change::Broke, now),
            Some(before) if before.kind != alert.kind.as_str() => (Change::Broke, now),
            Some(before)
                if alert.kind.is_its_message()
                    && before.acknowledged
                    && before.message != alert.message =>
            {
                (Change::Broke, now)
            }
            Some(before) if alert.kind == AlertKind::ServiceEnd && before.acknowledged => {
                return None;
            }
            Some(before) => {
                // A clock that was ahead when it was sent must not delay reminders.
                let ago = (now - before.sent_at).abs();
                let due = if before.acknowledged { remind_every } else { RESEND_AFTER };
                let change = if before.acknowledged { Change::Still } else { Change::Broke };
                (ago >= due).then_some((change, before.since))?
            }
        };
        let alert = SentAlert {
            key: alert.key.clone(),
            kind: alert.kind.as_str().to_owned(),
            about: alert.about.clone(),
            message: alert.message.clone(),
            since,
            sent_at: now,
            // A reminder that no channel accepts does not undo an acknowledgement.
            acknowledged: change == Change::Still,
        };
        let replaces = before.map(|before| before.sent_at);
        Some(AlertChange { change, alert, replaces, silent: false })
    });
    let recovered = sent
        .iter()
        .filter(|before| !current.iter().any(|alert| alert.key == before.key))
        .map(|before| AlertChange {
            change: Change::Recovered,
            alert: before.clone(),
            replaces: Some(before.sent_at),
            silent: !before.acknowledged || AlertKind::ends_silently(&before.kind),
        });
    broken.chain(recovered).collect()
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

    fn alert(key: &str, kind: AlertKind) -> Alert {
        let message = format!("{key} is {}", kind.as_str());
        Alert { key: key.into(), kind, about: key.into(), message }
    }

    /// Sends what is due, and records it as the store does.
    fn send(
        current: &[Alert],
        sent: &mut Vec<SentAlert>,
        now: DateTime<Utc>,
        acknowledged: bool,
    ) -> Vec<AlertChange> {
        let changes = changes(current, sent, now, DAY);
        for it in &changes {
            sent.retain(|before| before.key != it.alert.key);
            if it.change != Change::Recovered {
                sent.push(SentAlert { acknowledged, ..it.alert.clone() });
            }
        }
        changes.into_iter().filter(|it| !it.silent).collect()
    }

    fn kinds(changes: &[AlertChange]) -> Vec<Change> {
        changes.iter().map(|it| it.change).collect()
    }

    #[test]
    fn one_message_at_the_start_daily_reminders_and_one_at_the_end() {
        let broken = [alert("source/stores", AlertKind::Failed)];
        let mut sent = Vec::new();
        assert_eq!(send(&[], &mut sent, at(0), true), []);
        assert_eq!(kinds(&send(&broken, &mut sent, at(1), true)), [Change::Broke]);
        for hour in 2..25 {
            assert_eq!(send(&broken, &mut sent, at(hour), true), [], "{hour}");
        }
        let reminder = send(&broken, &mut sent, at(25), true);
        assert_eq!(kinds(&reminder), [Change::Still]);
        assert_eq!(reminder[0].alert.since, at(1));
        assert_eq!(send(&broken, &mut sent, at(26), true), []);
        let over = send(&[], &mut sent, at(27), true);
        assert_eq!(kinds(&over), [Change::Recovered]);
        assert_eq!(over[0].alert.since, at(1));
        assert_eq!(send(&[], &mut sent, at(28), true), []);
    }

    #[test]
    fn another_kind_of_problem_with_the_same_key_is_sent_at_once() {
        let mut sent = Vec::new();
        send(&[alert("source/stores", AlertKind::Suspicious)], &mut sent, at(0), true);
        let changes =
            send(&[alert("source/stores", AlertKind::Credentials)], &mut sent, at(1), true);
        assert_eq!(kinds(&changes), [Change::Broke]);
        assert_eq!(changes[0].alert.since, at(1));
        assert_eq!(sent.len(), 1);
    }

    #[test]
    fn an_unacknowledged_alert_is_sent_again_soon_and_recovers_silently() {
        let broken = [alert("disk/archive", AlertKind::Disk)];
        let mut sent = Vec::new();
        send(&broken, &mut sent, at(0), false);
        assert_eq!(send(&broken, &mut sent, at(0) + TimeDelta::minutes(9), false), []);
        let again = send(&broken, &mut sent, at(0) + TimeDelta::minutes(10), false);
        assert_eq!(kinds(&again), [Change::Broke]);
        assert_eq!(again[0].alert.since, at(0));
        assert_eq!(send(&[], &mut sent, at(1), true), []);
        assert!(sent.is_empty());
    }

    #[test]
    fn a_clock_that_was_ahead_does_not_delay_reminders() {
        let broken = [alert("source/stores", AlertKind::Overdue)];
        let mut sent = Vec::new();
        send(&broken, &mut sent, at(24 * 400), true);
        assert_eq!(kinds(&send(&broken, &mut sent, at(0), true)), [Change::Still]);
    }

    proptest! {
        /// For any sequence of problems: starts and recoveries of a key alternate, and reminders
        /// are at least a day apart.
        #[test]
        fn no_alert_is_sent_twice(hours in proptest::collection::vec(any::<bool>(), 1..200)) {
            let broken = [alert("source/stores", AlertKind::Failed)];
            let (mut sent, mut is_sent, mut last) = (Vec::new(), false, None);
            for (hour, is_broken) in hours.into_iter().enumerate() {
                let now = at(hour as i64);
                let current = if is_broken { &broken[..] } else { &[] };
                for change in send(current, &mut sent, now, true) {
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
                prop_assert_eq!(is_sent, is_broken);
            }
        }
    }
}
