//! Snapshots that were stored with another codec than their format's present one.

use super::*;
use crate::codec::Codec;
use crate::format::{Format, Input, Invalid, Summary};

/// The usual format before or after a change of its codec.
#[derive(Debug)]
struct AsSent;

static AS_SENT: AsSent = AsSent;

impl Format for AsSent {
    fn ending(&self) -> &'static str {
        DATASET.ending()
    }

    fn codec(&self) -> Codec {
        Codec::Identity
    }

    fn validate(&self, input: Input<'_>, max_bytes: u64) -> Result<Summary, Invalid> {
        DATASET.validate(input, max_bytes)
    }
}

async fn receive_as_sent(fixture: &Fixture, document: &[u8], job: i64) -> Received {
    let incoming = Incoming { format: &AS_SENT, ..incoming(job, attempt(job)) };
    let pieces = vec![Ok::<_, ()>(Bytes::copy_from_slice(document))];
    fixture.archive.receive(incoming, stream::iter(pieces), |_| {}).await.unwrap()
}

async fn keep_as_sent(fixture: &Fixture, document: &[u8], job: i64) -> Snapshot {
    let received = receive_as_sent(fixture, document, job).await;
    fixture.archive.file(received, meta(job)).unwrap()
}

#[tokio::test]
async fn a_snapshot_stored_with_another_codec_is_read_and_verified() {
    let fixture = Fixture::new();
    let document = document(20);
    let snapshot = keep_as_sent(&fixture, &document, 1).await;
    assert_eq!(snapshot.data(), fixture.file("20261125T030000Z-1.xml"));
    assert_eq!(snapshot.manifest.stored.encoding, "identity");
    assert_eq!(fs::read(snapshot.data()).unwrap(), document);
    assert_eq!(fixture.archive.newest("places").unwrap(), Some(snapshot.clone()));
    assert_eq!(fixture.findings(), [""; 0]);
    let mut content = Vec::new();
    fixture.archive.content(&snapshot, MAX_BYTES).unwrap().read_to_end(&mut content).unwrap();
    assert_eq!(content, document);
    let proven = fixture.archive.proven_content(&snapshot, &|_| {}).unwrap();
    proven.finish().unwrap();

    // Only the digest finds a missing end.
    fs::write(snapshot.data(), &document[..document.len() - 1]).unwrap();
    assert_eq!(fixture.findings(), ["damaged 20261125T030000Z-1.xml"]);
    fs::remove_file(&snapshot.path).unwrap();
    fs::remove_file(fixture.file("latest.json")).unwrap();
    assert_eq!(fixture.findings(), ["orphan 20261125T030000Z-1.xml"]);
}

#[tokio::test]
async fn equal_content_is_shared_only_where_it_is_stored_alike() {
    let fixture = Fixture::new();
    let document = document(20);
    let first = keep_as_sent(&fixture, &document, 1).await;
    let second = fixture.keep(&document, 2).await;
    let third = keep_as_sent(&fixture, &document, 3).await;
    let fourth = keep_as_sent(&fixture, &document, 4).await;
    let same = [&first, &second, &third, &fourth].map(|it| it.manifest.same_content_as.clone());
    assert_eq!(same, [None, None, None, Some("20261125T050000Z-3.json".to_owned())]);
    assert_eq!(second.data(), fixture.file("20261125T040000Z-2.xml.zst"));
    let inode = |it: &Snapshot| fs::metadata(it.data()).unwrap().ino();
    assert_eq!(inode(&third), inode(&fourth));
    assert_eq!(fixture.findings(), [""; 0]);
}

#[tokio::test]
async fn retention_removes_data_of_every_codec() {
    let fixture = Fixture::new();
    keep_as_sent(&fixture, &document(20), 1).await;
    fixture.keep(&document(21), 2).await;
    fixture.keep(&document(22), 3).await;
    let rules =
        Rules { keep_last: 1, keep_daily: 0, keep_weekly: 0, keep_monthly: 0, keep_yearly: 0 };
    let plan = fixture.archive.plan_pruning("places", &rules, chrono_tz::UTC, at(9)).unwrap();
    assert_eq!(fixture.archive.prune(&plan).unwrap(), 2);
    let names = fs::read_dir(fixture.archive.folder("places")).unwrap();
    let mut names: Vec<_> = names.map(|it| it.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["20261125T050000Z-3.json", "20261125T050000Z-3.xml.zst", "latest.json"]);
}

#[tokio::test]
async fn a_manifest_cannot_have_shared_data_read_as_another_codec_s() {
    let fixture = Fixture::new();
    let document = document(20);
    fixture.keep(&document, 1).await;
    let second = fixture.keep(&document, 2).await;
    fixture.edit("20261125T040000Z-2.json", |manifest| {
        manifest.stored.file = "20261125T040000Z-2.xml".to_owned();
        manifest.stored.encoding = "identity".to_owned();
    });
    files::rename(&second.data(), &fixture.file("20261125T040000Z-2.xml")).unwrap();
    assert_eq!(fixture.findings(), ["unproven 20261125T040000Z-2.xml"]);
}

#[tokio::test]
async fn a_quarantined_download_of_another_codec_is_archived_as_it_is() {
    let fixture = Fixture::new();
    let document = document(20);
    for job in 1..=5 {
        let received = receive_as_sent(&fixture, &document, job).await;
        fixture.archive.quarantine("places", Name::new(at(job), job), 1, true, received).unwrap();
    }
    let quarantine = fixture.archive.quarantine.join("places");
    assert_eq!(fs::read_dir(quarantine).unwrap().count(), 3);
    let requeued = fixture.archive.requeue("places", 5, attempt(5), &DATASET, MAX_BYTES);
    let (name, received) = requeued.unwrap().unwrap();
    assert_eq!(name, Name::new(at(5), 5));
    let snapshot = fixture.archive.file(received, meta(5)).unwrap();
    assert_eq!(snapshot.manifest.stored.encoding, "identity");
    assert_eq!(fs::read(fixture.file("20261125T070000Z-5.xml")).unwrap(), document);
    assert_eq!(fixture.findings(), [""; 0]);
}
