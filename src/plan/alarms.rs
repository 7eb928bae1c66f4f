//! What is worth telling somebody, and when: one message when something breaks, a reminder now and
//! then while it stays broken, one message when it is well again. Plain functions of what stands,
//! what was told, and time.

use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use serde::Serialize;
use std::time::Duration;

/// After this long a message that nobody took is tried again.
const TELL_AGAIN: TimeDelta = TimeDelta::minutes(10);
/// So many days before a service ends its users are told; 0 is the end itself.
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
    /// The newest snapshot deserves a second look.
    Suspicious,
    /// A job waits for the account's quota.
    Quota,
    /// A disk is nearly full.
    Disk,
    /// The database was found damaged and set aside.
    Database,
    /// The service ends soon. Told once at each step, and never over.
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
    /// What can only be broken once: `source/NAME`, `quota/ACCOUNT`, `disk/FOLDER`, `database`,
    /// `end/SERVICE`.
    pub place: String,
    /// What kind of trouble it is.
    pub kind: AlarmKind,
    /// The source, account, folder or service.
    pub about: String,
    /// What is wrong, and what to do.
    pub message: String,
}

/// An alarm that was told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// What was told, in the words of the last time.
    pub alarm: Alarm,
    /// When it was first seen.
    pub since: DateTime<Utc>,
    /// When it was told last.
    pub told_at: DateTime<Utc>,
    /// Whether anybody took the message.
    pub heard: bool,
}

/// How what is told differs from what was told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// It is broken since.
    Broke,
    /// It is broken still.
    Still,
    /// It is well again.
    Recovered,
}

/// What somebody is to be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct News {
    /// What has changed.
    pub change: Change,
    /// About what.
    pub alarm: Alarm,
    /// Since when it is, or was, broken.
    pub since: DateTime<Utc>,
    /// When it was told before.
    pub told_at: Option<DateTime<Utc>>,
    /// Whether it only has to be forgotten: nobody heard of it, or it is a step towards an end.
    pub silent: bool,
}

/// What is to be told now, given what stands and what was told.
pub fn news(
    standing: &[Alarm],
    told: &[Told],
    now: DateTime<Utc>,
    remind_every: Duration,
) -> Vec<News> {
    let remind_every = TimeDelta::from_std(remind_every).unwrap_or(TimeDelta::MAX);
    let broken = standing.iter().filter_map(|alarm| {
        let before = told.iter().find(|it| it.alarm.place == alarm.place);
        let (change, since) = match before {
            None => (Change::Broke, now),
            Some(before) if before.alarm.kind != alarm.kind => (Change::Broke, now),
            Some(before) if alarm.kind == AlarmKind::ServiceEnd && before.heard => {
                // The next step has other words.
                (before.alarm.message != alarm.message).then_some((Change::Broke, now))?
            }
            Some(before) => {
                // A clock that was ahead when it was told must not keep it quiet.
                let ago = (now - before.told_at).abs();
                let due = if before.heard { remind_every } else { TELL_AGAIN };
                let change = if before.heard { Change::Still } else { Change::Broke };
                (ago >= due).then_some((change, before.since))?
            }
        };
        let told_at = before.map(|before| before.told_at);
        Some(News { change, alarm: alarm.clone(), since, told_at, silent: false })
    });
    let recovered = told
        .iter()
        .filter(|before| !standing.iter().any(|alarm| alarm.place == before.alarm.place))
        .map(|before| News {
            change: Change::Recovered,
            alarm: before.alarm.clone(),
            since: before.since,
            told_at: Some(before.told_at),
            silent: !before.heard || before.alarm.kind == AlarmKind::ServiceEnd,
        });
    broken.chain(recovered).collect()
}

/// What to say about a service that ends on a day, from a year before on.
pub fn service_end(service: &str, last_day: NaiveDate, now: DateTime<Utc>) -> Option<Alarm> {
    let left = (last_day - now.date_naive()).num_days();
    let step = DAYS_BEFORE_END.into_iter().find(|step| left <= *step)?;
    let day = last_day.format("%F");
    let message = match step {
        0 => format!(
            "{service} ends on {day}: after that day nothing can be exported. The archive stays \
             as it is; `nightjar verify` proves it"
        ),
        step => format!(
            "{service} ends on {day}, in {step} days or less: see that every data source is backed \
             up (`nightjar status`), and where the data is to live from then on"
        ),
    };
    let place = format!("end/{service}");
    Some(Alarm { place, kind: AlarmKind::ServiceEnd, about: service.to_owned(), message })
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

    fn alarm(place: &str, kind: AlarmKind) -> Alarm {
        let message = format!("{place} is {}", kind.as_str());
        Alarm { place: place.into(), kind, about: place.into(), message }
    }

    /// Tells what is to be told, and remembers it as the store does.
    fn tell(
        standing: &[Alarm],
        told: &mut Vec<Told>,
        now: DateTime<Utc>,
        heard: bool,
    ) -> Vec<News> {
        let news = news(standing, told, now, DAY);
        for it in &news {
            told.retain(|before| before.alarm.place != it.alarm.place);
            if it.change != Change::Recovered {
                let (alarm, since) = (it.alarm.clone(), it.since);
                told.push(Told { alarm, since, told_at: now, heard });
            }
        }
        news.into_iter().filter(|it| !it.silent).collect()
    }

    fn changes(news: &[News]) -> Vec<Change> {
        news.iter().map(|it| it.change).collect()
    }

    #[test]
    fn one_message_when_it_breaks_a_reminder_a_day_and_one_when_it_is_well_again() {
        let broken = [alarm("source/stores", AlarmKind::Failed)];
        let mut told = Vec::new();
        assert_eq!(tell(&[], &mut told, at(0), true), []);
        assert_eq!(changes(&tell(&broken, &mut told, at(1), true)), [Change::Broke]);
        for hour in 2..25 {
            assert_eq!(tell(&broken, &mut told, at(hour), true), [], "{hour}");
        }
        let reminder = tell(&broken, &mut told, at(25), true);
        assert_eq!(changes(&reminder), [Change::Still]);
        assert_eq!(reminder[0].since, at(1));
        assert_eq!(tell(&broken, &mut told, at(26), true), []);
        let over = tell(&[], &mut told, at(27), true);
        assert_eq!(changes(&over), [Change::Recovered]);
        assert_eq!(over[0].since, at(1));
        assert_eq!(tell(&[], &mut told, at(28), true), []);
    }

    #[test]
    fn another_kind_of_trouble_at_the_same_place_is_told_at_once() {
        let mut told = Vec::new();
        tell(&[alarm("source/stores", AlarmKind::Suspicious)], &mut told, at(0), true);
        let news = tell(&[alarm("source/stores", AlarmKind::Credentials)], &mut told, at(1), true);
        assert_eq!(changes(&news), [Change::Broke]);
        assert_eq!(news[0].since, at(1));
        assert_eq!(told.len(), 1);
    }

    #[test]
    fn what_nobody_heard_is_told_again_soon_and_never_recovers_aloud() {
        let broken = [alarm("disk/archive", AlarmKind::Disk)];
        let mut told = Vec::new();
        tell(&broken, &mut told, at(0), false);
        assert_eq!(tell(&broken, &mut told, at(0) + TimeDelta::minutes(9), false), []);
        let again = tell(&broken, &mut told, at(0) + TimeDelta::minutes(10), false);
        assert_eq!(changes(&again), [Change::Broke]);
        assert_eq!(again[0].since, at(0));
        assert_eq!(tell(&[], &mut told, at(1), true), []);
        assert!(told.is_empty());
    }

    #[test]
    fn a_clock_that_was_ahead_keeps_nobody_quiet() {
        let broken = [alarm("source/stores", AlarmKind::Overdue)];
        let mut told = Vec::new();
        tell(&broken, &mut told, at(24 * 400), true);
        assert_eq!(changes(&tell(&broken, &mut told, at(0), true)), [Change::Still]);
    }

    #[test]
    fn the_service_s_end_is_told_once_at_each_step() {
        let last = NaiveDate::from_ymd_opt(2028, 6, 30).unwrap();
        let mut told = Vec::new();
        let mut days = Vec::new();
        let begin = Utc.with_ymd_and_hms(2027, 1, 1, 4, 0, 0).unwrap();
        for day in 0..600 {
            let now = begin + TimeDelta::days(day);
            let standing: Vec<_> = service_end("The service", last, now).into_iter().collect();
            for news in tell(&standing, &mut told, now, true) {
                assert_eq!(news.change, Change::Broke);
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
        /// Whatever comes and goes: breaks and recoveries of a place alternate, and reminders are
        /// at least a day apart.
        #[test]
        fn nobody_is_told_twice(hours in proptest::collection::vec(any::<bool>(), 1..200)) {
            let broken = [alarm("source/stores", AlarmKind::Failed)];
            let (mut told, mut is_told, mut last) = (Vec::new(), false, None);
            for (hour, stands) in hours.into_iter().enumerate() {
                let now = at(hour as i64);
                let standing = if stands { &broken[..] } else { &[] };
                for news in tell(standing, &mut told, now, true) {
                    match news.change {
                        Change::Broke => prop_assert!(!is_told),
                        Change::Still => prop_assert!(
                            is_told && last.is_some_and(|last| now - last >= TimeDelta::days(1))
                        ),
                        Change::Recovered => prop_assert!(is_told),
                    }
                    is_told = news.change != Change::Recovered;
                    last = Some(now);
                }
                prop_assert_eq!(is_told, stands);
            }
        }
    }
}
