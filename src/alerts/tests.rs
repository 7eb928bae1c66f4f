use super::current::CHECKS;
use super::*;
use crate::discovery::AccountLook;
use crate::job::{ErrorKind, JobError, Operation, State, Trigger, Wait, WaitReason};
use crate::report::{
    FailedRestore, Health, JobView, Reporter, SnapshotChanges, SourceLook, SourceStatus,
};
use crate::tests::fixtures;
use crate::tests::pages::first_column;
use chrono::{DateTime, NaiveDate, TimeDelta, TimeZone, Utc};
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;
use tempfile::TempDir;

fn noon() -> DateTime<Utc> {
    Utc.with_ymd_and_hms(2026, 11, 25, 12, 0, 0).unwrap()
}

/// A situation without any problem.
fn healthy() -> Situation {
    Situation {
        now: noon(),
        sources: Vec::new(),
        disks: Vec::new(),
        disk_low: 1 << 30,
        damaged_database: None,
        ends: Vec::new(),
        looks: Vec::new(),
    }
}

fn found(situation: &Situation) -> Vec<(String, AlertKind)> {
    current(situation).into_iter().map(|alert| (alert.key, alert.kind)).collect()
}

#[test]
fn a_disk_is_nearly_full_below_the_limit_and_not_at_it() {
    let disk = |holds, folder: &str, free| DiskSpace { holds, folder: folder.into(), free };
    let full = Situation {
        disks: vec![disk("archive", "/a", 1 << 30), disk("state", "/s", (1 << 30) - 1)],
        ..healthy()
    };
    assert_eq!(found(&full), [("disk//s".to_owned(), AlertKind::Disk)]);
    let message = &current(&full)[0].message;
    assert!(message.starts_with("the disk of the state has 1023 MiB left"), "{message}");
}

#[test]
fn a_damaged_database_is_a_problem_while_its_file_exists() {
    let aside = PathBuf::from("/s/nightjar.db.damaged-1");
    let damaged = Situation { damaged_database: Some(aside), ..healthy() };
    assert_eq!(found(&damaged), [("database".to_owned(), AlertKind::Database)]);
    assert_eq!(found(&healthy()), []);
}

#[test]
fn the_end_of_the_service_is_sent_once_at_each_step() {
    let last_day = NaiveDate::from_ymd_opt(2028, 6, 30).unwrap();
    let (mut sent, mut days) = (Vec::new(), Vec::new());
    let begin = Utc.with_ymd_and_hms(2027, 1, 1, 4, 0, 0).unwrap();
    for day in 0..600 {
        let now = begin + TimeDelta::days(day);
        let ends = vec![ServiceEnd { service: "The service", last_day }];
        let alerts = current(&Situation { now, ends, ..healthy() });
        for change in changes(&alerts, &sent, now, Duration::from_hours(24)) {
            assert_eq!(change.change, Change::Broke);
            days.push((last_day - now.date_naive()).num_days());
            sent = vec![crate::store::SentAlert { acknowledged: true, ..change.alert }];
        }
    }
    assert_eq!(days, [365, 180, 90, 30, 0]);
}

#[tokio::test]
async fn a_source_whose_folder_cannot_be_read_is_a_problem() {
    let folder = TempDir::new().unwrap();
    let settings = fixtures::settings(folder.path());
    let archive = crate::archive::Archive::new(&settings.archive_dir, &settings.state_dir);
    archive.prepare().unwrap();
    std::os::unix::fs::symlink(folder.path().join("gone"), archive.folder("stores")).unwrap();
    let reporter = Reporter::new(None, archive);
    let situation = Situation::read(&reporter, &settings, noon()).await.unwrap();
    let source = ("source/stores".to_owned(), AlertKind::Failed);
    assert!(found(&situation).contains(&source), "{situation:?}");
}

#[test]
fn every_kind_is_documented_once_and_no_other_one() {
    let page = include_str!("../../docs/notifications.md");
    let kinds: Vec<_> = AlertKind::all().map(AlertKind::as_str).collect();
    assert_eq!(first_column(page, "## Alerts"), kinds);
    assert_eq!(kinds.iter().collect::<BTreeSet<_>>().len(), kinds.len());
}

/// A source that is healthy.
fn source() -> SourceStatus {
    SourceStatus {
        source: "stores".into(),
        health: Health::Ok,
        last_success: Some(noon()),
        snapshot: None,
        entities: None,
        bytes: None,
        changes: None,
        suspicious: Vec::new(),
        next_run: None,
        live_job: None,
        last_error: None,
        look: None,
        not_found: false,
        failed_restore: None,
    }
}

/// A look at an account with these data sources that nothing backs up.
fn look(unprotected: &[&str]) -> AccountLook {
    AccountLook {
        account: "contoso".into(),
        read_at: noon(),
        unprotected: unprotected.iter().map(|name| (*name).to_owned()).collect(),
        gone: Vec::new(),
    }
}

#[test]
fn a_source_that_is_not_listed_has_vanished_unless_its_last_error_says_more() {
    let kind = |status: SourceStatus| {
        let alerts = current(&Situation { sources: vec![status], ..healthy() });
        alerts.first().map(|alert| alert.kind)
    };
    let look = |is_listed| Some(SourceLook { at: noon(), is_listed });
    assert_eq!(kind(SourceStatus { look: look(true), ..source() }), None);
    let unlisted = SourceStatus { look: look(false), ..source() };
    assert_eq!(kind(unlisted.clone()), Some(AlertKind::Vanished));
    let overdue = SourceStatus { health: Health::Overdue, ..unlisted.clone() };
    assert_eq!(kind(overdue), Some(AlertKind::Vanished));
    let error = JobError { kind: ErrorKind::Credentials, message: "m".into() };
    let refused = SourceStatus { last_error: Some(error), ..unlisted };
    assert_eq!(kind(refused), Some(AlertKind::Credentials));
}

#[test]
fn data_sources_that_nothing_backs_up_are_announced_when_they_change() {
    let (mut sent, mut announced) = (Vec::new(), Vec::new());
    let days: [&[&str]; 6] = [&["A"], &["A"], &["A", "B"], &["A", "B"], &["B"], &[]];
    for (day, unprotected) in (0..).zip(days) {
        let now = noon() + TimeDelta::days(day);
        let alerts = current(&Situation { looks: vec![look(unprotected)], ..healthy() });
        let week = Duration::from_hours(7 * 24);
        for change in changes(&alerts, &sent, now, week) {
            announced.push((day, change.change));
            sent = match change.change {
                Change::Recovered => Vec::new(),
                _ => vec![crate::store::SentAlert { acknowledged: true, ..change.alert }],
            };
        }
    }
    let broke = |day| (day, Change::Broke);
    assert_eq!(announced, [broke(0), broke(2), broke(4), (5, Change::Recovered)]);
}

#[test]
fn a_message_names_a_few_data_sources_whatever_they_are_called() {
    let message = |names: &[&str]| look(names).unprotected_message();
    assert_eq!(message(&[]), None);
    assert_eq!(
        message(&["Depots"]).unwrap(),
        "1 data source is not backed up: \"Depots\"; `nightjar discover --account contoso` prints \
         the configuration"
    );
    let long = "x\n\u{1b}[2J".repeat(1000);
    let many = vec![long.as_str(); 10_000];
    let text = message(&many).unwrap();
    assert!(text.starts_with("10000 data sources are not backed up: "), "{text}");
    assert!(text.contains(" and 9990 more; "), "{text}");
    assert!(text.len() < 3000 && !text.contains(char::is_control), "{text}");
}

/// A job that waits for quota until the next day.
fn waits() -> JobView {
    JobView {
        id: 1,
        operation: Operation::Backup,
        goal: None,
        stage: None,
        version: None,
        source: "stores".into(),
        account: "contoso".into(),
        state: State::Queued,
        trigger: Trigger::Manual,
        scheduled_for: None,
        created_at: noon(),
        finished_at: None,
        due_at: Some(noon() + TimeDelta::days(1)),
        hold: Some(Wait { why: WaitReason::Quota, message: "m".into() }),
        remote_id: None,
        polls: 0,
        attempts: 0,
        error: None,
        snapshot: None,
    }
}

/// A situation with one problem, of this kind.
fn problem(kind: AlertKind) -> Situation {
    let failed = |kind| Some(JobError { kind, message: "m".into() });
    let of = |source| Situation { sources: vec![source], ..healthy() };
    match kind {
        AlertKind::Failed => {
            of(SourceStatus { last_error: failed(ErrorKind::Aborted), ..source() })
        }
        AlertKind::RestoreFailed => {
            let error = JobError { kind: ErrorKind::Corrupt, message: "m".into() };
            let failed_restore = Some(FailedRestore { job: 7, error });
            of(SourceStatus { failed_restore, ..source() })
        }
        AlertKind::Credentials => {
            of(SourceStatus { last_error: failed(ErrorKind::Credentials), ..source() })
        }
        AlertKind::Vanished => {
            let last_error = failed(ErrorKind::NotFound);
            of(SourceStatus { last_error, not_found: true, ..source() })
        }
        AlertKind::Overdue => of(SourceStatus { health: Health::Overdue, ..source() }),
        AlertKind::Suspicious => of(SourceStatus { health: Health::Suspicious, ..source() }),
        AlertKind::Unprotected => Situation { looks: vec![look(&["Depots"])], ..healthy() },
        AlertKind::Quota => of(SourceStatus { live_job: Some(waits()), ..source() }),
        AlertKind::Disk => {
            let full = DiskSpace { holds: "archive", folder: "/a".into(), free: 0 };
            Situation { disks: vec![full], ..healthy() }
        }
        AlertKind::Database => {
            Situation { damaged_database: Some("/s/damaged".into()), ..healthy() }
        }
        AlertKind::ServiceEnd => {
            let end = ServiceEnd { service: "The service", last_day: noon().date_naive() };
            Situation { ends: vec![end], ..healthy() }
        }
    }
}

#[test]
fn an_alert_about_a_suspicious_snapshot_says_how_much_changed() {
    let changes = Some(SnapshotChanges { added: 1, removed: 30, changed: 2 });
    let suspicious = vec!["too few".to_owned()];
    let source = SourceStatus { health: Health::Suspicious, suspicious, changes, ..source() };
    let known = current(&Situation { sources: vec![source.clone()], ..healthy() });
    assert!(
        known[0].message.starts_with(
            "the newest snapshot is suspicious: too few; since the snapshot before, entities: 1 \
             added, 30 removed, 2 changed; "
        ),
        "{known:?}"
    );
    let source = SourceStatus { changes: None, ..source };
    let unknown = current(&Situation { sources: vec![source], ..healthy() });
    assert!(!unknown[0].message.contains("since the snapshot"), "{unknown:?}");
}

#[test]
fn every_check_finds_the_kinds_that_it_names_and_no_other() {
    for kind in AlertKind::all() {
        let situation = problem(kind);
        for check in &CHECKS {
            let found: Vec<_> = (check.find)(&situation).iter().map(|it| it.kind).collect();
            let expected: Vec<_> = check.kinds.iter().copied().filter(|it| *it == kind).collect();
            assert_eq!(found, expected, "{kind:?}");
        }
    }
}

/// The rule for Prometheus that watches for the same problem, if metrics show it.
fn rule(kind: AlertKind) -> Option<&'static str> {
    match kind {
        AlertKind::Failed | AlertKind::Credentials | AlertKind::Vanished | AlertKind::Overdue => {
            Some("NightjarSourceUnhealthy")
        }
        AlertKind::Suspicious => Some("NightjarSnapshotSuspicious"),
        AlertKind::Unprotected => Some("NightjarSourcesUnprotected"),
        AlertKind::Quota => Some("NightjarQuotaExhausted"),
        AlertKind::Disk => Some("NightjarDiskNearlyFull"),
        AlertKind::RestoreFailed | AlertKind::Database | AlertKind::ServiceEnd => None,
    }
}

#[test]
fn what_metrics_show_of_the_problems_has_a_rule() {
    let rules = include_str!("../../docs/monitoring/alerts.yml");
    for rule in AlertKind::all().filter_map(rule) {
        assert!(rules.contains(&format!("- alert: {rule}\n")), "{rule}");
    }
}
