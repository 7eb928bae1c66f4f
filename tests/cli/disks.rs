//! Disks that temporarily fail or fill up, or lack a feature: work waits, reports it, costs no
//! remote job, and continues by itself.

use crate::harness::{Setup, each, until};
use nightjar::simulator::Scenario;
use rustix::process::Signal;
use std::fs;

#[test]
fn a_temporary_disk_failure_only_costs_time() {
    let cases = [
        ("file.create@3x2", "EROFS"),
        ("data.write@1x2", "ENOSPC"),
        ("data.sync@1x2", "EIO"),
        ("data.name@1x2", "EIO"),
        ("folder.sync@6x3", "EIO"),
        ("manifest.write@1x2", "ENOSPC"),
        ("manifest.sync@1x2", "EIO"),
        ("manifest.name@1x2", "EROFS"),
        ("latest.name@1x2", "EROFS"),
        ("filed@1x2", "EIO"),
    ];
    each(cases, |(place, error)| {
        let setup = Setup::healthy();
        let mut daemon = setup.command(&["daemon"]);
        daemon.env("NIGHTJAR_FAILPOINT", format!("{place}={error}"));
        let daemon = setup.start_command(daemon);
        until("a daemon", || {
            fs::read_to_string(setup.path("state/daemon.lock")).ok().filter(|it| !it.is_empty())
        });
        setup.queue();
        let job = setup.job_when(place, |job| job["state"] == "archived");
        assert_eq!(job["attempts"], 1, "{place}: {job}");
        assert_eq!(setup.service.remote_jobs().len(), 1, "{place}");
        let done = daemon.stop(Signal::TERM);
        assert_eq!(done.code, 0, "{place}: {done:?}");
        let verified = setup.run(&["verify", "--json"]);
        assert_eq!(verified.code, 0, "{place}: {verified:?}");
    });
}

#[test]
fn a_full_disk_is_reported_with_advice() {
    let setup = Setup::healthy();
    let mut backup = setup.command(&["backup"]);
    backup.env("NIGHTJAR_FAILPOINT", "data.write@1x2=ENOSPC");
    let done = setup.start_command(backup).end();
    assert_eq!(done.code, 0, "{done:?}");
    let timeline = setup.timeline(&setup.job()["id"]);
    assert!(timeline.contains("\"storage\"") && timeline.contains("No space left"), "{timeline}");
}

#[test]
fn a_temporarily_unwritable_database_loses_no_response() {
    each(["store.begin@5x2", "store.commit@5x2", "store.commit@7x2"], |place| {
        let setup = Setup::with(Scenario { pending_polls: 1, ..Scenario::default() });
        let mut backup = setup.command(&["backup"]);
        backup.env("NIGHTJAR_FAILPOINT", format!("{place}=EIO"));
        let done = setup.start_command(backup).end();
        assert_eq!(done.code, 0, "{place}: {done:?}");
        let job = setup.job();
        assert_eq!((&job["state"], &job["attempts"]), (&"archived".into(), &1.into()), "{place}");
        assert_eq!(setup.service.remote_jobs().len(), 1, "{place}");
    });
}

#[test]
fn without_hard_links_each_snapshot_is_a_full_copy() {
    let setup = Setup::healthy();
    setup.backup();
    let mut backup = setup.command(&["backup"]);
    backup.env("NIGHTJAR_FAILPOINT", "data.link=EPERM");
    assert_eq!(setup.start_command(backup).end().code, 0);
    let manifest = setup.manifest();
    assert!(manifest["same_content_as"].is_string(), "{manifest}");
    assert_eq!(setup.run(&["verify"]).code, 0);
}

#[test]
fn a_directory_removed_under_the_daemon_is_recreated() {
    let setup = Setup::healthy();
    let daemon = setup.start(&["daemon"]);
    setup.queue();
    setup.job_when("archived", |job| job["state"] == "archived");
    fs::remove_dir_all(setup.path("state/archive")).unwrap();
    setup.queue();
    let job = setup.job_when("archived", |job| job["id"] == 2 && job["state"] == "archived");
    assert!(fs::metadata(job["snapshot"].as_str().unwrap()).is_ok(), "{job}");
    daemon.stop(Signal::TERM);
}
