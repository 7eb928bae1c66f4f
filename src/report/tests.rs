use super::*;
use crate::archive::SnapshotMeta;
use crate::job::{Job, Wait};
use crate::manifest::Origin;
use crate::tests::fixtures;
use chrono::{TimeDelta, TimeZone};
use tempfile::TempDir;

/// The morning after this many nights with a run at two o'clock.
fn morning(nights: i64) -> DateTime<Utc> {
    Utc.with_ymd_and_hms(2026, 11, 25, 9, 0, 0).unwrap() + TimeDelta::days(nights)
}

struct Fixture {
    folder: TempDir,
    store: Store,
    archive: Archive,
    settings: Settings,
}

impl Fixture {
    /// A source that is due every night at two, known since night 0.
    async fn new() -> Fixture {
        let folder = TempDir::new().unwrap();
        let settings = fixtures::settings(folder.path());
        let store = Store::open(&settings.state_dir, 0).await.unwrap();
        let archive = Archive::new(&settings.archive_dir, &settings.state_dir);
        archive.prepare().unwrap();
        for source in &settings.sources {
            let since = morning(0);
            let identity = source.schedule_identity();
            store.advance_schedule(&source.name, &identity, since, since).await.unwrap();
        }
        Fixture { folder, store, archive, settings }
    }

    /// Files a snapshot of a job, with a clock that shows `at`.
    async fn keep(&self, job: i64, at: DateTime<Utc>, suspicious: bool) {
        let reasons: &[&str] = if suspicious { &["too few"] } else { &[] };
        fixtures::file_snapshot(&self.archive, job, at, reasons).await;
    }

    async fn status(&self, now: DateTime<Utc>) -> SourceStatus {
        let reporter = Reporter::new(Some(self.store.clone()), self.archive.clone());
        reporter.sources(&self.settings, now).await.unwrap().remove(0)
    }
}

#[tokio::test]
async fn a_source_that_is_suspicious_every_night_is_overdue() {
    let fixture = Fixture::new().await;
    fixture.keep(1, morning(1), false).await;
    fixture.keep(2, morning(2), true).await;
    let status = fixture.status(morning(2)).await;
    // The grace period of the night's run ends at eight.
    assert_eq!(status.health, Health::Overdue);
    assert_eq!(status.last_success, Some(morning(1)));
    assert_eq!(status.suspicious, ["too few"]);
    assert!(status.snapshot.unwrap().ends_with("20261127T090000Z-2.json"));
    // The newest good snapshot counts.
    fixture.keep(3, morning(3), false).await;
    fixture.keep(4, morning(3) + TimeDelta::hours(1), true).await;
    let status = fixture.status(morning(3) + TimeDelta::hours(2)).await;
    assert_eq!((status.health, status.last_success), (Health::Suspicious, Some(morning(3))));
}

#[tokio::test]
async fn a_safety_backup_or_another_version_is_no_success() {
    for role in [Role::Safety, Role::Version] {
        let fixture = Fixture::new().await;
        let file = |job, at, role| {
            let meta = SnapshotMeta { role, ..fixtures::snapshot_meta(job, at) };
            fixtures::file_with(&fixture.archive, meta, 9)
        };
        file(1, morning(1), role).await;
        let status = fixture.status(morning(1)).await;
        assert_eq!((status.health, status.last_success), (Health::Overdue, None), "{role:?}");
        assert_eq!((status.snapshot, status.entities), (None, None));
        fixture.keep(2, morning(1), false).await;
        file(3, morning(3), role).await;
        let status = fixture.status(morning(3)).await;
        assert_eq!((status.health, status.last_success), (Health::Overdue, Some(morning(1))));
        assert!(status.snapshot.unwrap().ends_with("20261126T090000Z-2.json"));
        assert_eq!(status.entities, Some(5));
    }
}

#[tokio::test]
async fn every_snapshot_is_listed_whatever_it_is_for() {
    let fixture = Fixture::new().await;
    fixture.keep(1, morning(1), false).await;
    let ordinary = fixtures::snapshot_meta(2, morning(2));
    let safety = SnapshotMeta { role: Role::Safety, ..ordinary.clone() };
    fixtures::file_with(&fixture.archive, safety, 5).await;
    let origin = Origin { version: Some("5bb0".into()), ..ordinary.origin.clone() };
    let version = SnapshotMeta { role: Role::Version, origin, job: 3, ..ordinary };
    fixtures::file_with(&fixture.archive, version, 5).await;
    let reporter = Reporter::new(None, fixture.archive.clone());
    let names = reporter.snapshot_names(Some("stores")).unwrap().names;
    let listed = reporter.snapshots_of(names, &CancellationToken::new());
    let shown: Vec<_> = listed
        .iter()
        .map(|it| serde_json::to_value(it).unwrap())
        .map(|it| serde_json::json!([it["job"], it["safety"], it["version"]]).to_string())
        .collect();
    assert_eq!(shown, ["[3,false,\"5bb0\"]", "[2,true,null]", "[1,false,null]"]);
}

#[tokio::test]
async fn a_source_whose_every_snapshot_is_suspicious_has_no_last_success() {
    let fixture = Fixture::new().await;
    fixture.keep(1, morning(1), true).await;
    let status = fixture.status(morning(1)).await;
    assert_eq!((status.health, status.last_success), (Health::Overdue, None));
}

#[tokio::test]
async fn a_source_is_overdue_despite_a_snapshot_dated_in_the_future() {
    let fixture = Fixture::new().await;
    fixture.keep(1, morning(1), false).await;
    fixture.keep(2, morning(366), false).await;
    let status = fixture.status(morning(2)).await;
    assert_eq!((status.health, status.last_success), (Health::Overdue, Some(morning(1))));
    // A few minutes ahead are tolerated.
    let status = fixture.status(morning(366) - TimeDelta::minutes(4)).await;
    assert_eq!((status.health, status.last_success), (Health::Ok, Some(morning(366))));
    // The next one is the newest, and good.
    fixture.keep(3, morning(2), false).await;
    let status = fixture.status(morning(2)).await;
    assert_eq!((status.health, status.last_success), (Health::Ok, Some(morning(2))));
    assert!(status.snapshot.unwrap().ends_with("20261127T090000Z-3.json"));
}

#[tokio::test]
async fn a_source_whose_folder_cannot_be_read_does_not_hide_the_others() {
    let fixture = Fixture::new().await;
    std::os::unix::fs::symlink(
        fixture.folder.path().join("gone"),
        fixture.archive.folder("stores"),
    )
    .unwrap();
    let reporter = Reporter::new(Some(fixture.store.clone()), fixture.archive.clone());
    let shown = reporter.sources(&fixture.settings, morning(0)).await.unwrap();
    let health: Vec<_> = shown.iter().map(|source| source.health).collect();
    assert_eq!(health, [Health::Failing, Health::New]);
    let error = shown[0].last_error.as_ref().unwrap();
    assert_eq!(error.kind, ErrorKind::Storage);
    assert!(error.message.contains("mount its disk"), "{error:?}");
}

#[tokio::test]
async fn a_source_that_cannot_be_read_hides_no_other_one_s_snapshots() {
    let place = Fixture::new().await;
    let reporter = Reporter::new(None, place.archive.clone());
    let gone = place.archive.folder("gone");
    std::os::unix::fs::symlink("nowhere", &gone).unwrap();
    let ReportError::Archive { error, .. } = reporter.snapshot_names(None).unwrap_err() else {
        panic!("another kind");
    };
    assert!(error.to_string().starts_with("gone: "), "{error}");
    place.keep(1, morning(1), false).await;
    let found = reporter.snapshot_names(None).unwrap();
    assert_eq!(found.names.len(), 1);
    assert_eq!(found.unreadable.len(), 1);
    assert_eq!(found.unreadable[0].0, "gone");
    assert_eq!(reporter.snapshot_names(Some("stores")).unwrap().names, found.names);
    reporter.snapshot_names(Some("gone")).unwrap_err();
}

#[tokio::test]
async fn facts_of_removed_snapshots_are_dropped() {
    let fixture = Fixture::new().await;
    for job in 1..=3 {
        // Each is read until a good one is found.
        fixture.keep(job, morning(job), true).await;
    }
    let reporter = Reporter::new(Some(fixture.store.clone()), fixture.archive.clone());
    reporter.sources(&fixture.settings, morning(3)).await.unwrap();
    assert_eq!(reporter.known.lock().unwrap().len(), 3);
    let folder = fixture.archive.folder("stores");
    std::fs::remove_file(folder.join(Name::new(morning(1), 1).manifest())).unwrap();
    reporter.sources(&fixture.settings, morning(3)).await.unwrap();
    assert_eq!(reporter.known.lock().unwrap().len(), 2);
}

#[tokio::test]
async fn a_job_whose_submission_is_under_way_waits_for_nothing() {
    let fixture = Fixture::new().await;
    let new = crate::store::NewJob {
        source: "stores".to_owned(),
        account: "contoso".to_owned(),
        trigger: crate::job::Trigger::Manual,
        note: "made".to_owned(),
    };
    let (job, _) = fixture.store.job_for(new, morning(0)).await.unwrap();
    let wait = Wait { why: crate::job::WaitReason::Local, message: "no descriptors".to_owned() };
    let waiting = Job { waiting: Some(wait.clone()), ..job };
    assert_eq!(JobView::from(waiting.clone()).hold, Some(wait));
    let remote = Some(crate::job::RemoteJob::intended(morning(0)));
    assert_eq!(JobView::from(Job { remote, attempts: 1, ..waiting }).hold, None);
}
