//! The current alarms, in the words of the messages.

use super::{Health, ReportError, Reporter, SourceStatus};
use crate::files;
use crate::job::{ErrorKind, JobError, WaitReason};
use crate::policy::alarms::{Alarm, AlarmKind, service_end};
use crate::service::bing;
use crate::settings::Settings;
use crate::store::copies;
use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use std::collections::BTreeMap;
use std::path::Path;

/// A job that waits for quota for longer than this raises an alarm.
const LONG_WAIT: TimeDelta = TimeDelta::hours(1);

impl Reporter {
    /// The current alarms, at most one for each key.
    pub async fn alarms(
        &self,
        settings: &Settings,
        now: DateTime<Utc>,
    ) -> Result<Vec<Alarm>, ReportError> {
        let sources = self.sources(settings, now).await?;
        let mut alarms: Vec<_> = sources.iter().filter_map(of_source).collect();
        let waiting = sources.iter().filter_map(|source| of_quota(source, now));
        // One for each account, however many of its sources wait.
        let accounts: BTreeMap<_, _> = waiting.map(|alarm| (alarm.key.clone(), alarm)).collect();
        alarms.extend(accounts.into_values());
        alarms.extend(of_disks(settings));
        alarms.extend(of_database(settings));
        if !settings.sources.is_empty() {
            alarms.extend(service_end(bing::NAME, bing::LAST_DAY, now));
        }
        Ok(alarms)
    }
}

/// The worst problem of a source. A failure is more specific than being overdue, which follows from
/// it.
fn of_source(source: &SourceStatus) -> Option<Alarm> {
    let last = match source.last_success {
        Some(at) => format!("the last good backup is of {}", instant(at)),
        None => "there is no good backup yet".to_owned(),
    };
    let (kind, what) = match (&source.last_error, source.health) {
        (Some(JobError { kind: ErrorKind::Credentials, message }), _) => {
            (AlarmKind::Credentials, message.clone())
        }
        (Some(JobError { message, .. }), _) if source.vanished => {
            (AlarmKind::Vanished, message.clone())
        }
        (Some(JobError { kind, message }), _) => {
            (AlarmKind::Failed, format!("the last job failed: {kind}: {message}"))
        }
        (None, Health::Overdue) => {
            (AlarmKind::Overdue, "a scheduled backup is missing beyond its grace".to_owned())
        }
        (None, Health::Suspicious) => (
            AlarmKind::Suspicious,
            format!("the newest snapshot is suspicious: {}", source.suspicious.join("; ")),
        ),
        (None, Health::Ok | Health::Failing | Health::New) => return None,
    };
    Some(Alarm {
        key: format!("source/{}", source.source),
        kind,
        about: source.source.clone(),
        message: format!("{what}; {last}"),
    })
}

fn of_quota(source: &SourceStatus, now: DateTime<Utc>) -> Option<Alarm> {
    let job = source.live_job.as_ref()?;
    let wait = job.hold.as_ref()?;
    let until = job.due_at?;
    let waits = matches!(wait.why, WaitReason::Quota | WaitReason::Limit);
    let long = until - now > LONG_WAIT || now - job.created_at > LONG_WAIT;
    (waits && long).then(|| Alarm {
        key: format!("quota/{}", job.account),
        kind: AlarmKind::Quota,
        about: job.account.clone(),
        message: format!("backups wait for the account's quota: {}", wait.message),
    })
}

/// The disks of the archive and of the state, or the one that holds both.
fn of_disks(settings: &Settings) -> Vec<Alarm> {
    let low = settings.notify.disk_low;
    let nearly_full = |(what, folder): (&str, &Path)| {
        // A missing folder is reported where it is written to.
        let free = files::free_bytes(folder).ok()?;
        (free < low).then(|| Alarm {
            key: format!("disk/{}", folder.display()),
            kind: AlarmKind::Disk,
            about: folder.display().to_string(),
            message: format!(
                "the disk of the {what} has {} MiB left, less than the {} MiB of \
                 notify.disk_low; free some space, or keep fewer snapshots",
                free >> 20,
                low >> 20
            ),
        })
    };
    let archive = ("archive", settings.archive_dir.as_path());
    let state = ("state", settings.state_dir.as_path());
    let is_one_disk = files::same_disk(archive.1, state.1);
    [archive, state]
        .into_iter()
        .take(if is_one_disk { 1 } else { 2 })
        .filter_map(nearly_full)
        .collect()
}

/// Current for as long as the damaged database exists, so that an administrator looks at it.
fn of_database(settings: &Settings) -> Option<Alarm> {
    let aside = copies::moved_aside(&settings.state_dir).into_iter().next()?;
    Some(Alarm {
        key: "database".to_owned(),
        kind: AlarmKind::Database,
        about: "database".to_owned(),
        message: format!(
            "the database was damaged and has been rebuilt; the damaged one is kept as {}. Check the \
             disk, then remove the file",
            aside.display()
        ),
    })
}

fn instant(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Secs, true)
}
