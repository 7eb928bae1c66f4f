//! Counting against a real archive and a real database.

use super::*;
use crate::archive::{Archive, SnapshotMeta};
use crate::manifest::{ChangeCounts, Role};
use crate::report::{Reporter, SnapshotChanges};
use crate::simulator::Data;
use crate::store::{NewJob, Store, StoredComparison};
use crate::tests::fixtures;
use chrono::{DateTime, TimeDelta, TimeZone, Utc};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

fn night(number: i64) -> DateTime<Utc> {
    Utc.with_ymd_and_hms(2026, 11, 25, 2, 0, 0).unwrap() + TimeDelta::days(number)
}

struct Fixture {
    folder: TempDir,
    store: Store,
    archive: Archive,
    reporter: Reporter,
}

impl Fixture {
    async fn new() -> Fixture {
        let folder = TempDir::new().unwrap();
        let settings = fixtures::settings(folder.path());
        let store = Store::open(&settings.state_dir, 0).await.unwrap();
        let archive = Archive::new(&settings.archive_dir, &settings.state_dir);
        archive.prepare().unwrap();
        let reporter = Reporter::new(Some(store.clone()), archive.clone());
        Fixture { folder, store, archive, reporter }
    }

    /// Archives these documents, a night each.
    async fn nights(documents: &[Data]) -> Fixture {
        let fixture = Fixture::new().await;
        for (job, document) in (1..).zip(documents) {
            let meta = fixtures::snapshot_meta(job, night(job));
            fixtures::file_document(&fixture.archive, meta, document).await;
        }
        fixture
    }

    fn counting(&self) -> Counting {
        let (store, archive) = (self.store.clone(), self.archive.clone());
        Counting::new(store, archive, self.reporter.clone(), self.folder.path())
    }

    async fn count(&self) {
        let stop = CancellationToken::new();
        // What stops it here is seen in what is known afterwards.
        let _ = self.counting().count_all(&["stores".to_owned()], 400, &stop).await;
    }

    /// Job, added, removed, changed of each night that is known.
    async fn known(&self) -> Vec<(i64, [u64; 3])> {
        let known = self.reporter.changes("stores", 400).await.unwrap();
        let known = known.into_iter().map(|(name, changes)| {
            let SnapshotChanges { added, removed, changed } = changes;
            (name.job(), [added, removed, changed])
        });
        known.collect()
    }
}

fn renamed(data: &Data, count: usize) -> Data {
    data.edited(|text| text.replacen("</Name>", "!</Name>", count))
}

/// Five nights: eight places, ten, the same, three renamed, five.
async fn five_nights() -> Fixture {
    let (eight, ten, five) = (Data::first_places(8), Data::first_places(10), Data::first_places(5));
    let renamed = renamed(&ten, 3);
    Fixture::nights(&[eight, ten.clone(), ten, renamed, five]).await
}

const COUNTED: [(i64, [u64; 3]); 4] =
    [(2, [2, 0, 0]), (3, [0, 0, 0]), (4, [0, 0, 3]), (5, [0, 5, 3])];

#[tokio::test]
async fn each_night_is_compared_with_the_one_before_it() {
    let fixture = five_nights().await;
    assert_eq!(fixture.known().await, [(3, [0, 0, 0])], "the same content needs no comparison");
    fixture.count().await;
    assert_eq!(fixture.known().await, COUNTED);
    let settings = fixtures::settings(fixture.folder.path());
    let status = fixture.reporter.sources(&settings, night(6)).await.unwrap().remove(0);
    let changes = SnapshotChanges { added: 0, removed: 5, changed: 3 };
    assert_eq!(status.changes, Some(changes));
    // A new process finds them again.
    let reporter = Reporter::new(Some(fixture.store.clone()), fixture.archive.clone());
    assert_eq!(reporter.changes("stores", 400).await.unwrap().len(), 4);
    assert_eq!(reporter.changes("stores", 1).await.unwrap().len(), 1);
    assert_eq!(reporter.uncompared("stores", 400).await.unwrap(), []);
}

#[tokio::test]
async fn safety_backups_and_other_versions_are_no_nights() {
    let ten = Data::first_places(10);
    let fixture = Fixture::nights(&[Data::first_places(8), ten.clone()]).await;
    for (job, role) in [(3, Role::Safety), (4, Role::Version)] {
        let meta = SnapshotMeta { role, ..fixtures::snapshot_meta(job, night(job)) };
        fixtures::file_document(&fixture.archive, meta, &Data::first_places(5)).await;
    }
    let meta = fixtures::snapshot_meta(5, night(5));
    fixtures::file_document(&fixture.archive, meta, &renamed(&ten, 1)).await;
    fixture.count().await;
    assert_eq!(fixture.known().await, [(2, [2, 0, 0]), (5, [0, 0, 1])]);
}

#[tokio::test]
async fn a_night_whose_predecessor_was_pruned_is_compared_with_the_one_before_that() {
    let fixture = five_nights().await;
    fixture.count().await;
    let names = fixture.archive.names("stores").unwrap();
    let folder = fixture.archive.folder("stores");
    // The fourth.
    std::fs::remove_file(folder.join(names[1].manifest())).unwrap();
    assert_eq!(fixture.known().await, [COUNTED[0], COUNTED[1]]);
    fixture.count().await;
    assert_eq!(fixture.known().await, [COUNTED[0], COUNTED[1], (5, [0, 5, 0])]);
    let stored = fixture.store.comparisons("stores", crate::diff::RULES).await.unwrap();
    assert_eq!(stored.len(), 3, "and what was kept about it is forgotten: {stored:?}");
}

#[tokio::test]
async fn stored_counts_that_the_manifests_contradict_are_counted_again() {
    let fixture = five_nights().await;
    fixture.count().await;
    let stored = fixture.store.comparisons("stores", crate::diff::RULES).await.unwrap();
    for it in stored {
        let counts = it.counts.map(|it| ChangeCounts { added: it.added + 1, ..it });
        let spoiled = StoredComparison { counts, ..it };
        fixture.store.record_comparison("stores", &spoiled, crate::diff::RULES).await.unwrap();
    }
    assert_eq!(fixture.known().await, [COUNTED[1]]);
    fixture.count().await;
    assert_eq!(fixture.known().await, COUNTED);
}

#[tokio::test]
async fn a_damaged_snapshot_hides_only_its_own_comparisons() {
    let fixture = five_nights().await;
    let newest = fixture.archive.newest("stores").unwrap().unwrap();
    let length = std::fs::metadata(newest.data()).unwrap().len();
    std::fs::write(newest.data(), vec![0; usize::try_from(length).unwrap()]).unwrap();
    let mut counting = fixture.counting();
    let (sources, stop) = (["stores".to_owned()], CancellationToken::new());
    counting.count_newest(&sources, &stop).await;
    assert_eq!(fixture.known().await, [COUNTED[1]]);
    fixture.count().await;
    assert_eq!(fixture.known().await, COUNTED[..3]);
}

#[tokio::test]
async fn contents_with_different_keys_are_compared_once() {
    let ten = Data::first_places(10);
    let other = ten.edited(|text| text.replace("EntityID", "OtherID"));
    let fixture = Fixture::nights(&[ten, other]).await;
    assert_eq!(fixture.reporter.uncompared("stores", 400).await.unwrap().len(), 1);
    fixture.count().await;
    assert_eq!(fixture.reporter.uncompared("stores", 400).await.unwrap(), []);
    assert_eq!(fixture.known().await, []);
}

#[tokio::test]
async fn nothing_is_counted_while_a_result_is_downloaded() {
    let fixture = five_nights().await;
    let new = NewJob {
        source: "other".into(),
        account: "contoso".into(),
        trigger: crate::job::Trigger::Manual,
        note: "created by hand".into(),
    };
    let (job, _) = fixture.store.job_for(new, night(6)).await.unwrap();
    fixture.store.set_ready(job.id).await.unwrap();
    fixture.count().await;
    assert_eq!(fixture.known().await, [COUNTED[1]]);
    fixture.store.cancel(job.id, night(6)).await.unwrap();
    fixture.count().await;
    assert_eq!(fixture.known().await, COUNTED);
}

#[tokio::test]
async fn a_stop_ends_counting() {
    let fixture = five_nights().await;
    let stop = CancellationToken::new();
    stop.cancel();
    fixture.counting().count_newest(&["stores".to_owned()], &stop).await;
    assert_eq!(fixture.known().await, [COUNTED[1]]);
}

#[tokio::test]
async fn what_changed_is_shown_up_to_its_limits() {
    let many = Data::first_places(200);
    let hostile = many.edited(|text| {
        let long = "x".repeat(5000);
        text.replacen("</Name>", &format!("\u{202e}&lt;script&gt;{long}</Name>"), 1)
    });
    let fixture = Fixture::nights(&[Data::first_places(1), hostile, many]).await;
    let all: Vec<_> = fixture.archive.snapshots("stores").unwrap().collect();
    let comparer = Comparer::new(fixture.archive.clone(), fixture.folder.path());
    let stop = CancellationToken::new();
    let shown = comparer.show(all[2].clone(), all[1].clone(), &stop).await.unwrap();
    let ChangeCounts { added, removed, changed, unchanged } = shown.counts;
    assert_eq!((added, removed, changed + unchanged), (199, 0, 1));
    assert_eq!(shown.listed.len(), 100);
    assert_eq!((shown.placed, shown.places.len() as u64), (199 + changed, 199 + changed));
    let shown = comparer.show(all[1].clone(), all[0].clone(), &stop).await.unwrap();
    assert_eq!(shown.listed.len(), 1);
    let only = &shown.listed[0];
    assert_eq!((only.kind, only.columns.len(), only.more_columns), (ChangeKind::Changed, 1, 0));
    assert!(only.columns[0].starts_with("Name: "), "{only:?}");
    assert!(only.columns[0].contains(r"\u{202e}<script>x") && only.columns[0].len() < 600);
    assert_eq!(shown.places[0].kind, ChangeKind::Changed);
}

#[tokio::test]
async fn a_snapshot_that_was_removed_meanwhile_is_no_damage() {
    let fixture = five_nights().await;
    let all: Vec<_> = fixture.archive.snapshots("stores").unwrap().collect();
    let comparer = Comparer::new(fixture.archive.clone(), fixture.folder.path());
    std::fs::remove_file(&all[1].path).unwrap();
    std::fs::remove_file(all[1].data()).unwrap();
    let stop = CancellationToken::new();
    let removed = comparer.show(all[1].clone(), all[0].clone(), &stop).await;
    assert!(matches!(removed, Err(CompareError::Removed)), "{removed:?}");
    std::fs::write(all[3].data(), "damaged").unwrap();
    let damaged = comparer.show(all[3].clone(), all[0].clone(), &stop).await;
    assert!(matches!(damaged, Err(CompareError::Diff(_))), "{damaged:?}");
    stop.cancel();
    let stopped = comparer.show(all[4].clone(), all[0].clone(), &stop).await;
    assert!(matches!(stopped, Err(CompareError::Stopped)), "{stopped:?}");
}
