//! The current problems, in the words of the messages: a plain function of the situation.
//!
//! A new alert is a kind with its word, and a check in [`CHECKS`] that finds it. A row in
//! `docs/notifications.md` describes it.

use super::Situation;
use crate::discovery::AccountLook;
use crate::job::{ErrorKind, JobError, WaitReason};
use crate::report::{FailedRestore, Health, SnapshotChanges, SourceStatus};
use crate::timestamp::rfc3339;
use chrono::{DateTime, TimeDelta, Utc};
use std::collections::BTreeMap;

/// A job that waits for quota for longer than this is a problem.
const LONG_WAIT: TimeDelta = TimeDelta::hours(1);
/// How many days before a service's end an alert is sent; 0 is the end itself.
const DAYS_BEFORE_END: [i64; 5] = [0, 30, 90, 180, 365];

/// What kind of problem it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum AlertKind {
    /// A source's last job failed.
    Failed,
    /// A source's last restore failed, not long ago.
    RestoreFailed,
    /// The service refuses the account's key.
    Credentials,
    /// The service no longer has the source.
    Vanished,
    /// A scheduled time has passed by more than the grace without a good snapshot.
    Overdue,
    /// The newest snapshot is suspicious.
    Suspicious,
    /// The account has data sources that nothing backs up.
    Unprotected,
    /// A job waits for the account's quota.
    Quota,
    /// A disk is nearly full.
    Disk,
    /// The database was found damaged and set aside.
    Database,
    /// The service ends soon. Sent once at each step, and never over.
    ServiceEnd,
}

impl AlertKind {
    /// The word that is stored and sent.
    pub fn as_str(self) -> &'static str {
        match self {
            AlertKind::Failed => "failed",
            AlertKind::RestoreFailed => "restore_failed",
            AlertKind::Credentials => "credentials",
            AlertKind::Vanished => "vanished",
            AlertKind::Overdue => "overdue",
            AlertKind::Suspicious => "suspicious",
            AlertKind::Unprotected => "unprotected",
            AlertKind::Quota => "quota",
            AlertKind::Disk => "disk",
            AlertKind::Database => "database",
            AlertKind::ServiceEnd => "service_end",
        }
    }

    /// Whether the problem is another one as soon as its message is: then that is announced like a
    /// new one.
    pub(super) fn is_its_message(self) -> bool {
        matches!(self, AlertKind::Unprotected | AlertKind::ServiceEnd)
    }

    /// Whether its end is not announced: nothing has recovered then.
    pub(super) fn ends_silently(word: &str) -> bool {
        [AlertKind::RestoreFailed, AlertKind::ServiceEnd].iter().any(|kind| kind.as_str() == word)
    }

    /// Every kind that a check can find.
    pub fn all() -> impl Iterator<Item = AlertKind> {
        CHECKS.iter().flat_map(|check| check.kinds).copied()
    }
}

/// A current problem, as it would be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alert {
    /// Identifies the problem; one alert at a time for each key: `source/NAME`, `restore/NAME`,
    /// `unprotected/ACCOUNT`, `quota/ACCOUNT`, `disk/FOLDER`, `database`, `end/SERVICE`.
    pub key: String,
    /// What kind of problem it is.
    pub kind: AlertKind,
    /// The source, account, folder or service.
    pub about: String,
    /// What is wrong, and what to do.
    pub message: String,
}

/// Finds problems of these kinds, and of no other.
pub(super) struct Check {
    pub(super) kinds: &'static [AlertKind],
    pub(super) find: fn(&Situation) -> Vec<Alert>,
}

/// Every check. Each finds at most one problem for a key.
pub(super) const CHECKS: [Check; 7] = [
    Check {
        kinds: &[
            AlertKind::Failed,
            AlertKind::Credentials,
            AlertKind::Vanished,
            AlertKind::Overdue,
            AlertKind::Suspicious,
        ],
        find: of_sources,
    },
    Check { kinds: &[AlertKind::RestoreFailed], find: of_restores },
    Check { kinds: &[AlertKind::Unprotected], find: of_looks },
    Check { kinds: &[AlertKind::Quota], find: of_accounts },
    Check { kinds: &[AlertKind::Disk], find: of_disks },
    Check { kinds: &[AlertKind::Database], find: of_database },
    Check { kinds: &[AlertKind::ServiceEnd], find: of_services },
];

/// The current problems, at most one for each key.
#[must_use]
pub fn current(situation: &Situation) -> Vec<Alert> {
    let found = CHECKS.iter().flat_map(|check| {
        let alerts = (check.find)(situation);
        debug_assert!(alerts.iter().all(|alert| check.kinds.contains(&alert.kind)), "{alerts:?}");
        alerts
    });
    found.collect()
}

/// The worst problem of each source. A failure is more specific than being overdue, which follows
/// from it.
fn of_sources(situation: &Situation) -> Vec<Alert> {
    situation.sources.iter().filter_map(of_source).collect()
}

/// Restores that failed. They say nothing about the health of backups.
fn of_restores(situation: &Situation) -> Vec<Alert> {
    let failed = |source: &SourceStatus| {
        let FailedRestore { job, error } = source.failed_restore.as_ref()?;
        Some(Alert {
            key: format!("restore/{}", source.source),
            kind: AlertKind::RestoreFailed,
            about: source.source.clone(),
            message: format!(
                "a restore failed: {error}; `nightjar job {job}` shows what it has done, and \
                 `nightjar versions {}` what is published",
                source.source
            ),
        })
    };
    situation.sources.iter().filter_map(failed).collect()
}

fn of_source(source: &SourceStatus) -> Option<Alert> {
    let last = match source.last_success {
        Some(at) => format!("the last good backup is of {}", rfc3339(at)),
        None => "there is no good backup yet".to_owned(),
    };
    let (kind, what) = match (&source.last_error, source.health) {
        (Some(JobError { kind: ErrorKind::Credentials, message }), _) => {
            (AlertKind::Credentials, message.clone())
        }
        (Some(JobError { message, .. }), _) if source.not_found => {
            (AlertKind::Vanished, message.clone())
        }
        (Some(JobError { kind, message }), _) => {
            (AlertKind::Failed, format!("the last job failed: {kind}: {message}"))
        }
        (None, _) if source.unlisted_at().is_some() => (
            AlertKind::Vanished,
            "the service no longer lists its data source; what is archived of it stays".to_owned(),
        ),
        (None, Health::Overdue) => {
            (AlertKind::Overdue, "a scheduled backup is missing beyond its grace".to_owned())
        }
        (None, Health::Suspicious) => {
            let reasons = source.suspicious.join("; ");
            let since = source.changes.map_or(String::new(), since_before);
            (AlertKind::Suspicious, format!("the newest snapshot is suspicious: {reasons}{since}"))
        }
        (None, Health::Ok | Health::Failing | Health::New) => return None,
    };
    Some(Alert {
        key: format!("source/{}", source.source),
        kind,
        about: source.source.clone(),
        message: format!("{what}; {last}"),
    })
}

/// What nothing backs up: one problem for each account.
fn of_looks(situation: &Situation) -> Vec<Alert> {
    let unprotected = |look: &AccountLook| {
        Some(Alert {
            key: format!("unprotected/{}", look.account),
            kind: AlertKind::Unprotected,
            about: look.account.clone(),
            message: look.unprotected_message()?,
        })
    };
    situation.looks.iter().filter_map(unprotected).collect()
}

/// How much a snapshot changed, as the rest of a sentence.
fn since_before(changes: SnapshotChanges) -> String {
    let SnapshotChanges { added, removed, changed } = changes;
    format!(
        "; since the snapshot before, entities: {added} added, {removed} removed, {changed} changed"
    )
}

/// One problem for each account, however many of its sources wait.
fn of_accounts(situation: &Situation) -> Vec<Alert> {
    let waiting = situation.sources.iter().filter_map(|source| of_quota(source, situation.now));
    let accounts: BTreeMap<_, _> = waiting.map(|alert| (alert.key.clone(), alert)).collect();
    accounts.into_values().collect()
}

fn of_quota(source: &SourceStatus, now: DateTime<Utc>) -> Option<Alert> {
    let job = source.live_job.as_ref()?;
    let wait = job.hold.as_ref()?;
    let until = job.due_at?;
    let waits = matches!(wait.why, WaitReason::Quota | WaitReason::Limit);
    let long = until - now > LONG_WAIT || now - job.created_at > LONG_WAIT;
    (waits && long).then(|| Alert {
        key: format!("quota/{}", job.account),
        kind: AlertKind::Quota,
        about: job.account.clone(),
        message: format!("backups wait for the account's quota: {}", wait.message),
    })
}

fn of_disks(situation: &Situation) -> Vec<Alert> {
    let low = situation.disk_low;
    let nearly_full = situation.disks.iter().filter(|disk| disk.free < low);
    nearly_full
        .map(|disk| Alert {
            key: format!("disk/{}", disk.folder.display()),
            kind: AlertKind::Disk,
            about: disk.folder.display().to_string(),
            message: format!(
                "the disk of the {} has {} MiB left, less than the {} MiB of notify.disk_low; free \
                 some space, or keep fewer snapshots",
                disk.holds,
                disk.free >> 20,
                low >> 20
            ),
        })
        .collect()
}

/// Current for as long as the damaged database exists, so that an administrator looks at it.
fn of_database(situation: &Situation) -> Vec<Alert> {
    let aside = situation.damaged_database.iter();
    aside
        .map(|aside| Alert {
            key: "database".to_owned(),
            kind: AlertKind::Database,
            about: "database".to_owned(),
            message: format!(
                "the database was damaged and has been rebuilt; the damaged one is kept as {}. \
                 Check the disk, then remove the file",
                aside.display()
            ),
        })
        .collect()
}

/// Services that end, from one year before on.
fn of_services(situation: &Situation) -> Vec<Alert> {
    let ending = |end: &super::ServiceEnd| {
        let left = (end.last_day - situation.now.date_naive()).num_days();
        let step = DAYS_BEFORE_END.into_iter().find(|step| left <= *step)?;
        let (service, day) = (end.service, end.last_day.format("%F"));
        let message = match step {
            0 => format!(
                "{service} ends on {day}: after that day nothing can be exported. The archive \
                 stays as it is; `nightjar verify` checks it"
            ),
            step => format!(
                "{service} ends on {day}, in {step} days or less: see that every data source is \
                 backed up (`nightjar status`), and where the data is to live from then on"
            ),
        };
        let key = format!("end/{service}");
        Some(Alert { key, kind: AlertKind::ServiceEnd, about: service.to_owned(), message })
    };
    situation.ends.iter().filter_map(ending).collect()
}
