//! Safety backups and other versions, which no command takes for a source's backups.

use super::*;
use crate::manifest::Role;

impl Fixture {
    /// Files a snapshot of so many entities, which is for this.
    async fn keep_as(&self, role: Role, entities: u64, job: i64) -> Snapshot {
        let received = self.receive(&document(entities), job, MAX_BYTES).await;
        let origin = match role {
            Role::Version => Origin { version: Some(format!("v{job}")), ..meta(job).origin },
            Role::Ordinary | Role::Safety => meta(job).origin,
        };
        self.archive.file(received, SnapshotMeta { role, origin, ..meta(job) }).unwrap()
    }

    /// The job of the snapshot that a text names.
    fn named(&self, text: &str) -> Option<i64> {
        self.archive.select(text).ok().map(|snapshot| snapshot.manifest.job)
    }

    fn latest(&self) -> Option<PathBuf> {
        fs::read_link(self.file("latest.json")).ok()
    }
}

#[tokio::test]
async fn only_an_ordinary_snapshot_is_the_newest() {
    let fixture = Fixture::new();
    fixture.keep_as(Role::Safety, 9, 1).await;
    assert_eq!(fixture.archive.newest("places").unwrap(), None);
    assert_eq!((fixture.named("places"), fixture.latest()), (None, None));
    fixture.keep_as(Role::Ordinary, 5, 2).await;
    fixture.keep_as(Role::Safety, 9, 3).await;
    fixture.keep_as(Role::Version, 8, 4).await;
    assert_eq!(fixture.archive.newest("places").unwrap().unwrap().manifest.job, 2);
    assert_eq!(fixture.archive.baseline("places").unwrap().unwrap().manifest.entities, 5);
    assert_eq!(fixture.named("places"), Some(2));
    assert_eq!(fixture.latest(), Some(PathBuf::from("20261125T040000Z-2.json")));
    assert_eq!(fixture.findings(), Vec::<String>::new());
    // A link that an older version set is put right by the next backup.
    fs::remove_file(fixture.file("latest.json")).unwrap();
    std::os::unix::fs::symlink("20261125T060000Z-4.json", fixture.file("latest.json")).unwrap();
    assert_eq!(fixture.findings(), ["latest latest.json"]);
    fixture.keep_as(Role::Version, 8, 5).await;
    assert_eq!(fixture.findings(), Vec::<String>::new());
}

#[tokio::test]
async fn a_damaged_newest_snapshot_is_not_skipped() {
    let fixture = Fixture::new();
    fixture.keep_as(Role::Ordinary, 5, 1).await;
    let newest = fixture.keep_as(Role::Ordinary, 6, 2).await;
    fixture.keep_as(Role::Safety, 6, 3).await;
    fs::write(&newest.path, "{}").unwrap();
    let error = fixture.archive.select("places").unwrap_err();
    assert!(matches!(error, SelectError::Manifest { .. }), "{error}");
}

#[tokio::test]
async fn a_job_or_a_whole_timestamp_names_any_snapshot_and_a_date_ordinary_ones() {
    let fixture = Fixture::new();
    fixture.keep_as(Role::Ordinary, 5, 1).await;
    fixture.keep_as(Role::Safety, 6, 2).await;
    fixture.keep_as(Role::Version, 7, 3).await;
    for (text, job) in [
        ("places@1", 1),
        ("places@2", 2),
        ("places@3", 3),
        ("places@20261125T040000Z", 2),
        ("places@20261125T050000Z", 3),
        ("places@20261125T0500", 1),
        ("places@20261125", 1),
        ("places@20261125T060000Z", 1),
        ("places@2026-11-25", 1),
        ("places@2026-11-25T05:00:00Z", 1),
    ] {
        assert_eq!(fixture.named(text), Some(job), "{text}");
    }
    // Of two at one second the ordinary one is meant.
    let received = fixture.receive(&document(8), 4, MAX_BYTES).await;
    let created_at = at(3);
    fixture.archive.file(received, SnapshotMeta { created_at, ..meta(4) }).unwrap();
    assert_eq!(fixture.named("places@20261125T050000Z"), Some(4));
}

#[tokio::test]
async fn a_difference_is_counted_from_an_ordinary_snapshot() {
    let fixture = Fixture::new();
    fixture.keep_as(Role::Ordinary, 5, 1).await;
    let safety = fixture.keep_as(Role::Safety, 6, 2).await;
    let version = fixture.keep_as(Role::Version, 7, 3).await;
    let newest = fixture.keep_as(Role::Ordinary, 8, 4).await;
    let before = |snapshot: &Snapshot| {
        let earlier = fixture.archive.earlier(snapshot).unwrap();
        earlier.map(|it| it.manifest.job)
    };
    assert_eq!([&safety, &version, &newest].map(before), [Some(1); 3]);
    // A source that asked for another version until now is compared with nothing of it.
    let received = fixture.receive(&document(9), 5, MAX_BYTES).await;
    let origin = Origin { version: Some("v".into()), ..meta(5).origin };
    let other = fixture.archive.file(received, SnapshotMeta { origin, ..meta(5) }).unwrap();
    assert_eq!(before(&other), None);
}

#[tokio::test]
async fn equal_content_costs_no_space_whatever_it_is_for() {
    let fixture = Fixture::new();
    let same_as = |snapshot: Snapshot| snapshot.manifest.same_content_as;
    fixture.keep_as(Role::Ordinary, 5, 1).await;
    fixture.keep_as(Role::Ordinary, 6, 2).await;
    let first = Some("20261125T030000Z-1.json".to_owned());
    let second = Some("20261125T040000Z-2.json".to_owned());
    // An older version that was published when the first backup was made.
    assert_eq!(same_as(fixture.keep_as(Role::Version, 5, 3).await), first);
    assert_eq!(same_as(fixture.keep_as(Role::Safety, 6, 4).await), second);
    // An ordinary one is compared with the ordinary one before it.
    assert_eq!(same_as(fixture.keep_as(Role::Ordinary, 6, 5).await), second);
    assert_eq!(fixture.findings(), Vec::<String>::new());
}

#[tokio::test]
async fn retention_counts_each_role_by_itself() {
    let fixture = Fixture::new();
    let roles = [Role::Ordinary, Role::Safety, Role::Version];
    for job in 1..=36 {
        let role = roles[usize::try_from(job).unwrap() % 3];
        fixture.keep_as(role, 5, job).await;
    }
    let name = |job: i64| Name::new(at(job), job);
    let hold = Hold { reason: "a restore".into(), since: at(1) };
    fixture.archive.hold("places", name(1), &hold).unwrap();
    let policy =
        Rules { keep_last: 2, keep_daily: 0, keep_weekly: 0, keep_monthly: 0, keep_yearly: 0 };
    let plan = fixture.archive.plan_pruning("places", &policy, chrono_tz::UTC, at(99)).unwrap();
    let kept = |role: Role| -> Vec<(i64, String)> {
        let of_role = plan.iter().filter(|it| it.snapshot.manifest.role == role);
        let kept = of_role.filter(|it| !it.reasons.is_empty());
        kept.map(|it| (it.snapshot.manifest.job, it.reasons.join("; "))).collect()
    };
    let line = |job, reasons: &str| (job, reasons.to_owned());
    assert_eq!(
        kept(Role::Ordinary),
        [line(36, "last 1 of 2; newest good one"), line(33, "last 2 of 2")]
    );
    assert_eq!(
        kept(Role::Safety),
        [
            line(34, "safety backup 1 of 2"),
            line(31, "safety backup 2 of 2"),
            line(1, "held: a restore")
        ]
    );
    let versions: Vec<i64> = kept(Role::Version).into_iter().map(|(job, _)| job).collect();
    assert_eq!(versions, [35, 32, 29, 26, 23, 20, 17, 14, 11, 8]);
    let jobs: Vec<i64> = plan.iter().map(|it| it.snapshot.manifest.job).collect();
    assert_eq!(jobs, (1..=36).rev().collect::<Vec<_>>());
}
