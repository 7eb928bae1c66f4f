//! What the archive believes of what it finds on disk: names and the order of jobs, and neither a
//! manifest's word, nor a clock, nor another user's link.

use super::*;
use rustix::fs::{CWD, Mode, mkfifoat};
use std::os::unix::fs::{lchown, symlink};

const ONE: Rules =
    Rules { keep_last: 1, keep_daily: 0, keep_weekly: 0, keep_monthly: 0, keep_yearly: 0 };

fn jobs(fixture: &Fixture) -> Vec<i64> {
    fixture.archive.snapshots("places").unwrap().map(|one| one.manifest.job).collect()
}

#[tokio::test]
async fn a_manifest_that_contradicts_its_name_affects_no_other_file() {
    type Change = fn(&mut Manifest);
    let lies: [(&str, Change); 7] = [
        ("another snapshot's data", |it| it.stored.file = "20261125T050000Z-3.xml.zst".into()),
        ("a file outside", |it| it.stored.file = "../../outside".into()),
        ("an absolute path", |it| it.stored.file = "/etc/hostname".into()),
        ("the job", |it| it.job = 9),
        ("the instant", |it| it.created_at = at(7)),
        ("the source", |it| it.source = "others".into()),
        ("the duplicate", |it| it.same_content_as = Some("../../x.json".into())),
    ];
    for (what, lie) in lies {
        let fixture = Fixture::new();
        for job in 1..=3i64 {
            fixture.keep(&document(job.unsigned_abs()), job).await;
        }
        let outside = fixture.archive.root().parent().unwrap().join("outside");
        fs::write(&outside, "precious").unwrap();
        fixture.edit("20261125T030000Z-1.json", lie);
        let name = Name::new(at(1), 1);
        assert_eq!(jobs(&fixture), [3, 2], "{what}");
        assert!(fixture.archive.find("places", name).is_none(), "{what}");
        assert!(fixture.archive.select("places@1").is_err(), "{what}");
        let plan = fixture.archive.plan_pruning("places", &ONE, chrono_tz::UTC, at(99)).unwrap();
        assert_eq!(fixture.archive.prune(&plan).unwrap(), 1, "{what}");
        assert!(outside.exists(), "{what}");
        // Neither what is good goes, nor what is damaged.
        for left in ["030000Z-1.json", "030000Z-1.xml.zst", "050000Z-3.json", "050000Z-3.xml.zst"] {
            assert!(fixture.file(&format!("20261125T{left}")).exists(), "{what}: {left}");
        }
        let verification = fixture.verify();
        assert!(!verification.ok, "{what}");
        let about: Vec<_> =
            verification.findings.iter().filter_map(|it| it.snapshot.as_deref()).collect();
        assert!(about.iter().all(|about| *about == name.to_string()), "{what}: {about:?}");
    }
}

#[tokio::test]
async fn nothing_is_linked_to_a_file_named_by_a_contradictory_manifest() {
    let fixture = Fixture::new();
    fixture.keep(&document(5), 1).await;
    fixture.edit("20261125T030000Z-1.json", |it| it.stored.file = "../../outside".into());
    let second = fixture.keep(&document(5), 2).await;
    assert_eq!(second.manifest.same_content_as, None);
}

#[tokio::test]
async fn a_path_without_a_manifest_name_is_not_read() {
    let fixture = Fixture::new();
    let snapshot = fixture.keep(&document(5), 1).await;
    let copied = fixture.archive.root().join("manifest.json");
    fs::copy(&snapshot.path, &copied).unwrap();
    let error = fixture.archive.select(&copied.display().to_string()).unwrap_err().to_string();
    assert!(error.contains("its name is not one of a manifest"), "{error}");
}

#[tokio::test]
async fn newest_means_the_highest_job_regardless_of_the_clock() {
    let fixture = Fixture::new();
    fixture.keep(&document(10), 1).await;
    fixture.keep_dated(&document(30), 2, at(24 * 365)).await;
    assert_eq!(jobs(&fixture), [2, 1]);
    let third = fixture.keep(&document(20), 3).await;
    assert_eq!(jobs(&fixture), [3, 2, 1]);
    assert_eq!(fixture.archive.newest("places").unwrap().unwrap(), third);
    assert_eq!(
        fixture.archive.baseline("places").unwrap().map(|it| it.manifest.entities),
        Some(20)
    );
    let latest = fs::read_link(fixture.file("latest.json")).unwrap();
    assert_eq!(latest, Path::new("20261125T050000Z-3.json"));
    assert_eq!(fixture.archive.select("places").unwrap().manifest.job, 3);
    // Identical content is that of the newest one, too.
    let fourth = fixture.keep(&document(20), 4).await;
    assert_eq!(fourth.manifest.same_content_as.as_deref(), Some("20261125T050000Z-3.json"));
    // A time asks for the time that is in the name.
    for (text, job) in
        [("places@2026-11-25", 4), ("places@2030-01-01", 2), ("places@20261125T04", 1)]
    {
        assert_eq!(fixture.archive.select(text).unwrap().manifest.job, job, "{text}");
    }
    assert!(fixture.verify().findings.is_empty());
    let plan = fixture.archive.plan_pruning("places", &ONE, chrono_tz::UTC, at(9)).unwrap();
    let stay: Vec<_> = plan.iter().filter(|decision| !decision.reasons.is_empty()).collect();
    let stay: Vec<_> = stay.iter().map(|decision| decision.snapshot.manifest.job).collect();
    assert_eq!(stay, [4, 2]);
}

#[tokio::test]
async fn data_with_a_wrong_length_is_damaged_and_never_the_retained_snapshot() {
    let fixture = Fixture::new();
    for job in 1..=3i64 {
        fixture.keep(&document(10 + job.unsigned_abs()), job).await;
    }
    fs::write(fixture.file("20261125T050000Z-3.xml.zst"), "half").unwrap();
    fs::write(fixture.file("20261125T030000Z-1.json"), "{").unwrap();
    let plan = fixture.archive.plan_pruning("places", &ONE, chrono_tz::UTC, at(9)).unwrap();
    let planned: Vec<_> = plan.iter().map(|decision| decision.snapshot.manifest.job).collect();
    assert_eq!(planned, [2]);
    assert_eq!(fixture.archive.prune(&plan).unwrap(), 0);
    assert!(fixture.file("20261125T030000Z-1.xml.zst").exists());
}

#[tokio::test]
async fn a_hold_added_after_planning_is_respected() {
    let fixture = Fixture::new();
    for job in 1..=3 {
        fixture.keep(&document(5), job).await;
    }
    let plan = fixture.archive.plan_pruning("places", &ONE, chrono_tz::UTC, at(9)).unwrap();
    let held = Name::new(at(1), 1);
    let hold = Hold { reason: "the auditors".into(), since: at(9) };
    fixture.archive.hold("places", held, &hold).unwrap();
    assert_eq!(fixture.archive.prune(&plan).unwrap(), 1);
    assert_eq!(jobs(&fixture), [3, 1]);
    // And what is gone cannot be held.
    let error = fixture.archive.hold("places", Name::new(at(2), 2), &hold).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::NotFound);
    assert_eq!(fixture.findings(), Vec::<String>::new());
}

#[tokio::test]
async fn anything_at_the_path_of_a_hold_counts_as_a_hold() {
    let fixture = Fixture::new();
    for job in 1..=4 {
        fixture.keep(&document(5), job).await;
    }
    let name = |job| fixture.file(&Name::new(at(job), job).hold());
    symlink("/etc/hostname", name(1)).unwrap();
    mkfifoat(CWD, name(2), Mode::RUSR).unwrap();
    fs::write(name(3), "not even JSON").unwrap();
    for job in 1..=3 {
        let hold = fixture.archive.hold_of("places", Name::new(at(job), job));
        assert_eq!(hold.unwrap().reason, "the reason cannot be read", "{job}");
    }
    assert_eq!(fixture.archive.hold_of("places", Name::new(at(4), 4)), None);
}

#[tokio::test]
async fn a_link_or_a_pipe_instead_of_a_file_is_not_opened() {
    let fixture = Fixture::new();
    for job in 1..=4i64 {
        fixture.keep(&document(job.unsigned_abs()), job).await;
    }
    let data = |name: &Name| name.with(".xml.zst");
    let file = |job: i64, name: fn(&Name) -> String| fixture.file(&name(&Name::new(at(job), job)));
    for (path, makes_link) in
        [(file(1, data), true), (file(2, Name::manifest), true), (file(3, data), false)]
    {
        files::rename(&path, &path.with_extension("moved")).unwrap();
        match makes_link {
            true => symlink(path.with_extension("moved"), &path).unwrap(),
            false => mkfifoat(CWD, &path, Mode::RUSR).unwrap(),
        }
    }
    let plan = fixture.archive.plan_pruning("places", &ONE, chrono_tz::UTC, at(9)).unwrap();
    assert_eq!(plan.len(), 1);
    let errors: Vec<_> = fixture
        .verify()
        .findings
        .into_iter()
        .filter(|it| it.severity == Severity::Error)
        .map(|it| format!("{} {}", it.kind, it.snapshot.unwrap()))
        .collect();
    assert_eq!(
        errors,
        ["missing 20261125T030000Z-1", "manifest 20261125T040000Z-2", "missing 20261125T050000Z-3"]
    );
}

#[tokio::test]
async fn a_source_directory_may_be_a_link_to_another_disk() {
    let fixture = Fixture::new();
    let disk = fixture.archive.root().parent().unwrap().join("disk");
    fs::create_dir(&disk).unwrap();
    symlink(&disk, fixture.archive.folder("places")).unwrap();
    fixture.keep(&document(5), 7).await;
    assert_eq!(fs::read_dir(&disk).unwrap().count(), 3);
    assert_eq!(fixture.archive.sources().unwrap(), ["places"]);
    assert_eq!(fixture.archive.highest_job().unwrap(), 7);
    assert_eq!(jobs(&fixture), [7]);
    let verification = fixture.verify();
    assert_eq!((verification.ok, verification.checked), (true, 1));
    assert_eq!(verification.findings, []);
    fs::write(disk.join(".20261125T050000Z-3.xml.zst.partial"), "half").unwrap();
    assert_eq!(fixture.archive.sweep(|_| false).unwrap(), 1);
    // The disk is not mounted: that is no empty source, whose numbers may be used again.
    fs::remove_dir_all(&disk).unwrap();
    assert_eq!(fixture.archive.sources().unwrap(), ["places"]);
    assert!(fixture.archive.highest_job().is_err());
    assert!(fixture.archive.names("places").is_err());
    assert_eq!(fixture.findings(), ["unreadable places"]);
    assert!(!fixture.verify().ok);
}

#[tokio::test]
async fn a_source_directory_that_is_another_users_link_is_an_error_and_a_finding() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: only root can make what belongs to another user");
        return;
    }
    let fixture = Fixture::new();
    let goal = fixture.archive.root().parent().unwrap().join("goal");
    fs::create_dir(&goal).unwrap();
    let precious = goal.join(".20261125T050000Z-3.xml.zst.partial");
    fs::write(&precious, "of root").unwrap();
    let link = fixture.archive.folder("places");
    symlink(&goal, &link).unwrap();
    lchown(&link, Some(12_345), Some(12_345)).unwrap();
    assert_eq!(fixture.archive.sources().unwrap(), ["places"]);
    assert!(fixture.archive.highest_job().is_err());
    assert!(fixture.archive.names("places").is_err());
    assert!(fixture.archive.newest("places").is_err());
    assert_eq!(fixture.archive.sweep(|_| false).unwrap(), 0);
    assert!(precious.exists());
    assert_eq!(fixture.findings(), ["unreadable places"]);
    let chunks = stream::iter([Ok::<_, ()>(Bytes::new())]);
    let received = fixture.archive.receive(incoming(1, attempt(1)), chunks, |_| {});
    assert!(matches!(received.await, Err(ReceiveError::Storage(_))));
    assert_eq!(fs::read_dir(&goal).unwrap().count(), 1);
}

#[tokio::test]
async fn a_directory_without_a_valid_source_name_is_not_a_source() {
    let fixture = Fixture::new();
    fixture.keep(&document(5), 1).await;
    for odd in ["Places", "a b", "x@y", "..x", "new\nline", ".hidden"] {
        fs::create_dir(fixture.archive.root().join(odd)).unwrap();
    }
    fs::create_dir(fixture.archive.root().join("gone")).unwrap();
    assert_eq!(fixture.archive.sources().unwrap(), ["gone", "places"]);
    let verification = fixture.verify();
    assert!(verification.ok);
    assert_eq!(verification.findings.iter().filter(|it| it.kind == "foreign").count(), 6);
    for odd in ["", ".", "..", "../archive/places", "/etc"] {
        assert!(fixture.archive.names(odd).is_err(), "{odd}");
        assert!(fixture.archive.find(odd, Name::new(at(1), 1)).is_none(), "{odd}");
    }
}

#[tokio::test]
async fn the_highest_job_is_that_of_any_file() {
    let fixture = Fixture::new();
    fixture.keep(&document(5), 1).await;
    for (file, job) in [
        ("20261125T030000Z-5.xml.zst", 5),
        ("20261125T030000Z-6.hold", 6),
        (".20261125T030000Z-7.xml.zst.partial", 7),
    ] {
        fs::write(fixture.file(file), "").unwrap();
        assert_eq!(fixture.archive.highest_job().unwrap(), job, "{file}");
    }
}

#[tokio::test]
async fn a_file_with_an_impossible_job_number_counts_for_nothing() {
    let fixture = Fixture::new();
    fixture.keep(&document(5), 3).await;
    for number in ["9223372036854775807", "9007199254740992"] {
        for suffix in [".json", ".xml.zst", ".hold"] {
            fs::write(fixture.file(&format!("20260101T000000Z-{number}{suffix}")), "").unwrap();
        }
    }
    assert_eq!(fixture.archive.highest_job().unwrap(), 3);
    assert_eq!(fixture.archive.newest("places").unwrap().unwrap().manifest.job, 3);
    let verification = fixture.verify();
    assert!(verification.ok, "{verification:?}");
    let kinds: Vec<_> = verification.findings.iter().map(|it| it.kind).collect();
    assert_eq!(kinds, ["foreign"; 6]);
}

#[tokio::test]
async fn nothing_is_filed_under_a_name_that_nothing_finds_again() {
    let fixture = Fixture::new();
    let far = DateTime::from_timestamp(400_000_000_000, 0).unwrap();
    for (job, created_at) in
        [(0, at(1)), (-4, at(1)), (crate::manifest::HIGHEST_JOB + 1, at(1)), (5, far)]
    {
        let received = fixture.receive(&document(5), 1, MAX_BYTES).await;
        let meta = SnapshotMeta { job, created_at, ..meta(1) };
        let error = fixture.archive.file(received, meta).unwrap_err().to_string();
        assert!(error.contains("is no name for a snapshot"), "{error}");
    }
    assert!(fixture.archive.newest("places").unwrap().is_none());
}

#[tokio::test]
async fn the_same_content_is_that_of_an_earlier_snapshot() {
    let fixture = Fixture::new();
    for job in 1..=3 {
        fixture.keep(&document(5), job).await;
    }
    assert!(fixture.verify().ok);
    let second = "20261125T040000Z-2.json";
    for other in [second, "20261125T050000Z-3.json", "20261125T050000Z-99.json"] {
        fixture.edit(second, |it| it.same_content_as = Some(other.to_owned()));
        let verification = fixture.verify();
        assert!(!verification.ok, "{other}");
        let finding = &verification.findings[0];
        assert_eq!(finding.kind, "claim");
        assert!(finding.message.ends_with("which is no earlier one"), "{}", finding.message);
    }
    fixture.edit(second, |it| it.same_content_as = Some("20261125T030000Z-1.json".to_owned()));
    assert!(fixture.verify().ok);
}

#[tokio::test]
async fn a_snapshot_that_comes_late_is_not_linked_to_a_later_one() {
    let fixture = Fixture::new();
    fixture.keep(&document(5), 5).await;
    let late = fixture.keep(&document(5), 4).await;
    assert_eq!(late.manifest.same_content_as, None);
    assert!(fixture.verify().ok);
}
