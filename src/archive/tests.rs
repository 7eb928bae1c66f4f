mod beside;
mod codecs;
mod roles;
mod trust;
mod verify;

use super::*;
use crate::dataset::{Unproven, ValidationError};
use crate::format::DATASET;
use crate::manifest::{Manifest, Name, Origin};
use crate::policy::retention::Rules;
use crate::simulator::{Damage, Data};
use bytes::Bytes;
use chrono::{DateTime, TimeDelta, TimeZone, Utc};
use futures_util::stream;
use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::sync::atomic::{AtomicUsize, Ordering};
use tempfile::TempDir;

fn at(hours: i64) -> DateTime<Utc> {
    Utc.with_ymd_and_hms(2026, 11, 25, 2, 0, 0).unwrap() + TimeDelta::hours(hours)
}

struct Fixture {
    _folder: TempDir,
    archive: Archive,
}

impl Fixture {
    fn new() -> Fixture {
        let folder = TempDir::new().unwrap();
        let archive = Archive::new(&folder.path().join("archive"), folder.path());
        archive.prepare().unwrap();
        Fixture { _folder: folder, archive }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.archive.folder("places").join(name)
    }

    async fn receive(&self, document: &[u8], job: i64, max_bytes: u64) -> Received {
        let pieces: Vec<Result<Bytes, ()>> =
            document.chunks(10_007).map(|piece| Ok(Bytes::copy_from_slice(piece))).collect();
        let incoming = Incoming { max_bytes, ..incoming(job, attempt(job)) };
        let received = self.archive.receive(incoming, stream::iter(pieces), |_| {});
        received.await.unwrap()
    }

    /// Files the document as the snapshot of this job.
    async fn keep(&self, document: &[u8], job: i64) -> Snapshot {
        self.keep_dated(document, job, at(job)).await
    }

    /// The same, by a clock that says `created_at`.
    async fn keep_dated(&self, document: &[u8], job: i64, created_at: DateTime<Utc>) -> Snapshot {
        let received = self.receive(document, job, MAX_BYTES).await;
        let meta = SnapshotMeta { created_at, completed_at: created_at, ..meta(job) };
        self.archive.file(received, meta).unwrap()
    }

    fn verify(&self) -> Verification {
        self.archive.verify(&[], &|_| {})
    }

    /// What `verify` finds, as `kind file`.
    fn findings(&self) -> Vec<String> {
        self.verify()
            .findings
            .iter()
            .map(|it| format!("{} {}", it.kind, it.file.file_name().unwrap().display()))
            .collect()
    }

    fn edit(&self, manifest: &str, change: impl FnOnce(&mut Manifest)) {
        let path = self.file(manifest);
        let mut value = catalogue::read(&path).unwrap();
        change(&mut value);
        fs::write(&path, value.render().unwrap()).unwrap();
    }

    /// What a version without checksums would have written.
    fn make_older(&self, manifest: &str) {
        let path = self.file(manifest);
        let text = fs::read_to_string(&path).unwrap();
        let (text, _) = text.split_once(",\n  \"unreadable\"").unwrap();
        fs::write(&path, format!("{text}\n}}\n")).unwrap();
    }
}

/// As much as any document here may have.
const MAX_BYTES: u64 = 1 << 30;

/// The only attempt of this job's own worker.
fn attempt(job: i64) -> Attempt {
    Attempt::new(&format!("{job}-0123456789abcdef"), 1)
}

/// A download for this job's snapshot.
fn incoming(job: i64, attempt: Attempt) -> Incoming<'static> {
    let name = Name::new(at(job), job);
    Incoming { source: "places", name, attempt, format: &DATASET, max_bytes: MAX_BYTES }
}

fn meta(job: i64) -> SnapshotMeta {
    let (access_id, data_source) = ("20181f26".into(), "Places".into());
    let origin = Origin { access_id, data_source, version: None };
    SnapshotMeta {
        remote_id: Some("abc".into()),
        ..SnapshotMeta::new("places", &origin, job, at(job), at(job))
    }
}

fn document(entities: u64) -> Vec<u8> {
    Data::first_places(entities).document().to_vec()
}

#[tokio::test]
async fn content_takes_no_more_memory_than_what_was_ever_written() {
    let fixture = Fixture::new();
    let snapshot = fixture.keep(&Data::first_places(1).document(), 1).await;
    let read_with_window = |log| {
        let mut encoder = zstd::Encoder::new(Vec::new(), 3).unwrap();
        encoder.set_parameter(zstd::stream::raw::CParameter::WindowLog(log)).unwrap();
        encoder.write_all(b"content").unwrap();
        fs::write(snapshot.data(), encoder.finish().unwrap()).unwrap();
        let mut content = String::new();
        fixture.archive.content(&snapshot, 100)?.read_to_string(&mut content).map(|_| content)
    };
    assert_eq!(read_with_window(19).unwrap(), "content");
    assert_eq!(read_with_window(23).unwrap(), "content");
    let error = read_with_window(24).unwrap_err();
    assert!(error.to_string().contains("too much memory"), "{error}");
}

#[tokio::test]
async fn a_snapshot_is_the_exact_bytes_under_private_names() {
    let fixture = Fixture::new();
    let document = document(50);
    let snapshot = fixture.keep(&document, 1).await;
    assert_eq!(snapshot.manifest.entities, 50);
    assert_eq!(snapshot.path, fixture.file("20261125T030000Z-1.json"));
    assert_eq!(snapshot.data(), fixture.file("20261125T030000Z-1.xml.zst"));
    assert_eq!(zstd::decode_all(File::open(snapshot.data()).unwrap()).unwrap(), document);
    assert_eq!(snapshot.manifest.content.bytes, document.len() as u64);
    let stored = fs::metadata(snapshot.data()).unwrap();
    assert_eq!(snapshot.manifest.stored.bytes, stored.len());
    assert_eq!(snapshot.manifest.stored.sha256, filing::digest(&snapshot.data()).unwrap());
    assert_eq!(stored.permissions().mode() & 0o777, 0o600);
    let folder = fs::metadata(fixture.archive.folder("places")).unwrap();
    assert_eq!(folder.permissions().mode() & 0o777, 0o700);
    let latest = fs::read_link(fixture.file("latest.json")).unwrap();
    assert_eq!(latest, Path::new("20261125T030000Z-1.json"));
    assert_eq!(fixture.verify(), Verification { ok: true, checked: 1, findings: Vec::new() });
    assert_eq!(fs::read_dir(fixture.archive.folder("places")).unwrap().count(), 3);
}

#[tokio::test]
async fn identical_snapshots_are_hard_linked_and_different_ones_are_not() {
    let fixture = Fixture::new();
    let first = fixture.keep(&document(50), 1).await;
    let second = fixture.keep(&document(50), 2).await;
    let third = fixture.keep(&document(51), 3).await;
    let inode = |snapshot: &Snapshot| fs::metadata(snapshot.data()).unwrap().ino();
    assert_eq!(inode(&first), inode(&second));
    assert_ne!(inode(&second), inode(&third));
    assert_eq!(second.manifest.same_content_as.as_deref(), Some("20261125T030000Z-1.json"));
    assert_eq!(third.manifest.same_content_as, None);
    assert!(fixture.verify().ok);
    // Each is whole by itself.
    fs::remove_file(&first.path).unwrap();
    fs::remove_file(first.data()).unwrap();
    let left = fixture.verify();
    assert_eq!((left.ok, left.checked, left.findings), (true, 2, Vec::new()));
}

#[tokio::test]
async fn no_link_is_made_to_a_damaged_file() {
    let fixture = Fixture::new();
    let first = fixture.keep(&document(50), 1).await;
    let mut bytes = fs::read(first.data()).unwrap();
    bytes[100] ^= 1;
    fs::write(first.data(), bytes).unwrap();
    let second = fixture.keep(&document(50), 2).await;
    assert_eq!(second.manifest.same_content_as, None);
    assert_eq!(fixture.findings(), ["damaged 20261125T030000Z-1.xml.zst"]);
}

#[tokio::test]
async fn a_download_that_breaks_leaves_nothing() {
    let fixture = Fixture::new();
    let document = Bytes::from(document(50));
    let chunks = stream::iter([Ok(document.slice(..5000)), Err("reset")]);
    let broken = fixture.archive.receive(incoming(1, attempt(1)), chunks, |_| {}).await;
    assert!(matches!(broken, Err(ReceiveError::Remote("reset"))));
    assert_eq!(fs::read_dir(fixture.archive.folder("places")).unwrap().count(), 0);
}

#[tokio::test]
async fn an_oversized_download_stops_at_the_limit() {
    let fixture = Fixture::new();
    let received = fixture.receive(&document(3000), 1, 100_000).await;
    let error = received.validation.unwrap_err();
    let is_too_large = matches!(error.downcast_ref(), Some(ValidationError::TooLarge { .. }));
    assert!(is_too_large, "{error}");
    assert!(received.content.bytes < 200_000, "{} bytes were read", received.content.bytes);
}

#[tokio::test]
async fn the_newest_three_failed_downloads_are_quarantined() {
    let fixture = Fixture::new();
    let document = Data::first_places(20).damaged(Damage::Truncated).document();
    for job in 1..=5 {
        let received = fixture.receive(&document, job, MAX_BYTES).await;
        assert!(received.validation.is_err());
        let name = Name::new(at(job), job);
        let kept = fixture.archive.quarantine("places", name, 1, false, received).unwrap();
        assert_eq!(zstd::decode_all(File::open(kept).unwrap()).unwrap(), document);
    }
    let quarantine = fixture.archive.quarantine.join("places");
    assert_eq!(fs::read_dir(quarantine).unwrap().count(), 3);
    assert_eq!(fs::read_dir(fixture.archive.folder("places")).unwrap().count(), 0);
}

#[tokio::test]
async fn the_catalogue_is_read_from_the_directory_alone() {
    let fixture = Fixture::new();
    assert_eq!(fixture.archive.sources().unwrap(), Vec::<String>::new());
    assert_eq!(fixture.archive.highest_job().unwrap(), 0);
    assert!(fixture.archive.newest("places").unwrap().is_none());
    fixture.keep(&document(10), 1).await;
    fixture.keep(&document(12), 3).await;
    assert_eq!(fixture.archive.sources().unwrap(), ["places"]);
    assert_eq!(fixture.archive.highest_job().unwrap(), 3);
    let jobs: Vec<_> =
        fixture.archive.snapshots("places").unwrap().map(|one| one.manifest.job).collect();
    assert_eq!(jobs, [3, 1]);
    assert_eq!(
        fixture.archive.baseline("places").unwrap().map(|it| it.manifest.entities),
        Some(12)
    );
    fixture.edit("20261125T050000Z-3.json", |manifest| manifest.suspicious = vec!["few".into()]);
    assert_eq!(
        fixture.archive.baseline("places").unwrap().map(|it| it.manifest.entities),
        Some(10)
    );
    assert!(fixture.archive.find("places", Name::new(at(1), 1)).is_some());
    assert!(fixture.archive.find("places", Name::new(at(1), 2)).is_none());
}

#[tokio::test]
async fn a_partial_file_belongs_to_one_attempt() {
    let fixture = Fixture::new();
    let first = fixture.receive(&document(50), 1, MAX_BYTES).await;
    let chunks = || stream::iter([Ok::<_, ()>(Bytes::from(document(9)))]);
    // The same attempt again finds its name taken; another one of the same job has another name.
    let same = fixture.archive.receive(incoming(1, attempt(1)), chunks(), |_| {});
    let Err(ReceiveError::Storage(error)) = same.await else { panic!("two have one file") };
    assert_eq!(error.kind(), std::io::ErrorKind::AlreadyExists);
    let other = Attempt::new("2-0123456789abcdef", 1);
    let second = fixture.archive.receive(incoming(1, other), chunks(), |_| {}).await;
    // The one that is filed first has the name. The other one is discarded, and harms nothing.
    let filed = fixture.archive.file(first, meta(1)).unwrap();
    let second = second.unwrap();
    let again = fixture.archive.file(second, meta(1)).unwrap();
    assert_eq!((&again, again.manifest.entities), (&filed, 50));
    assert_eq!(fixture.findings(), Vec::<String>::new());
    assert_eq!(fs::read_dir(fixture.archive.folder("places")).unwrap().count(), 3);
}

#[tokio::test]
async fn a_partial_file_that_was_changed_or_replaced_is_not_filed() {
    type Change = fn(&Path);
    let changes: [Change; 4] = [
        |partial| {
            let whole = fs::read(partial).unwrap();
            fs::remove_file(partial).unwrap();
            fs::write(partial, whole).unwrap();
        },
        |partial| File::options().write(true).open(partial).unwrap().set_len(10).unwrap(),
        |partial| fs::hard_link(partial, partial.with_extension("other")).unwrap(),
        |partial| fs::remove_file(partial).unwrap(),
    ];
    for change in changes {
        let fixture = Fixture::new();
        let received = fixture.receive(&document(50), 1, MAX_BYTES).await;
        change(&received.partial.path);
        assert!(fixture.archive.file(received, meta(1)).is_err());
        assert_eq!(fixture.archive.names("places").unwrap(), []);
    }
}

#[tokio::test]
async fn unfinished_files_are_removed_unless_their_worker_is_alive() {
    let fixture = Fixture::new();
    fixture.keep(&document(10), 1).await;
    for job in [2, 3] {
        let name = attempt(job).partial_name(&Name::new(at(job), job).with(".xml.zst"));
        fs::write(fixture.file(&name), "half").unwrap();
    }
    // What an older version left says nothing of its worker.
    fs::write(fixture.file(".20261125T060000Z-4.xml.zst.partial"), "half").unwrap();
    assert_eq!(fixture.archive.sweep(|worker| worker == "3-0123456789abcdef").unwrap(), 2);
    let kept = ".20261125T050000Z-3.xml.zst.3-0123456789abcdef-1.partial";
    assert!(fixture.file(kept).exists());
    assert_eq!(fixture.findings(), [format!("unfinished {kept}")]);
    assert!(fixture.verify().ok);
}

#[tokio::test]
async fn the_largest_manifest_that_the_limits_allow_reads_back() {
    let fixture = Fixture::new();
    let name = |at: usize| format!("C{at:0>200}");
    let columns: String = (0..4095)
        .map(|at| format!("<xs:element name=\"{}\" type=\"xs:long\"/>", name(at)))
        .collect();
    let values: String = (0..4095).map(|at| format!("<{0}>&#9;</{0}>", name(at))).collect();
    let document = format!(
        "<R><xs:schema><xs:element IsDataSet=\"true\"><xs:complexType><xs:choice><xs:element name=\"E\">\
         <xs:complexType><xs:sequence><xs:element name=\"K\" type=\"xs:string\"/>{columns}\
         </xs:sequence></xs:complexType></xs:element></xs:choice></xs:complexType>\
         <xs:unique><xs:selector xpath=\"E\"/><xs:field xpath=\"K\"/></xs:unique></xs:element>\
         </xs:schema><E>{values}<K>{}</K></E></R>",
        "&#9;".repeat(300)
    );
    let snapshot = fixture.keep(document.as_bytes(), 1).await;
    assert_eq!(snapshot.manifest.columns.len(), 4096);
    assert_eq!(snapshot.manifest.unreadable.len(), 4095);
    assert_eq!(fixture.verify(), Verification { ok: true, checked: 1, findings: Vec::new() });
}

#[tokio::test]
async fn only_a_valid_download_with_the_announced_number_is_filed() {
    let fixture = Fixture::new();
    let invalid = fixture.receive(&document(3)[..200], 1, MAX_BYTES).await;
    let error = fixture.archive.file(invalid, meta(1)).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput, "{error}");
    let fewer = fixture.receive(&document(3), 1, MAX_BYTES).await;
    let announced = SnapshotMeta { expected: Some(4), ..meta(1) };
    let error = fixture.archive.file(fewer, announced).unwrap_err();
    assert_eq!(error.to_string(), "3 entities arrived, 4 were announced");
    assert_eq!(fixture.archive.names("places").unwrap(), []);
    assert_eq!(fs::read_dir(fixture.archive.folder("places")).unwrap().count(), 0);
}

#[tokio::test]
async fn a_manifest_that_does_not_read_back_is_not_published() {
    let fixture = Fixture::new();
    let received = fixture.receive(&document(3), 1, MAX_BYTES).await;
    let notes = vec!["x".repeat(crate::manifest::LARGEST_MANIFEST)];
    let error = fixture.archive.file(received, SnapshotMeta { notes, ..meta(1) }).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::InvalidData, "{error}");
    assert_eq!(fixture.archive.names("places").unwrap(), []);
}

#[test]
fn an_archive_that_cannot_be_created_is_an_error() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, "").unwrap();
    assert!(Archive::new(&file.join("archive"), folder.path()).prepare().is_err());
    assert!(Archive::new(&file, folder.path()).prepare().is_err());
    assert!(Archive::new(&folder.path().join("a/b/c"), folder.path()).prepare().is_ok());
}

/// What stays when only the newest may, as names.
fn names_left(fixture: &Fixture) -> Vec<String> {
    let names = fixture.archive.names("places").unwrap();
    names.iter().map(ToString::to_string).collect()
}

#[tokio::test]
async fn pruning_removes_only_unretained_snapshots_and_keeps_shared_data() {
    let fixture = Fixture::new();
    for job in 1..=4 {
        fixture.keep(&document(10), job).await;
    }
    let policy =
        Rules { keep_last: 1, keep_daily: 0, keep_weekly: 0, keep_monthly: 0, keep_yearly: 0 };
    let held = Name::new(at(2), 2);
    let hold = Hold { reason: "the auditors".into(), since: at(9) };
    fixture.archive.hold("places", held, &hold).unwrap();
    assert_eq!(fixture.archive.hold_of("places", held), Some(hold));
    let plan = fixture.archive.plan_pruning("places", &policy, chrono_tz::UTC, at(99)).unwrap();
    let reasons: Vec<_> = plan.iter().map(|decision| decision.reasons.join("; ")).collect();
    assert_eq!(reasons, ["last 1 of 1; newest good one", "", "held: the auditors", ""]);
    assert_eq!(names_left(&fixture).len(), 4, "a plan removes nothing");
    assert_eq!(fixture.archive.prune(&plan).unwrap(), 2);
    assert_eq!(names_left(&fixture), ["20261125T060000Z-4", "20261125T040000Z-2"]);
    assert_eq!(fixture.verify(), Verification { ok: true, checked: 2, findings: Vec::new() });
    assert!(fixture.archive.unhold("places", held).unwrap());
    assert!(!fixture.archive.unhold("places", held).unwrap());
    let plan = fixture.archive.plan_pruning("places", &policy, chrono_tz::UTC, at(99)).unwrap();
    assert_eq!(fixture.archive.prune(&plan).unwrap(), 1);
    assert_eq!(fixture.archive.prune(&plan).unwrap(), 1, "a second time does no harm");
    assert!(fixture.verify().ok);
}

#[tokio::test]
async fn damaged_snapshots_are_neither_counted_nor_removed_by_retention() {
    let fixture = Fixture::new();
    for job in 1..=3i64 {
        fixture.keep(&document(10 + job.unsigned_abs()), job).await;
    }
    fs::remove_file(fixture.file("20261125T050000Z-3.xml.zst")).unwrap();
    let policy =
        Rules { keep_last: 1, keep_daily: 0, keep_weekly: 0, keep_monthly: 0, keep_yearly: 0 };
    let plan = fixture.archive.plan_pruning("places", &policy, chrono_tz::UTC, at(99)).unwrap();
    assert_eq!(fixture.archive.prune(&plan).unwrap(), 1);
    assert_eq!(names_left(&fixture), ["20261125T050000Z-3", "20261125T040000Z-2"]);
}

#[tokio::test]
async fn a_snapshot_is_chosen_by_source_time_job_or_path() {
    let fixture = Fixture::new();
    for job in [1, 3, 30] {
        fixture.keep(&document(5), job).await;
    }
    let job = |text: &str| fixture.archive.select(text).map(|it| it.manifest.job);
    let path = fixture.file("latest.json").display().to_string();
    for (text, expected) in [
        ("places", 30),
        ("places@1", 1),
        ("places@3", 3),
        ("places@20261125T050000Z", 3),
        ("places@20261125T05", 3),
        ("places@20261125", 3),
        ("places@2026", 30),
        ("places@20261125T0530", 3),
        ("places@20300101", 30),
        ("places@2026-11-25", 3),
        ("places@2026-11-25T04:59:59Z", 1),
        ("places@2026-11-25T05:00:00Z", 3),
        ("places@2026-11-25T07:00:00+02:00", 3),
        ("places@2030-01-01", 30),
        (path.as_str(), 30),
    ] {
        assert_eq!(job(text).unwrap(), expected, "{text}");
    }
    for text in
        ["others", "places@2", "places@2026-11-24", "places@nonsense", "places@", "no/such.json"]
    {
        assert!(job(text).is_err(), "{text}");
    }
}
