//! Several sources, and several processes working on one job.

use crate::harness::{Setup, source};
use nightjar::simulator::{Fault, Scenario};

fn good_and_bad() -> Setup {
    let bad = Scenario { create: vec![Fault::http(400); 9], ..Scenario::default() };
    Setup::of(vec![
        source("Good", Scenario::default()),
        source("Bad", bad.clone()),
        source("Worse", bad),
    ])
}

#[test]
fn all_sources_backed_up_ends_with_0() {
    let setup =
        Setup::of(vec![source("One", Scenario::default()), source("Two", Scenario::default())]);
    setup.backup();
    assert_eq!(setup.json(&["snapshots"]).as_array().unwrap().len(), 2);
}

#[test]
fn some_sources_backed_up_ends_with_3() {
    let setup = good_and_bad();
    let done = setup.run(&["backup"]);
    assert_eq!(done.code, 3, "{done:?}");
    assert_eq!(setup.run(&["backup", "good", "bad"]).code, 3);
}

#[test]
fn no_source_backed_up_ends_with_1() {
    let setup = good_and_bad();
    assert_eq!(setup.run(&["backup", "bad", "worse"]).code, 1);
    assert_eq!(setup.run(&["backup", "bad"]).code, 1);
    assert_eq!(setup.run(&["backup", "good"]).code, 0);
}

#[test]
fn an_unknown_source_ends_with_2_and_starts_nothing() {
    let setup = good_and_bad();
    let done = setup.run(&["backup", "good", "ugly"]);
    assert_eq!(done.code, 2, "{done:?}");
    assert!(done.stderr.contains("ugly"));
    assert_eq!(setup.jobs().len(), 0);
    assert_eq!(setup.run(&["verify", "ugly"]).code, 2);
}

#[test]
fn a_queued_job_is_joined_and_finished_by_a_later_backup() {
    let setup =
        Setup::of(vec![source("One", Scenario::default()), source("Two", Scenario::default())]);
    let mut ids = setup.queue();
    assert_eq!(setup.service.requests().len(), 0, "queued only");
    assert!(setup.jobs().iter().all(|job| job["state"] == "queued" && job["attempts"] == 0));
    // A second call names the same live jobs.
    assert_eq!(setup.queue(), ids);
    setup.backup();
    let mut worked: Vec<i64> = setup.jobs().iter().map(|job| job["id"].as_i64().unwrap()).collect();
    worked.sort_unstable();
    ids.sort_unstable();
    assert_eq!(worked, ids);
    assert!(setup.jobs().iter().all(|job| job["state"] == "archived"));
}

#[test]
fn two_backups_at_once_share_one_job() {
    let setup = Setup::with(Scenario { pending_polls: 20, ..Scenario::default() });
    let both = [setup.start(&["backup"]), setup.start(&["backup"])];
    for backup in both {
        let done = backup.end();
        assert_eq!(done.code, 0, "{done:?}");
    }
    let jobs = setup.jobs().len();
    // The second may have started when everything was finished.
    assert_eq!(setup.service.remote_jobs().len(), jobs);
    assert_eq!(setup.manifests("stores").len(), jobs);
}

#[test]
fn a_backup_that_joins_a_job_ends_by_its_outcome() {
    let setup = Setup::with(Scenario {
        pending_polls: 20,
        ending: nightjar::simulator::Ending::aborted("No"),
        ..Scenario::default()
    })
    .set("retry.job_attempts", 1);
    let first = setup.start(&["backup"]);
    setup.job_when("the job to wait", |job| job["state"] == "waiting");
    let second = setup.run(&["backup"]);
    assert_eq!((first.end().code, second.code), (1, 1));
    assert_eq!(setup.jobs().len(), 1);
}
