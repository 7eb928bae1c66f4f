//! One process takes over another's work.

use crate::harness::{Setup, files, names, private_file, until};
use nightjar::simulator::{Data, Ending, Fault, Kind, Scenario};
use rustix::process::Signal;
use serde_json::json;

#[test]
fn a_backup_that_joined_continues_when_the_daemon_dies() {
    let setup = Setup::with(Scenario { ending: Ending::Never, ..Scenario::default() });
    setup.queue();
    let daemon = setup.start(&["daemon"]);
    setup.until_asked(Kind::Status, 2);
    let backup = setup.start(&["backup"]);
    until("the backup to have joined", || (!backup.stderr().is_empty()).then_some(()));
    daemon.kill();
    setup.service.set_scenario("Stores", Scenario::default());
    let done = backup.end();
    assert_eq!(done.code, 0, "{done:?}");
    assert_eq!(setup.jobs().len(), 1);
    assert_eq!(setup.job()["attempts"], 1);
}

#[test]
fn a_daemon_takes_over_when_a_backup_beside_it_dies() {
    let setup = Setup::with(Scenario { ending: Ending::Never, ..Scenario::default() });
    let backup = setup.start(&["backup"]);
    setup.until_asked(Kind::Status, 2);
    let _daemon = setup.start(&["daemon"]);
    backup.kill();
    setup.service.set_scenario("Stores", Scenario::default());
    let job = setup.job_when("the backup", |job| !job["finished_at"].is_null());
    assert_eq!(job["state"], "archived");
    assert_eq!(job["attempts"], 1);
}

#[test]
fn a_backup_that_finishes_anothers_download_leaves_nothing_of_the_first() {
    let result = vec![Fault::StalledAfter(3000)];
    let setup = Setup::with(Scenario { result, ..Scenario::default() });
    let backup = setup.start(&["backup"]);
    setup.until_asked(Kind::Result, 1);
    backup.kill();
    setup.backup();
    let names = names(&setup.archive("stores"));
    assert_eq!(names.len(), 3, "{names:?}");
    assert_eq!(files(&setup.path("state/archive")).len(), 2);
    assert_eq!(setup.job()["attempts"], 1);
}

fn is_archived(setup: &Setup, id: i64) -> bool {
    setup.jobs().iter().any(|job| job["id"] == id && job["state"] == "archived")
}

#[test]
fn a_kill_while_a_snapshot_is_filed_leaves_a_whole_snapshot_or_none() {
    let setup = Setup::with(Scenario { pending_polls: 0, ..Scenario::default() });
    let mut random = fastrand::Rng::with_seed(5);
    for night in 0..10 {
        setup.service.set_data("Stores", Data::first_places(500 + night));
        let id = setup.queue()[0];
        let fetched = setup.service.count(Kind::Result);
        let daemon = setup.start(&["daemon"]);
        // A job whose snapshot was filed before the last kill ends without another fetch.
        until("the fetch", || {
            let has_fetched = setup.service.count(Kind::Result) > fetched;
            (has_fetched || is_archived(&setup, id)).then_some(())
        });
        (0..random.u32(0..4_000_000)).for_each(|_| std::hint::spin_loop());
        daemon.kill();
        // Every listed snapshot is complete at any moment.
        let verified = setup.json(&["verify"]);
        assert_eq!(verified["ok"], true, "{verified}");
        let listed = setup.json(&["snapshots"]);
        assert_eq!(listed.as_array().unwrap().len(), setup.manifests("stores").len());
    }
    setup.queue();
    let daemon = setup.start(&["daemon"]);
    let jobs = until("all jobs to end", || {
        let jobs = setup.jobs();
        jobs.iter().all(|job| job["state"] == "archived").then_some(jobs)
    });
    assert_eq!(daemon.stop(Signal::TERM).code, 0);
    let verified = setup.json(&["verify"]);
    assert_eq!(verified["findings"], json!([]));
    assert_eq!(verified["checked"], jobs.len(), "a snapshot for each job, a job for each snapshot");
    let mut archived: Vec<_> = setup.json(&["snapshots"]).as_array().unwrap().clone();
    archived.retain(|it| jobs.iter().any(|job| job["id"] == it["job"]));
    assert_eq!(archived.len(), jobs.len());
}

#[test]
fn sighup_reloads_the_key() {
    let setup = Setup::healthy();
    private_file(&setup.path("contoso.key"), "yesterdays-key");
    let id = setup.queue()[0];
    let daemon = setup.start(&["daemon"]);
    let job = setup.job_when("the failure", |job| !job["finished_at"].is_null());
    assert_eq!(job["error"]["kind"], "credentials");
    private_file(&setup.path("contoso.key"), crate::harness::KEY);
    daemon.signal(Signal::HUP);
    let before = daemon.stderr().lines().count();
    until("the message", || (daemon.stderr().lines().count() > before).then_some(()));
    assert_eq!(setup.run(&["retry", &id.to_string()]).code, 0);
    let job =
        setup.job_when("the retried job", |job| job["id"] != id && !job["finished_at"].is_null());
    assert_eq!(job["state"], "archived", "{job}");
}

#[test]
fn sighup_does_not_disturb_a_fetch() {
    let result = vec![Fault::StalledAfter(1000)];
    let setup = Setup::with(Scenario { result, ..Scenario::default() })
        .set("http.idle_timeout", "2s")
        .set("retry.attempts", 2);
    setup.queue();
    let mut daemon = setup.start(&["daemon"]);
    setup.until_asked(Kind::Result, 1);
    daemon.signal(Signal::HUP);
    let job = setup.job_when("the backup", |job| !job["finished_at"].is_null());
    assert_eq!(job["state"], "archived", "{job}");
    assert_eq!(setup.service.count(Kind::Result), 2, "once in vain, once for good");
    assert!(daemon.is_running());
}
