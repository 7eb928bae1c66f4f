//! Verification: every kind of damage is found, and nothing else is a finding.

use super::*;

#[tokio::test]
async fn every_flipped_bit_of_a_data_file_is_found() {
    let fixture = Fixture::new();
    let snapshot = fixture.keep(&document(3), 1).await;
    let whole = fs::read(snapshot.data()).unwrap();
    for position in (0..whole.len()).step_by(whole.len() / 23) {
        let mut bytes = whole.clone();
        bytes[position] ^= 1 << (position % 8);
        fs::write(snapshot.data(), bytes).unwrap();
        assert!(!fixture.verify().ok, "byte {position}");
    }
    for length in [0, 1, whole.len() / 2, whole.len() - 1] {
        fs::write(snapshot.data(), &whole[..length]).unwrap();
        assert_eq!(fixture.findings(), ["damaged 20261125T030000Z-1.xml.zst"], "{length} bytes");
    }
}

#[tokio::test]
async fn every_manifest_field_is_checked_against_the_data() {
    type Change = fn(&mut Manifest);
    let claims: [(&str, Change); 14] = [
        ("entities", |it| it.entities += 1),
        ("announced", |it| it.expected_entities = Some(4)),
        ("entity type", |it| it.entity_type.push('x')),
        ("primary key", |it| it.primary_key = "Name".into()),
        ("columns", |it| drop(it.columns.pop())),
        ("content", |it| it.content.bytes += 1),
        ("content's digest", |it| it.content.sha256 = "0".repeat(64)),
        ("source", |it| it.source = "others".into()),
        ("job", |it| it.job = 9),
        ("instant", |it| it.created_at = at(5)),
        ("file", |it| it.stored.file = "../x".into()),
        ("unproven", |it| it.unproven = vec![Unproven::Keys]),
        ("unreadable", |it| it.unreadable[0].values += 1),
        ("first key", |it| it.unreadable[0].first_key = Some("other".into())),
    ];
    let fixture = Fixture::new();
    fixture.keep(&Data::first_places(3).damaged(Damage::BadValue).document(), 1).await;
    let path = fixture.file("20261125T030000Z-1.json");
    let whole = fs::read(&path).unwrap();
    assert_eq!(fixture.findings(), Vec::<String>::new());
    for (what, change) in claims {
        fixture.edit("20261125T030000Z-1.json", change);
        let verification = fixture.verify();
        assert!(!verification.ok, "{what}");
        assert!(verification.findings.iter().all(|it| it.kind == "claim"), "{what}");
        fs::write(&path, &whole).unwrap();
    }
    let digest: Change = |it| it.stored.sha256 = "0".repeat(64);
    fixture.edit("20261125T030000Z-1.json", digest);
    assert_eq!(fixture.findings(), ["damaged 20261125T030000Z-1.xml.zst"]);
}

#[tokio::test]
async fn verify_finds_the_same_unreadable_and_unproven_parts() {
    let fixture = Fixture::new();
    let damaged = |damage| Data::first_places(9).damaged(damage).document();
    let expected = [
        (Damage::BadValue, vec![], vec![("Latitude".to_owned(), 1)]),
        (Damage::DuplicateKey, vec![Unproven::Keys], vec![]),
        (Damage::MissingKey, vec![Unproven::Keys], vec![]),
        (Damage::EmptyKey, vec![Unproven::Keys], vec![]),
        (Damage::UnknownElement, vec![Unproven::Schema], vec![]),
        (Damage::UnknownEntity, vec![Unproven::Schema], vec![]),
    ];
    for (job, (damage, unproven, unreadable)) in (1..).zip(expected) {
        let document = damaged(damage);
        let snapshot = fixture.keep(&document, job).await;
        assert_eq!(zstd::decode_all(File::open(snapshot.data()).unwrap()).unwrap(), document);
        let manifest = snapshot.manifest;
        let columns: Vec<_> =
            manifest.unreadable.into_iter().map(|it| (it.column, it.values)).collect();
        assert_eq!((manifest.unproven, columns), (unproven, unreadable), "{damage:?}");
        assert_eq!(manifest.entities, 9, "{damage:?}");
    }
    assert_eq!(fixture.verify(), Verification { ok: true, checked: 6, findings: Vec::new() });
}

#[tokio::test]
async fn manifests_of_older_versions_are_a_note_and_changed_ones_are_damaged() {
    let fixture = Fixture::new();
    for job in 1..=2 {
        fixture.keep(&document(10), job).await;
    }
    let (old, new) = ("20261125T030000Z-1.json", "20261125T040000Z-2.json");
    fixture.make_older(old);
    let verification = fixture.verify();
    assert!(verification.ok);
    let [note] = verification.findings.as_slice() else { panic!("{verification:?}") };
    assert_eq!((note.kind, note.severity), ("older", Severity::Note));
    assert!(fixture.archive.select("places@1").is_ok());

    // A value that stands nowhere else, in the newest one.
    let text = fs::read_to_string(fixture.file(new)).unwrap();
    fs::write(fixture.file(new), text.replace("20181f26", "20181f27")).unwrap();
    assert!(!fixture.verify().ok);
    assert_eq!(fixture.findings(), [format!("older {old}"), format!("manifest {new}")]);
    let listed: Vec<_> = fixture.archive.snapshots("places").unwrap().collect();
    assert_eq!(listed.len(), 1);
    assert!(fixture.archive.select("places").is_err());
    assert!(fixture.archive.find("places", Name::new(at(2), 2)).is_none());
    assert_eq!(
        fixture.archive.baseline("places").unwrap().map(|it| it.manifest.entities),
        Some(10)
    );
    assert_eq!(fixture.archive.highest_job().unwrap(), 2);
    let third = fixture.keep(&document(10), 3).await;
    assert_eq!(third.manifest.same_content_as.as_deref(), Some(old));
    let policy =
        Rules { keep_last: 1, keep_daily: 0, keep_weekly: 0, keep_monthly: 0, keep_yearly: 0 };
    let plan = fixture.archive.plan_pruning("places", &policy, chrono_tz::UTC, at(99)).unwrap();
    fixture.archive.prune(&plan).unwrap();
    assert!(fixture.file(new).exists() && fixture.file("20261125T040000Z-2.xml.zst").exists());
}

#[tokio::test]
async fn missing_foreign_and_unreadable_files_are_distinguished() {
    let fixture = Fixture::new();
    for job in 1..=4i64 {
        fixture.keep(&document(job.unsigned_abs()), job).await;
    }
    fs::remove_file(fixture.file("20261125T030000Z-1.xml.zst")).unwrap();
    fs::remove_file(fixture.file("20261125T040000Z-2.json")).unwrap();
    fs::write(fixture.file("20261125T050000Z-3.json"), "{").unwrap();
    fs::remove_file(fixture.file("latest.json")).unwrap();
    fs::write(fixture.file("notes.txt"), "mine").unwrap();
    fs::write(fixture.archive.root().join("stray"), "").unwrap();
    assert_eq!(
        fixture.findings(),
        [
            "foreign stray",
            "missing 20261125T030000Z-1.xml.zst",
            "orphan 20261125T040000Z-2.xml.zst",
            "manifest 20261125T050000Z-3.json",
            "latest latest.json",
            "foreign notes.txt",
        ]
    );
    let verification = fixture.verify();
    assert_eq!((verification.ok, verification.checked), (false, 3));
    let errors: Vec<_> = verification
        .findings
        .iter()
        .filter(|it| it.severity == Severity::Error)
        .map(|it| it.kind)
        .collect();
    assert_eq!(errors, ["missing", "manifest"]);
}

#[tokio::test]
async fn swapped_data_files_are_found() {
    let fixture = Fixture::new();
    let (one, two) = (fixture.keep(&document(3), 1).await, fixture.keep(&document(4), 2).await);
    let (first, second) = (fs::read(one.data()).unwrap(), fs::read(two.data()).unwrap());
    fs::write(one.data(), second).unwrap();
    fs::write(two.data(), first).unwrap();
    assert_eq!(
        fixture.findings(),
        ["damaged 20261125T030000Z-1.xml.zst", "damaged 20261125T040000Z-2.xml.zst"]
    );
}

#[tokio::test]
async fn a_hard_linked_file_is_read_once() {
    let fixture = Fixture::new();
    for job in 1..=5 {
        fixture.keep(&document(10), job).await;
    }
    let files = AtomicUsize::new(0);
    let verification =
        fixture.archive.verify(&["places".to_owned()], &|reading: VerifyProgress| {
            files.store(reading.files, Ordering::SeqCst);
        });
    assert_eq!((verification.ok, verification.checked), (true, 5));
    assert_eq!(files.into_inner(), 1);
}

#[tokio::test]
async fn an_unknown_encoding_asks_for_the_version_that_wrote_it() {
    let fixture = Fixture::new();
    let snapshot = fixture.keep(&document(5), 1).await;
    let mut manifest = snapshot.manifest.clone();
    manifest.stored.encoding = "lz4".into();
    fs::write(&snapshot.path, manifest.render().unwrap()).unwrap();
    let verification = fixture.verify();
    let [finding] = verification.findings.as_slice() else { panic!("{verification:?}") };
    assert_eq!(finding.kind, "claim");
    let message = "its encoding lz4 is unknown to this version: use the version that wrote it";
    assert_eq!(finding.message, message);
    let snapshot = Snapshot { manifest, ..snapshot };
    let error = fixture.archive.content(&snapshot, MAX_BYTES).err().unwrap();
    assert_eq!(error.to_string(), message);
}
