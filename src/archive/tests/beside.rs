//! `verify` while others are at work in the archive: what is whole before and after is no finding.

use super::*;
use crate::failpoint::{self, Point};
use std::sync::mpsc;
use std::sync::{Arc, Mutex, PoisonError};

const ONE: Rules =
    Rules { keep_last: 1, keep_daily: 0, keep_weekly: 0, keep_monthly: 0, keep_yearly: 0 };

/// Verifies; once everything was listed and nothing read, something else happens.
fn verify_while(fixture: &Fixture, happens: impl FnOnce() + Send) -> Verification {
    let happens = Mutex::new(Some(happens));
    fixture.archive.verify(&[], &|_| {
        let happens = happens.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(happens) = happens {
            happens();
        }
    })
}

/// Lets `verify` list everything at this point of something else, which then goes on to its end.
fn verify_at(fixture: &Fixture, point: Point, something: impl FnOnce()) -> Verification {
    let (verified, result) = mpsc::channel();
    let archive = fixture.archive.clone();
    let verified = Arc::new(Mutex::new(Some(verified)));
    let watching = failpoint::watch(fixture.archive.root(), move |at, _| {
        let verified = verified.lock().unwrap().take_if(|_| at == point);
        if let Some(verified) = verified {
            let (listed, has_listed) = mpsc::channel();
            let archive = archive.clone();
            std::thread::spawn(move || {
                let listed = Mutex::new(listed);
                let verification = archive.verify(&[], &|_| {
                    // Only the first one is waited for.
                    let _ = listed.lock().unwrap().send(());
                });
                verified.send(verification).unwrap();
            });
            has_listed.recv().unwrap();
        }
        Ok(())
    });
    something();
    drop(watching);
    result.recv().unwrap()
}

async fn four(contents: fn(i64) -> u64) -> Fixture {
    let fixture = Fixture::new();
    for job in 1..=4 {
        fixture.keep(&document(contents(job)), job).await;
    }
    fixture
}

fn prune(fixture: &Fixture) {
    let plan = fixture.archive.plan_pruning("places", &ONE, chrono_tz::UTC, at(9)).unwrap();
    assert_eq!(fixture.archive.prune(&plan).unwrap(), 3);
}

const WHOLE: Verification = Verification { ok: true, checked: 1, findings: Vec::new() };

#[tokio::test]
async fn snapshots_removed_by_retention_during_verify_are_not_findings() {
    let fixture = four(|job| job.unsigned_abs()).await;
    assert_eq!(verify_while(&fixture, || prune(&fixture)), WHOLE);
}

#[tokio::test]
async fn shared_data_is_read_through_a_remaining_link() {
    let fixture = four(|_| 5).await;
    let verification = verify_while(&fixture, || prune(&fixture));
    assert_eq!((verification.ok, verification.findings), (true, Vec::new()));
}

#[tokio::test]
async fn a_half_removed_snapshot_is_not_a_finding() {
    let fixture = four(|job| job.unsigned_abs()).await;
    let verification = verify_at(&fixture, Point::PruneData, || prune(&fixture));
    assert_eq!((verification.ok, verification.findings), (true, Vec::new()));
}

#[tokio::test]
async fn a_half_filed_snapshot_is_not_a_finding() {
    for point in [Point::DataName, Point::ManifestWrite, Point::ManifestName, Point::LatestName] {
        let fixture = Fixture::new();
        fixture.keep(&document(3), 1).await;
        let received = fixture.receive(&document(4), 2, MAX_BYTES).await;
        let verification = verify_at(&fixture, point, || {
            fixture.archive.file(received, meta(2)).unwrap();
        });
        assert_eq!((verification.ok, verification.findings), (true, Vec::new()), "{point:?}");
    }
}

#[tokio::test]
async fn a_hold_added_and_removed_during_verify_is_not_a_finding() {
    let fixture = four(|job| job.unsigned_abs()).await;
    let name = Name::new(at(1), 1);
    let hold = Hold { reason: "the auditors".into(), since: at(9) };
    let verification = verify_at(&fixture, Point::FileCreate, || {
        fixture.archive.hold("places", name, &hold).unwrap();
    });
    assert_eq!(verification, Verification { checked: 4, ..WHOLE });
    let verification = verify_while(&fixture, || {
        fixture.archive.unhold("places", name).unwrap();
    });
    assert_eq!(verification, Verification { checked: 4, ..WHOLE });
}

#[tokio::test]
async fn missing_data_stays_a_finding() {
    let fixture = four(|job| job.unsigned_abs()).await;
    let verification = verify_while(&fixture, || {
        fs::remove_file(fixture.file("20261125T030000Z-1.xml.zst")).unwrap();
    });
    let kinds: Vec<_> = verification.findings.iter().map(|finding| finding.kind).collect();
    assert_eq!((verification.ok, verification.checked, kinds), (false, 4, vec!["unreadable"]));
}

#[tokio::test]
async fn many_foreign_files_are_summarised() {
    let fixture = four(|_| 5).await;
    for number in 0..1010 {
        fs::write(fixture.file(&format!("note-{number}")), "").unwrap();
    }
    let verification = fixture.verify();
    assert_eq!((verification.ok, verification.findings.len()), (true, 1001));
    let rest = verification.findings.iter().find(|it| it.file.ends_with("places")).unwrap();
    assert_eq!(
        rest.message,
        "10 more files or folders in it belong to no snapshot and are not listed"
    );
}
